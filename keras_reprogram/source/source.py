"""Source: the contract of every source model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.arguments import KeepsOldNames, data_shape, is_image
from keras_reprogram.output_map.blocks import Block
from keras_reprogram.source.ledger.query_ledger import QueryLedger

SCORE_KINDS = ("probabilities", "independent", "logits", "independent_logits", "features")
# A `PixelSource` alone has these: plain features that share one scale.
PIXELS = "pixels"
# Fingerprints are older than this distinction; a ledger's answers must stay valid.
_FINGERPRINTED = {"independent": "probabilities", "independent_logits": "logits"}


def fingerprinted_kind(score_kind: str) -> str:
    """Whether scores are probabilities, logits or features, however a row is normalised."""
    return _FINGERPRINTED.get(score_kind, score_kind)


class Source(KeepsOldNames, keras.layers.Layer):
    """A frozen classifier: source images -> source scores. Never trained.

    A subclass implements `answer((n, H, W, C)) -> (n, num_labels)` and states facts about itself.
    Preprocessing belongs to the source: callers speak raw pixels in `value_range`.

    Three axes are an image. A classifier of series or texts has another `source_shape`, such as
    `(16000,)` samples or `(length, vocabulary)` of one-hot rows: what is said of `(H, W, C)` holds
    for these axes.

    Facts: `source_shape`, `value_range`, `num_labels`, `class_names`, `score_kind`, `score_step`,
    `sum_tolerance`, `max_batch`, `differentiable` (gradients may be taken), `in_graph` (may run
    inside a compiled graph; others run eagerly, one call at a time), `exportable` (can become
    part of an exported model), `fingerprint` (a string that changes when the source does).

    Args:
        source_shape: `(H, W, C)`, or another number of axes of series or texts.
        num_labels: scores a source image gets.
        value_range: `(low, high)` of the pixels it expects; `None` where nobody knows it, of series
            and texts only.
        class_names: names of the scores, or `None`.
        score_kind: how the scores of an answer relate to each other; maps read them accordingly.
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

    # Of three axes and never `None` where images are meant; code that takes others checks.
    source_shape: Any
    value_range: Any
    old_names = {"labels": "class_names", "scores": "score_kind"}
    differentiable = False
    in_graph = True
    exportable = True
    # Sources that are paid for count images and may have a `QueryLedger`, see `PythonSource`.
    queries_used: int | None = None
    ledger: QueryLedger | None = None
    # Whether images reach the model as 8-bit codes: small steps of a program may vanish there.
    rounds_images = False
    # Whether `answer` takes uint8 pixels as they come; others get float32.
    takes_bytes = False
    # Whether the same image may get other scores the next time, see `RandomSwitching`. Answers are
    # then not cached for later epochs, and nothing is compared with stored ones; a ledger keeps the
    # first answer to an image all the same. Set it on a source whose service answers so.
    answers_at_random = False
    # Of a joint source, the layer that reads target images: `(n, h, w, c)` -> `(n, D)`.
    beside: keras.layers.Layer | None = None

    def __init__(
        self,
        source_shape: tuple[int, ...],
        num_labels: int,
        *,
        value_range: tuple[float, float] | None,
        class_names: Sequence[str] | None = None,
        score_kind: str | None = None,
        score_step: float = 0.0,
        sum_tolerance: float | str | None = "auto",
        max_batch: int | None = None,
        name: str = "source",
    ) -> None:
        super().__init__(name=name, dtype="float32", trainable=False)
        if score_kind is not None and score_kind not in (*SCORE_KINDS, PIXELS):
            raise ValueError(
                f"`score_kind` (--scores) must be one of {SCORE_KINDS}. Received: {score_kind!r}."
            )
        if class_names is not None and len(class_names) != num_labels:
            raise ValueError(
                f"`class_names` must name all {num_labels} scores. "
                f"Received: {len(class_names)} names."
            )
        if max_batch is not None and max_batch < 1:
            raise ValueError(f"`max_batch` must be at least 1. Received: {max_batch}.")
        self.source_shape = data_shape("source_shape", source_shape)
        self.value_range = _value_range(value_range, self.source_shape)
        self.num_labels = int(num_labels)
        self.class_names = tuple(class_names) if class_names is not None else None
        self.score_kind = resolve_score_kind(score_kind, self.num_labels, sum_tolerance)
        self.score_step = float(score_step)
        self.sum_tolerance = resolve_sum_tolerance(
            sum_tolerance, self.score_kind, self.num_labels, self.score_step
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

    # A method: Keras's writer of files would follow a property that returns the layer itself.
    def asked_part(self) -> Source:
        """The source that answers source images: itself, or the asked part of a joint source."""
        return self

    def with_asked(self, other: Source) -> Source:
        """The same with another source in the place of the asked part."""
        return other

    def blocks(self, num_views: int) -> tuple[Block, ...]:
        """Of a joint source, where each part's scores are in its answers; else empty."""
        del num_views
        return ()

    def answer_shape(self, num_views: int) -> tuple[int, int]:
        """Of the answer that a map reads for one target image: `(V, S)`, here."""
        return num_views, self.num_labels

    def join(self, scores: Any, beside: Any) -> Any:
        """The answers that a map reads: here the scores `(n, V, S)`, nothing is beside them."""
        del beside
        return scores

    def answers(self, scores: Any, target_images: Any) -> Any:
        """The same from target images `(n, h, w, c)`."""
        return self.join(scores, None if self.beside is None else self.beside(target_images))

    @property
    def probe_range(self) -> tuple[float, float]:
        """`(low, high)` of numbers to try the source with: `value_range`, or 0 to 1."""
        return self.value_range or (0.0, 1.0)

    @property
    def costs_queries(self) -> bool:
        """Whether asking may be billed or limited; Python code may call a service."""
        return not self.in_graph

    @property
    def request_options(self) -> str:
        """Request settings, other than the image, that change the answer."""
        return ""

    @property
    def fingerprinted_scores(self) -> str:
        """The kind of scores as it enters a fingerprint: how a row is normalised does not."""
        return fingerprinted_kind(self.score_kind)

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
        leading = ops.shape(images)[: -len(self.source_shape)]
        # Keras leaves integers as they are, and pixels often come as such.
        if not (self.takes_bytes and keras.backend.standardize_dtype(images.dtype) == "uint8"):
            images = ops.cast(images, "float32")
        flat = ops.reshape(images, (-1, *self.source_shape))
        answer = ops.reshape(self.answer(flat), (*leading, self.num_labels))
        # Losses that a network's layers added (`add_loss`, activity regularizers) do not belong to
        # the training loss, but Keras would find them in the layers, however deeply they are
        # nested.
        self._clear_losses()
        return answer

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        self.check_image_shape(input_shape)
        return (*input_shape[: -len(self.source_shape)], self.num_labels)

    def check_image_shape(self, shape: tuple[int | None, ...]) -> None:
        """Raises a ValueError unless `shape` ends in `source_shape`."""
        if tuple(shape[-len(self.source_shape) :]) != self.source_shape:
            what = "images" if is_image(self.source_shape) else "arrays"
            raise ValueError(
                f"{self.name} takes {what} of shape (..., {', '.join(map(str, self.source_shape))})"
                f". Received: shape {tuple(shape)}. Give the program the same `source_shape`."
            )

    def base_config(self) -> dict[str, Any]:
        """The part of `get_config` that all sources share."""
        return {
            "value_range": self.value_range,
            "class_names": self.class_names,
            "score_kind": self.score_kind,
            "sum_tolerance": self.sum_tolerance,
            "max_batch": self.max_batch,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Source:
        """Rebuilds what `get_config` wrote.

        Keras's own would turn every error (a moved or another file) into a TypeError.
        """
        return cls(**cls.config_in_new_names(config))

    def describe(self) -> dict[str, Any]:
        """The facts as plain values, for files and reports."""
        return {
            "class": type(self).__name__,
            "source_shape": list(self.source_shape),
            "value_range": None if self.value_range is None else list(self.value_range),
            "num_labels": self.num_labels,
            "scores": self.score_kind,
            "differentiable": self.differentiable,
        } | ({"answers_at_random": True} if self.answers_at_random else {})


def _value_range(
    limits: Sequence[float] | None, source_shape: tuple[int, ...]
) -> tuple[float, float] | None:
    if limits is None and not is_image(source_shape):
        return None
    if limits is None:
        raise ValueError("`value_range` of images must be (low, high). Received: None.")
    low, high = (float(v) for v in limits)
    if not low < high:
        raise ValueError(f"`value_range` must be (low, high). Received: {limits}.")
    return low, high


# Float softmax outputs sum to 1 within rounding; this is generous.
_FLOAT_TOLERANCE = 1e-3
# Noise or rounding takes independent scores so far beyond [0, 1]; logits, percentages go further.
_UNIT_SLACK = 0.1


def resolve_score_kind(
    score_kind: str | None, num_labels: int, sum_tolerance: float | str | None
) -> str:
    """The kind of scores, see `Source`: probabilities, unless they need not sum to 1."""
    # A single score has no others to share a normalisation with.
    alone = num_labels == 1
    if score_kind in (None, "probabilities"):
        return "independent" if alone or sum_tolerance is None else "probabilities"
    return "independent_logits" if alone and score_kind == "logits" else str(score_kind)


def resolve_sum_tolerance(
    sum_tolerance: float | str | None, score_kind: str, num_labels: int, score_step: float
) -> float | None:
    """Tolerance of a row's sum around 1; `None` for scores that need not sum to 1."""
    if sum_tolerance == "auto":
        # Each of the scores may be off by half a step.
        if score_kind != "probabilities":
            return None
        return _FLOAT_TOLERANCE + num_labels * score_step / 2
    if isinstance(sum_tolerance, str) or (sum_tolerance is not None and not sum_tolerance >= 0):
        raise ValueError(
            "`sum_tolerance` must be a number of at least 0, 'auto', or None for no check. "
            f"Received: sum_tolerance={sum_tolerance!r}."
        )
    return sum_tolerance


def check_answer(
    answer: Any,
    num_images: int,
    num_labels: int,
    sum_tolerance: float | None,
    who: str,
    kind: str = "probabilities",
) -> np.ndarray:
    """An answer as float32 `(num_images, num_labels)`, checked: shape, finite, sums, [0, 1]."""
    try:
        answer = np.asarray(answer)
    except ValueError as error:
        raise ValueError(
            f"{who} must answer with one row of {num_labels} scores per image. "
            f"Received: rows of different lengths ({error})."
        ) from error
    if answer.dtype == object or not np.issubdtype(answer.dtype, np.number):
        raise ValueError(f"{who} must answer with numbers. Received: dtype {answer.dtype}.")
    answer = answer.astype(np.float32)
    if answer.shape != (num_images, num_labels):
        raise ValueError(
            f"{who} must answer {num_images} images with scores of shape "
            f"{(num_images, num_labels)}. Received: shape {answer.shape}. Check `num_labels`, "
            "and that there is one row per image, in order."
        )
    if not np.isfinite(answer).all():
        row = int(np.argwhere(~np.isfinite(answer))[0][0])
        raise ValueError(
            f"{who} answered with NaN or infinity. Received: image {row}, scores "
            f"{answer[row, :8]}. Check the value range that it expects and its own logs."
        )
    if sum_tolerance is not None:
        _check_sums(answer, sum_tolerance, who)
    if kind == "independent":
        _check_unit_range(answer, who)
    return answer


def _check_sums(answer: np.ndarray, sum_tolerance: float, who: str) -> None:
    sums = answer.sum(axis=1, dtype=np.float64)
    worst = int(np.abs(sums - 1.0).argmax())
    if abs(sums[worst] - 1.0) > sum_tolerance or answer.min() < -sum_tolerance:
        raise ValueError(
            f"{who} declares probabilities, whose rows sum to 1 within {sum_tolerance:.4g}. "
            f"Received: a row that sums to {sums[worst]:.6g}, smallest score "
            f'{answer.min():.4g}. Pass `score_kind="logits"` (--scores logits) if these are '
            'logits, `score_kind="independent"` (--scores independent) if each score stands alone '
            "(sigmoids, several findings, partial lists), or `score_step=` (--score-step, of a "
            "SavedModel) if scores are rounded; `sum_tolerance=` (--sum-tolerance) allows other "
            "sums."
        )


def _check_unit_range(answer: np.ndarray, who: str) -> None:
    low, high = (float(value) for value in (answer.min(initial=0.0), answer.max(initial=1.0)))
    if low < -_UNIT_SLACK or high > 1 + _UNIT_SLACK:
        raise ValueError(
            f"{who} declares independent scores, each from 0 to 1. Received: scores from {low:.4g} "
            f'to {high:.4g}. Pass `score_kind="independent_logits"` (--scores '
            "independent_logits) if these are logits, or divide percentages by 100."
        )
