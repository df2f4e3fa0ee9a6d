"""Source: the contract of every source model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reprogram.source.answer_checks import resolve_score_kind, resolve_sum_tolerance

SCORE_KINDS = ("probabilities", "independent", "logits", "independent_logits", "features")
# Fingerprints were made before these two were told apart; a ledger's answers stay its answers.
_FINGERPRINTED = {"independent": "probabilities", "independent_logits": "logits"}


def fingerprinted_kind(scores: str) -> str:
    """Whether scores are probabilities, logits or features, however a row is normalised.

    Args:
        scores: a kind, see `Source`.
    """
    return _FINGERPRINTED.get(scores, scores)


class Source(keras.layers.Layer):
    """A frozen classifier: source images -> source scores. Never trained.

    A subclass implements `answer((n, H, W, C)) -> (n, num_labels)` and states facts about itself.
    Preprocessing belongs to the source: callers speak raw pixels in `value_range`.

    Facts: `source_shape`, `value_range`, `num_labels`, `labels`, `scores`, `score_step`,
    `sum_tolerance`, `max_batch`, `differentiable` (gradients may be taken), `in_graph` (may run
    inside a compiled graph; others run eagerly, one call at a time), `exportable` (can become
    part of an exported model), `fingerprint` (a string that changes when the source does).

    Args:
        source_shape: `(H, W, C)`.
        num_labels: scores a source image gets.
        value_range: `(low, high)` of the pixels it expects.
        labels: names of the scores, or `None`.
        scores: what the scores of an answer are to each other, which decides how maps read them.
            `"probabilities"`: rows sum to 1. `"independent"`: each from 0 to 1 for itself, such as
            sigmoids, findings, or a partial list of labels. `"logits"`: before a softmax.
            `"independent_logits"`: before sigmoids. `"features"`: no scores. `None` is
            `"probabilities"`, but `"independent"` for a single score and for
            `sum_tolerance=None`; a single one of `"logits"` is independent too.
        score_step: distance of neighbouring scores where they are rounded (1/256 for 8 bits).
        sum_tolerance: how far a row of probabilities may sum from 1. `"auto"` derives it from
            `score_step`; `None` says that rows need not sum to 1: they are independent.
        max_batch: most images at once, or `None`.
        name: layer name.

    Call arguments:
        images: `(..., H, W, C)` in `value_range`, any leading axes.

    Output shape:
        `(..., num_labels)`.

    Raises:
        ValueError: if the number of names differs from `num_labels`, or for unknown kinds.

    Example:
    ```python
    import numpy as np
    from keras import ops
    from keras_reprogram import Source

    class Brightness(Source):
        def answer(self, images):
            share = ops.mean(images, axis=(1, 2, 3)) / 255
            return ops.stack([share, 1 - share], axis=1)

        @property
        def fingerprint(self):
            return "brightness 1"

    source = Brightness((8, 8, 3), 2, value_range=(0, 255))
    assert source(np.zeros((5, 4, 8, 8, 3), "float32")).shape == (5, 4, 2)
    ```
    """

    differentiable = False
    in_graph = True
    exportable = True

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        num_labels: int,
        *,
        value_range: tuple[float, float],
        labels: Sequence[str] | None = None,
        scores: str | None = None,
        score_step: float = 0.0,
        sum_tolerance: float | str | None = "auto",
        max_batch: int | None = None,
        name: str = "source",
    ) -> None:
        super().__init__(name=name, dtype="float32", trainable=False)
        if scores is not None and scores not in SCORE_KINDS:
            raise ValueError(
                f"`scores` (--scores) must be one of {SCORE_KINDS}. Received: {scores!r}."
            )
        if labels is not None and len(labels) != num_labels:
            raise ValueError(
                f"`labels` must name all {num_labels} scores. Received: {len(labels)} names."
            )
        if max_batch is not None and max_batch < 1:
            raise ValueError(f"`max_batch` must be at least 1. Received: {max_batch}.")
        low, high = (float(v) for v in value_range)
        if not low < high:
            raise ValueError(f"`value_range` must be (low, high). Received: {value_range}.")
        height, width, channels = source_shape
        self.source_shape = (int(height), int(width), int(channels))
        self.value_range = (low, high)
        self.num_labels = int(num_labels)
        self.labels = tuple(labels) if labels is not None else None
        self.scores = resolve_score_kind(scores, self.num_labels, sum_tolerance)
        self.score_step = float(score_step)
        self.sum_tolerance = resolve_sum_tolerance(
            sum_tolerance, self.scores, self.num_labels, self.score_step
        )
        self.max_batch = max_batch

    def answer(self, images: Any) -> Any:
        """Scores of a batch.

        Args:
            images: `(n, H, W, C)` in `value_range`.

        Returns:
            `(n, num_labels)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `answer(images)`.")

    @property
    def fingerprint(self) -> str:
        """A string that is equal for equal sources and differs when the source changes."""
        raise NotImplementedError(f"{type(self).__name__} must implement `fingerprint`.")

    @property
    def fingerprinted_scores(self) -> str:
        """The kind of scores as it enters a fingerprint: how a row is normalised does not."""
        return fingerprinted_kind(self.scores)

    @property
    def trainable(self) -> bool:
        """Always `False`; setting it has no effect, so that nothing unfreezes a source."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        del value
        keras.layers.Layer.trainable.fset(self, False)

    @property
    def metrics(self) -> list[Any]:
        """None, whatever a network inside was compiled with."""
        return []

    def call(self, images: Any) -> Any:
        self.check_image_shape(images.shape)
        leading = ops.shape(images)[:-3]
        # Keras leaves integers as they are, and pixels often come as such.
        flat = ops.reshape(ops.cast(images, "float32"), (-1, *self.source_shape))
        answer = ops.reshape(self.answer(flat), (*leading, self.num_labels))
        # What a network's layers added (`add_loss`, activity regularizers) is no part of any
        # training loss: Keras would find it in the layers, however deep they lie.
        self._clear_losses()
        return answer

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        self.check_image_shape(input_shape)
        return (*input_shape[:-3], self.num_labels)

    def check_image_shape(self, shape: tuple[int | None, ...]) -> None:
        """Raises a ValueError unless `shape` ends in `source_shape`."""
        if tuple(shape[-3:]) != self.source_shape:
            raise ValueError(
                f"{self.name} takes images of shape (..., {', '.join(map(str, self.source_shape))})"
                f". Received: shape {tuple(shape)}. Give the program the same `source_shape`."
            )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Source:
        """Rebuilds what `get_config` wrote.

        Keras's own would turn every error (a moved or another file) into a TypeError.
        """
        return cls(**config)

    def describe(self) -> dict[str, Any]:
        """The facts as plain values, for files and reports."""
        return {
            "class": type(self).__name__,
            "source_shape": list(self.source_shape),
            "value_range": list(self.value_range),
            "num_labels": self.num_labels,
            "scores": self.scores,
            "differentiable": self.differentiable,
        }
