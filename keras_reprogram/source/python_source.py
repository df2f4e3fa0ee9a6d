"""PythonSource: base class of sources that run as Python code."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_reprogram.arguments import check_channels_last, is_image, takes_old_names
from keras_reprogram.source.ledger.paid_queries import Asking, ask_through_ledger
from keras_reprogram.source.ledger.query_ledger import QueryLedger, query_key
from keras_reprogram.source.source import Source, check_answer

# Keras rebuilds exceptions from their message, and turns those that need more arguments (an HTTP
# status) into RuntimeErrors. An exception with this attribute passes through unchanged.
_KEEPS_ITS_FORM = "_keras_call_info_injected"


class PythonSource(Source):
    """A source that runs as Python code: eagerly, one call at a time, checked and counted.

    Inside a graph a Python callback may deadlock and swallows `KeyboardInterrupt`; run eagerly,
    whatever it raises comes out as itself. A subclass implements
    `ask(numpy array (n, H, W, C)) -> (n, num_labels)`.

    Attributes:
        queries_used: images asked so far. An image counts when it is sent: one whose answer
            never arrived may have been paid for. What a ledger answers does not count.
        ledger: a `QueryLedger` that holds the budget and the answers, or `None`.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import PythonSource

    class Brightness(PythonSource):
        def ask(self, images):
            share = images.mean(axis=(1, 2, 3)) / 255
            return np.stack([share, 1 - share], axis=1)

        @property
        def fingerprint(self):
            return "brightness 1"

    source = Brightness((8, 8, 3), 2, value_range=(0, 255), max_batch=4)
    source(np.zeros((5, 4, 8, 8, 3), "float32"))
    assert source.queries_used == 20
    ```
    """

    in_graph = False
    exportable = False
    queries_used: int

    @takes_old_names(**Source.old_names)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.supports_jit = False
        self.queries_used = 0
        self._counting = threading.Lock()

    def ask(self, images: np.ndarray) -> np.ndarray:
        """Scores of at most `max_batch` images, `(n, H, W, C)` -> `(n, num_labels)`."""
        raise NotImplementedError(f"{type(self).__name__} must implement `ask(images)`.")

    def answer(self, images: Any) -> Any:
        images = self._as_array(images)
        step = self.max_batch or max(len(images), 1)
        answers = [self._ask_counted(images[i : i + step]) for i in range(0, len(images), step)]
        if not answers:
            return np.zeros((0, self.num_labels), np.float32)
        return np.concatenate(answers)

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(images.shape), dtype="float32")

    def payload(self, image: np.ndarray) -> bytes:
        """The exact bytes that are sent for an image `(H, W, C)`; the ledger's key of it."""
        return image.tobytes()

    def query_keys(self, images: np.ndarray) -> list[bytes]:
        """Keys under which a ledger keeps the answers to images `(n, H, W, C)`; asks nothing."""
        return self._keys([self.payload(image) for image in images])

    def _keys(self, payloads: list[bytes]) -> list[bytes]:
        fingerprint = self.fingerprint
        return [query_key(fingerprint, "", payload) for payload in payloads]

    def get_config(self) -> dict[str, Any]:
        raise ValueError(
            "A model whose source is Python code cannot be saved as a `.keras` file: the "
            "code has no config. Save the trained part with "
            "`keras_reprogram.save_program(model, path)` and pass the source again to "
            "`load_program(path, source)`; for checkpoints use "
            "`ModelCheckpoint(..., save_weights_only=True)`."
        )

    def _ask_counted(self, images: np.ndarray) -> np.ndarray:
        try:
            return self._answer_all(images)
        except Exception as error:
            setattr(error, _KEEPS_ITS_FORM, True)
            raise

    def _answer_all(self, images: np.ndarray) -> np.ndarray:
        """Checked answers to at most `max_batch` images, from the ledger where there is one."""
        if self.ledger is None:
            return self._check(self._send(images), len(images))
        payloads = [self.payload(image) for image in images]
        keys = self._keys(payloads)
        asking = Asking(
            self.ledger,
            lambda _: nullcontext(lambda some: self._send(np.stack(some))),
            self._check,
            self._even_answer(),
        )
        return ask_through_ledger(asking, keys, list(images), payloads)

    def _even_answer(self) -> np.ndarray:
        """A uniform answer, for queries that must not be repeated."""
        even = 0.0 if self.score_kind.endswith("logits") else 1.0 / max(self.num_labels, 2)
        return np.full(self.num_labels, even, np.float32)

    def _send(self, images: np.ndarray) -> np.ndarray:
        with self._counting:
            self.queries_used += len(images)
        return _outside_of_steps(self.ask, images)

    def _check(self, answer: Any, num_images: int) -> np.ndarray:
        return check_answer(
            answer, num_images, self.num_labels, self.sum_tolerance, self.name, self.score_kind
        )

    def _as_array(self, images: Any) -> np.ndarray:
        try:
            return ops.convert_to_numpy(images)
        except NotImplementedError as error:
            raise RuntimeError(
                f"{self.name} ({type(self).__name__}) runs as Python code and cannot be called "
                "inside a graph (tf.function). Call it eagerly; `ReprogrammedModel` does so by "
                "itself."
            ) from error


def _outside_of_steps(ask: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Calls user code outside of Keras's replica context."""
    # Keras runs its steps in the context of a replica. The `predict` of another network, which user
    # code may call, cannot be traced in it.
    context = tf.distribute.get_replica_context()
    # There is none where a source asks another one: what is outermost has left it already.
    if context is None or tf.distribute.has_strategy():
        return ask(images)
    return context.merge_call(lambda _: ask(images))


@keras.saving.register_keras_serializable(package="keras_reprogram")
class OpaqueSource(PythonSource):
    """A black box: a callable on batches of images of which only the scores are seen.

    "Opaque" and "black box" mean the same. The callable runs eagerly, so that a
    `ConnectionError` or Ctrl-C inside it comes out as itself. Image queries are counted.

    Args:
        function: `(n, H, W, C)` float32 array in `value_range` -> `(n, num_labels)` array.
        source_shape: `(H, W, C)`, or another number of axes of series or texts.
        num_labels: scores an image gets.
        value_range: `(low, high)` of the pixels it expects; `None` as in `Source`.
        identity: a string that names the service and its version. It is the source's
            fingerprint: change it when the service changes.
        class_names: names of the scores, or `None`.
        score_kind: `"probabilities"`, `"independent"`, `"logits"` or `"independent_logits"`; see
            `Source`. `None` takes probabilities, or what `sum_tolerance=None` says.
        score_step: distance of neighbouring scores where they are rounded; a `DenseMap` sees
            common roundings in the answers by itself. The maps take scores below half of it for
            equal: for noisy scores declare twice the noise, for partial lists about the smallest
            score that is listed (0.02 for a top 5 will do).
        sum_tolerance: how far a row may sum from 1; `None` for scores that need not, such as
            partial lists: they are `"independent"`.
        max_batch: most images a call.
        answers_at_random: whether the same image may get other scores the next time.
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
        source_shape: tuple[int, ...],
        num_labels: int,
        *,
        value_range: tuple[float, float] | None,
        identity: str,
        class_names: Sequence[str] | None = None,
        score_kind: str | None = None,
        score_step: float = 0.0,
        sum_tolerance: float | str | None = "auto",
        max_batch: int | None = 256,
        answers_at_random: bool = False,
        ledger: QueryLedger | None = None,
        name: str = "source",
    ) -> None:
        way = "and turn the images inside `function`: `images.transpose(0, 3, 1, 2)`"
        if is_image(source_shape):
            check_channels_last("source_shape", source_shape, way)
        super().__init__(
            source_shape,
            num_labels,
            value_range=value_range,
            class_names=class_names,
            score_kind=score_kind,
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
        self.answers_at_random = answers_at_random
        self.ledger = ledger

    def ask(self, images: np.ndarray) -> np.ndarray:
        return self.function(images)

    @property
    def fingerprint(self) -> str:
        facts = [self.identity, self.source_shape, self.value_range, self.num_labels]
        facts.append(self.fingerprinted_scores)
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
