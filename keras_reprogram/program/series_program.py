"""SeriesProgram: a time series -> samples of a source of sounds, with additive weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_reprogram import arguments as checks
from keras_reprogram.program.program import Program
from keras_reprogram.program.program_layer import SQUASHES
from keras_reprogram.program.series_views import SeriesView, draw_series_views, taps

_CHANNELS = ("refuse", "average")
_OVERSIZED = ("refuse", "resample")


@keras.saving.register_keras_serializable(package="keras_reprogram")
class SeriesProgram(Program):
    """Puts copies of a series into the source's samples and adds trainable weights to them.

    A view is `clip(middle + half * (scale * Pad(x) + P))` with `P = strength * squash(W * M)`
    (Voice2Series, Yang et al. 2021, eq. 4: `x' = Pad(x) + M * theta`), where `middle` and `half`
    are those of `source_range`, 0 and 1 for samples in (-1, 1) or of an unknown range, which clips
    nothing. `Pad(x)` holds copies of the series at equal distances and 0 elsewhere, M is 1 where no
    copy lies. Zero weights give the copies alone.

    Series are usually brought to mean 0 and deviation 1; `scale=0.25` then keeps four deviations
    in the range of sounds.

    Args:
        target_shape: `(length,)`, or `(length, channels)` with `channels="average"`; one channel
            needs no choice.
        source_shape: `(samples,)` or `(samples, 1)`.
        source_range: `(low, high)`, `source.value_range`; `None` if it is unknown, or must not
            clip.
        target_range: `(low, high)` of series, checked before queries; `None` for no check.
        num_views: source inputs V that one series becomes, see `draw_series_views`.
        views: `SeriesView` objects instead of drawn ones.
        scale: factor of the series, > 0.
        masked: `False` lets the program lie over the copies too.
        per_view: weights for each view instead of one row for all.
        squash: `"tanh"`, `"sigmoid"` or `"none"`, as in `ProgramLayer`.
        strength: factor before `P`, > 0.
        initializer: of W.
        regularizer: a Keras regularizer for `W`, or a number lambda for `lambda * ||W||^2`.
        dropout: share of W that training steps leave out, in [0, 1); other weights are raised.
            Steps through a source without a gradient leave none out, and a warning says so.
        channels: `"refuse"` raises for several channels, `"average"` takes their mean.
        oversized: `"refuse"` raises for a series longer than the source's samples, `"resample"`
            shrinks it to them.
        seed: draws the views. What `fit` leaves out follows from the model's seed and the step.
        name: layer name.

    Call arguments:
        series: `(batch, length)` or `(batch, length, channels)`.

    Output shape:
        `(batch, num_views, samples)` or `(batch, num_views, samples, 1)`, float32.

    Raises:
        ValueError: for shapes, ranges or options that do not fit together.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import SeriesProgram

    program = SeriesProgram((24,), (16000,), source_range=(-1, 1), num_views=2)
    assert program(np.zeros((3, 24), "float32")).shape == (3, 2, 16000)
    ```

    References:
        Yang, Tsai, Chen, "Voice2Series: Reprogramming Acoustic Models for Time Series
        Classification", ICML 2021.
    """

    def __init__(
        self,
        target_shape: tuple[int, ...],
        source_shape: tuple[int, ...],
        *,
        source_range: tuple[float, float] | None = None,
        target_range: tuple[float, float] | None = None,
        num_views: int = 1,
        views: Sequence[SeriesView] | None = None,
        scale: float = 0.25,
        masked: bool = True,
        per_view: bool = False,
        squash: str = "tanh",
        strength: float = 1.0,
        initializer: Any = "zeros",
        regularizer: keras.regularizers.Regularizer | float | None = None,
        dropout: float = 0.0,
        channels: str = "refuse",
        oversized: str = "refuse",
        seed: int = 0,
        name: str = "program",
    ) -> None:
        super().__init__(
            target_shape,
            source_shape,
            source_range=source_range,
            target_range=target_range,
            name=name,
        )
        self.channels = checks.one_of("channels", channels, _CHANNELS)
        self.oversized = checks.one_of("oversized", oversized, _OVERSIZED)
        self.length, self.samples = self._check_shapes()
        if views is None:
            views = draw_series_views(self.length, self.samples, num_views, seed)
        self.views = self._checked_views(views, num_views)
        self.num_views = len(self.views)
        self.scale = checks.positive_number("scale", scale)
        self.masked, self.per_view, self.seed = masked, per_view, seed
        self.squash = checks.one_of("squash", squash, tuple(SQUASHES))
        self.strength = checks.positive_number("strength", strength)
        self.initializer = keras.initializers.get(initializer)
        if isinstance(regularizer, int | float):
            regularizer = keras.regularizers.L2(regularizer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.dropout = _dropout(dropout)
        self._leave_out = keras.layers.Dropout(self.dropout, seed=seed) if self.dropout else None
        self._places, self._weights, self._covered = taps(self.views, self.length, self.samples)
        # Built at once: every shape is known, and a program file restores weights before data.
        self.build((None, *self.target_shape))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.program_weights = self.add_weight(
            shape=(self.num_views if self.per_view else 1, self.samples),
            initializer=self.initializer,
            regularizer=self.regularizer,
            name="program_weights",
        )

    def call(self, series: Any, training: bool | None = None) -> Any:
        weights = self.program_weights
        if self._leave_out is not None:
            weights = self._leave_out(ops.convert_to_tensor(weights), training=training)
        return self._source_samples(series, weights)

    def transform(self, images: Any, values: Any) -> Any:
        """Source samples under other weights than the stored ones, one row of weights a series.

        Args:
            images: series, `(batch, *target_shape)`.
            values: `(batch or 1, size)`, flat weights.

        Returns:
            `(batch, num_views, *source_shape)`.
        """
        return self._source_samples(images, ops.reshape(values, (-1, *self.program_weights.shape)))

    def live_coordinates(self) -> np.ndarray:
        """Which flat weights can reach a sample: bool `(size,)`; the rest lies under a copy."""
        mask = self._mask()
        if not self.per_view:
            mask = mask.max(axis=0, keepdims=True)
        return mask.reshape(-1) > 0

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            # The views themselves: a file stays valid if the drawing ever changes.
            "views": [asdict(view) for view in self.views],
            "scale": self.scale,
            "masked": self.masked,
            "per_view": self.per_view,
            "squash": self.squash,
            "strength": self.strength,
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "dropout": self.dropout,
            "channels": self.channels,
            "oversized": self.oversized,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config = dict(config)
        config["views"] = [SeriesView(**view) for view in config["views"]]
        config["initializer"] = keras.initializers.deserialize(config["initializer"])
        config["regularizer"] = keras.regularizers.deserialize(config["regularizer"])
        return super().from_config(config)

    def _source_samples(self, series: Any, weights: Any) -> Any:
        """Series under the program, `(batch, V, *source_shape)`."""
        low, high = self.source_range or (-1.0, 1.0)
        half, middle = 0.5 * (high - low), 0.5 * (high + low)
        pattern = SQUASHES[self.squash](weights * self._mask())
        samples = middle + half * (self.scale * self._pad(series) + self.strength * pattern)
        if self.source_range is not None:
            samples = ops.clip(samples, low, high)
        return ops.reshape(samples, (-1, self.num_views, *self.source_shape))

    def _pad(self, series: Any) -> Any:
        """Copies of the series, `(batch, V, samples)`, 0 elsewhere."""
        series = ops.cast(series, "float32")
        if len(self.target_shape) > 1:
            series = ops.mean(series, axis=2)
        padded: Any = 0.0
        for places, weights in zip(self._places, self._weights, strict=True):
            values = ops.take(series, places.reshape(-1), axis=1)
            padded = padded + ops.reshape(values, (-1, *places.shape)) * weights
        return padded

    def _mask(self) -> np.ndarray:
        """M, 1 where the program may be, `(num_views, samples)`."""
        return 1.0 - self._covered if self.masked else np.ones_like(self._covered)

    def _check_shapes(self) -> tuple[int, int]:
        """Lengths of a series and of the source's input."""
        samples, *ones = self.source_shape
        if ones not in ([], [1]):
            raise ValueError(
                "A `SeriesProgram` writes one row of samples, `source_shape` (samples,) or "
                f"(samples, 1). Received: source_shape={self.source_shape}. Use a source of one "
                "channel, or a program of your own (`Program`)."
            )
        length, *channels = self.target_shape
        if len(channels) > 1 or (channels not in ([], [1]) and self.channels == "refuse"):
            raise ValueError(
                "A `SeriesProgram` reads one row of values, `target_shape` (length,). Received: "
                f"target_shape={self.target_shape}. Choose one channel, or average several of "
                '(length, channels) with `channels="average"`.'
            )
        if length > samples and self.oversized == "refuse":
            raise ValueError(
                f"A series must not be longer than the {samples} samples of the source. Received: "
                f'{length} values. Cut it, or pass `oversized="resample"` to shrink it.'
            )
        return length, samples

    def _checked_views(self, views: Sequence[SeriesView], num_views: int) -> tuple[SeriesView, ...]:
        views = tuple(views)
        if not views or num_views not in (1, len(views)):
            raise ValueError(
                f"`views` must be one or more `SeriesView`, as many as `num_views`. Received: "
                f"{len(views)} views, num_views={num_views}. Leave `num_views` out."
            )
        if beyond := [view for view in views if view.end > self.samples]:
            raise ValueError(
                f"Views must end within the source's {self.samples} samples. Received: "
                f"{beyond[0]}, which ends at {beyond[0].end}. Use fewer or shorter copies."
            )
        return views


def _dropout(share: float) -> float:
    if not isinstance(share, int | float) or not 0 <= share < 1:
        raise ValueError(f"`dropout` must lie in [0, 1). Received: dropout={share!r}.")
    return float(share)
