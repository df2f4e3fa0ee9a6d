"""GradientEstimator: the contract of every estimator of a program's gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import ops

Losses = Callable[[Any], Any]


DIFFERENCES = ("loss", "scores")


class GradientEstimator:
    """Estimates the gradient of the mean loss of a batch from losses alone.

    A subclass implements `estimate` and states `queries_per_image`, the source images that one
    target image costs a step for one view, the clean pass not counted. The identity that must
    hold: declared cost = counted queries, and the estimate's mean is the gradient as
    `smoothing` goes to zero.

    With `draws = True` nothing but the clean pass is asked, and `estimate` is never called: see
    `ScoreFunction`.

    With `differences = "scores"` the model hands over linearised losses, `clean + dL/dscores .
    (scores(candidate) - scores(clean))` an image: finite differences are then those of the score
    vector, and what stands between scores and loss enters by its exact gradient.

    Example:
    ```python
    import numpy as np
    from keras import ops
    from keras_reprogram import GradientEstimator

    class EveryCoordinate(GradientEstimator):
        # A step along each coordinate in turn: exact but expensive.

        def __init__(self, size, step=1e-3):
            self.size, self.step = size, step

        @property
        def queries_per_image(self):
            return self.size

        def estimate(self, losses, value, clean_losses, active, seed):
            ahead = losses(value + self.step * ops.eye(self.size)[:, None])
            slopes = ops.mean(ahead - clean_losses, axis=1) / self.step
            return slopes * np.asarray(active, "float32")

        def get_config(self):
            return {"size": self.size, "step": self.step}

    found = EveryCoordinate(2).estimate(
        lambda candidates: ops.sum(ops.square(candidates), axis=-1),
        np.ones(2, "float32"), np.full(1, 2.0, "float32"), np.ones(2, bool), seed=None,
    )
    assert np.allclose(found, 2, atol=0.01)
    ```
    """

    differences = "loss"
    # Whether the clean pass shows source images that the program draws, and `row_weights` and
    # `position_weights` are called in place of `estimate`; see `ScoreFunction`.
    draws = False

    def attach(self, active: np.ndarray) -> None:
        """Receives, once when a model is made, the coordinates that reach a pixel.

        An estimator whose cost depends on their number overrides this; it then belongs to one
        model.

        Args:
            active: bool array `(size,)`.
        """

    @property
    def queries_per_image(self) -> int:
        """Extra source queries an image and step, for one view."""
        raise NotImplementedError(f"{type(self).__name__} must implement `queries_per_image`.")

    def estimate(
        self, losses: Losses, value: Any, clean_losses: Any, active: Any, seed: Any
    ) -> Any:
        """The estimated gradient of `mean(losses)` at `value`.

        Args:
            losses: takes candidates `(n, batch or 1, size)`, returns `(n, batch)` losses, in one
                logical source call. A second axis of 1 means one candidate for all images; of
                `batch`, one candidate an image at the same price.
            value: `(size,)`, the program's weights as one flat vector.
            clean_losses: `(batch,)`, the losses at `value`, already paid for.
            active: bool array `(size,)`, the coordinates that reach a pixel.
            seed: a `keras.random.SeedGenerator`, set from `[seed, step]` before every step, so
                that a resumed run asks the same questions.

        Returns:
            `(size,)`, zero where `active` is not.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `estimate`.")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for saving."""
        raise NotImplementedError(f"{type(self).__name__} must implement `get_config`.")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GradientEstimator:
        """Rebuilds what `get_config` wrote."""
        return cls(**config)


_MEAN_REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def row_loss(loss: Any) -> Callable[[Any, Any], Any]:
    """`(labels, probabilities) -> (rows,)` for a loss as `compile` takes it."""
    # Only a mean is accepted: a sum would make the step depend on the batch size, and a loss
    # without reduction cannot be minimised.
    if loss is None or isinstance(loss, list | tuple | dict):
        raise ValueError(
            "Estimating a gradient needs exactly one loss. "
            f"Received: loss={loss!r}. Pass one to `compile(loss=...)`."
        )
    found = keras.losses.get(loss)
    if isinstance(found, keras.losses.Loss):
        if found.reduction not in _MEAN_REDUCTIONS:
            raise ValueError(
                "Estimating a gradient needs a loss that is a mean over the batch. Received: "
                f'{found.name} with reduction={found.reduction!r}. Use "sum_over_batch_size".'
            )
        function = found.call
    else:
        function = found

    def rows(labels: Any, probabilities: Any) -> Any:
        values = ops.cast(function(labels, probabilities), "float32")
        return ops.mean(ops.reshape(values, (ops.shape(probabilities)[0], -1)), axis=-1)

    return rows


def check_clip(clip: str | float | None) -> str | float | None:
    """`clip`, which must be `None`, `"sqrt"` or a number greater than 0."""
    if clip is None or clip == "sqrt":
        return clip
    if isinstance(clip, bool) or not isinstance(clip, Real) or not clip > 0:
        raise ValueError(
            f'`clip` must be None, "sqrt" or a number greater than 0. Received: {clip!r}.'
        )
    return float(clip)


def clip_norm(gradient: Any, clip: str | float | None, num_active: int) -> Any:
    """Limits a gradient's norm to `clip`; `"sqrt"`: `sqrt(num_active)` (Park et al. 2025)."""
    if clip is None:
        return gradient
    limit = math.sqrt(num_active) if clip == "sqrt" else float(clip)
    length = ops.sqrt(ops.sum(ops.square(gradient)))
    return gradient * ops.minimum(1.0, limit / ops.maximum(length, 1e-12))
