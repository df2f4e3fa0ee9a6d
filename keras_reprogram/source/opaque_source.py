"""OpaqueSource: any Python callable that returns scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_reprogram.axis_order import check_channels_last
from keras_reprogram.source.python_source import PythonSource
from keras_reprogram.source.query_ledger import QueryLedger


@keras.saving.register_keras_serializable(package="keras_reprogram")
class OpaqueSource(PythonSource):
    """A black box: a callable on batches of images of which only the scores are seen.

    "Opaque" and "black box" mean the same. The callable runs eagerly, so that a
    `ConnectionError` or Ctrl-C inside it comes out as itself. Image queries are counted.

    Args:
        function: `(n, H, W, C)` float32 array in `value_range` -> `(n, num_labels)` array.
        source_shape: `(H, W, C)`.
        num_labels: scores an image gets.
        value_range: `(low, high)` of the pixels it expects.
        identity: a string that names the service and its version. It is the source's
            fingerprint: change it when the service changes.
        labels: names of the scores, or `None`.
        scores: `"probabilities"`, `"independent"`, `"logits"` or `"independent_logits"`; see
            `Source`. `None` takes probabilities, or what `sum_tolerance=None` says.
        score_step: distance of neighbouring scores where they are rounded; a `DenseMap` sees
            common roundings in the answers by itself. The maps take scores below half of it for
            equal: for noisy scores declare twice the noise, for partial lists about the smallest
            score that is listed (0.02 for a top 5 will do).
        sum_tolerance: how far a row may sum from 1; `None` for scores that need not, such as
            partial lists: they are `"independent"`.
        max_batch: most images a call.
        ledger: a `QueryLedger`: a budget over all runs, and answers that are never paid for twice.
            Then an image's key are its float32 pixels.
        name: layer name.

    Raises:
        TypeError: if `function` cannot be called.
        ValueError: from a call, if an answer has a wrong shape, NaN, or does not sum to 1.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import OpaqueSource

    def brightness(images):
        share = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([share, 1 - share], axis=1)

    source = OpaqueSource(brightness, (32, 32, 3), 2, value_range=(0, 255), identity="demo")
    source(np.zeros((4, 32, 32, 3), "float32"))
    assert source.queries_used == 4
    ```
    """

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        source_shape: tuple[int, int, int],
        num_labels: int,
        *,
        value_range: tuple[float, float],
        identity: str,
        labels: Sequence[str] | None = None,
        scores: str | None = None,
        score_step: float = 0.0,
        sum_tolerance: float | str | None = "auto",
        max_batch: int | None = 256,
        ledger: QueryLedger | None = None,
        name: str = "source",
    ) -> None:
        way = "and turn the images inside `function`: `images.transpose(0, 3, 1, 2)`"
        check_channels_last("source_shape", source_shape, way)
        super().__init__(
            source_shape,
            num_labels,
            value_range=value_range,
            labels=labels,
            scores=scores,
            score_step=score_step,
            sum_tolerance=sum_tolerance,
            max_batch=max_batch,
            name=name,
        )
        if not callable(function):
            raise TypeError(
                "`function` must be callable, (n, H, W, C) -> (n, num_labels). "
                f"Received: {type(function).__name__}."
            )
        self.function = function
        self.identity = identity
        self.ledger = ledger

    def ask(self, images: np.ndarray) -> np.ndarray:
        return self.function(images)

    @property
    def fingerprint(self) -> str:
        facts = [self.identity, self.source_shape, self.value_range, self.num_labels]
        facts.append(self.fingerprinted_scores)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
