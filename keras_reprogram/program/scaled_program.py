"""ScaledProgram: trains the image's size on the canvas together with the program (AutoVP)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram import arguments as checks
from keras_reprogram.program.canvas import channel_matrix, resize_matrix
from keras_reprogram.program.program import FixedProgram, Program
from keras_reprogram.program.program_layer import resize_rows
from keras_reprogram.program.views import center_view, framed_size


@keras.saving.register_keras_serializable(package="keras_reprogram")
class ScaledProgram(Program):
    """A program around an image whose scale is trained: AutoVP's input module (Tsao et al. 2024).

    On pixels in [0, 1] the source image is `A x B^T + (1 - a b^T) * sigmoid(W)`. `A` and `B`
    sample the image bilinearly, enlarged about the middle of the canvas by the scale
    `s = initial_scale + scale_change`; `a` and `b` are the sums of their rows, 1 inside the image
    and 0 outside, so that `1 - a b^T` is the mask M. Everything is differentiable in `s`. It is
    kept in [0.1, 5]. Zero weights give the image in its initial size on a mid-range canvas.

    Deviations from AutoVP: its mask is a box of whole pixels, through which no gradient reaches
    the scale; here the mask fades over the last pixel of the image, as the image itself does.

    Args:
        target_shape: `(h, w, c)` of target images.
        source_shape: `(H, W, C)` of source images.
        source_range: `(low, high)`, what the source expects (`source.value_range`).
        target_range: `(low, high)` of target images.
        image_size: size on the canvas at scale 1, an integer or `(height, width)`. `None`: the
            image's own where that leaves a frame, else 4/7 of the canvas (AutoVP's 128 of 224).
        initial_scale: in [0.1, 5].
        name: layer name.

    Call arguments:
        images: `(batch, h, w, c)` in `target_range`.

    Input shape:
        `(batch, h, w, c)`.

    Output shape:
        `(batch, 1, H, W, C)` in `source_range`, float32.

    Raises:
        ValueError: for shapes, ranges or a scale that do not fit together.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.program import ScaledProgram

    program = ScaledProgram((8, 8, 1), (32, 32, 3), source_range=(0, 255), initial_scale=1.5)
    source_images = program(np.zeros((2, 8, 8, 1), "float32"))
    assert source_images.shape == (2, 1, 32, 32, 3)
    assert program.scale == 1.5
    ```

    References:
        Tsao, Hsiung, Chen, Liu, Ho, "AutoVP: An Automated Visual Prompting Framework and
        Benchmark", ICLR 2024.
    """

    source_range: tuple[float, float]
    target_range: tuple[float, float]

    def __init__(
        self,
        target_shape: tuple[int, int, int],
        source_shape: tuple[int, int, int],
        *,
        source_range: tuple[float, float],
        target_range: tuple[float, float] = (0.0, 255.0),
        image_size: int | tuple[int, int] | None = None,
        initial_scale: float = 1.0,
        name: str = "program",
    ) -> None:
        super().__init__(
            checks.image_shape("target_shape", target_shape),
            checks.image_shape("source_shape", source_shape),
            source_range=source_range,
            target_range=target_range,
            name=name,
        )
        size = checks.image_size_or_none(image_size)
        self.image_size = size or framed_size(self.target_shape, self.source_shape)
        self.limits = ScaleLimits(checks.positive_number("initial_scale", initial_scale))
        self.initial_scale = self.limits.initial_scale
        self._view = center_view(self.image_size, self.source_shape)
        self.build((None, *self.target_shape))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.program_weights = self.add_weight(
            shape=self.source_shape, initializer="zeros", name="program_weights"
        )
        self.scale_change = self.add_weight(
            shape=(1,), initializer="zeros", constraint=self.limits, name="scale_change"
        )

    def call(self, images: Any) -> Any:
        return self._source_images(images, self.program_weights[None], self.scale_change)

    def transform(self, images: Any, values: Any) -> Any:
        """Source images under other weights than the stored ones, one row of weights an image.

        Args:
            images: `(batch, h, w, c)` in `target_range`.
            values: `(batch or 1, size)`, flat weights; the scale's is the last.

        Returns:
            `(batch, 1, H, W, C)` in `source_range`.
        """
        values = ops.convert_to_tensor(values)
        weights = ops.reshape(values[:, :-1], (-1, *self.source_shape))
        return self._source_images(images, weights, values[:, -1])

    def live_coordinates(self) -> np.ndarray:
        """Which flat weights can reach a pixel at some scale: bool array `(size,)`.

        Weights under the image at every scale (at most the middle of the canvas) are inactive.
        """
        smallest = self._coverage(ops.convert_to_tensor([self.limits.lowest], "float32"))[0]
        free = ops.convert_to_numpy(smallest) < 1
        return np.append(np.broadcast_to(free, self.source_shape).reshape(-1), True)

    def fixed(self) -> FixedProgram:
        low, high = self.source_range
        change = self.limits(self.scale_change.value)
        covered = ops.convert_to_numpy(self._coverage(change))
        pattern = ops.convert_to_numpy(ops.sigmoid(self.program_weights.value))
        rows, columns = map(ops.convert_to_numpy, self._samplers(change))
        channels = self.source_shape[2]
        return FixedProgram(
            channel_matrix(self.target_shape[2], channels)[None],
            np.zeros((1, channels), np.float32),
            rows,
            columns,
            gain=np.array(high - low),
            behind=low + (high - low) * (1.0 - covered) * pattern,
        )

    @property
    def scale(self) -> float:
        """The image's scale now, 1 for `image_size`."""
        return self.initial_scale + float(ops.convert_to_numpy(self.scale_change.value)[0])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "image_size": self.image_size,
            "initial_scale": self.initial_scale,
        }

    def _source_images(self, images: Any, weights: Any, change: Any) -> Any:
        """`weights` `(n, H, W, C)` and `change` `(n,)`, where n is the batch or 1."""
        low, high = self.target_range
        images = (ops.cast(images, "float32") - low) / (high - low)
        colours = channel_matrix(self.target_shape[2], self.source_shape[2])
        images = ops.einsum("bhwc,cC->bhwC", ops.clip(images, 0.0, 1.0), colours)
        change = self.limits(change)
        rows, columns = self._samplers(change)
        placed = ops.matmul(columns[:, None], resize_rows(rows, images))
        joined = placed + (1.0 - self._coverage(change)) * ops.sigmoid(weights)
        low, high = self.source_range
        return low + (high - low) * joined[:, None]

    def _coverage(self, change: Any) -> Any:
        """The share of each pixel that the image covers, `(n, H, W, 1)` in [0, 1]."""
        rows, columns = (ops.sum(matrix, axis=-1) for matrix in self._samplers(change, own=False))
        return (rows[:, :, None] * columns[:, None, :])[..., None]

    def _samplers(self, change: Any, own: bool = True) -> tuple[Any, Any]:
        """`A` `(n, H, h)` and `B` `(n, W, w)`; without `own` from an image of `image_size`."""
        scale = self.initial_scale + change
        starts = (self._view.top, self._view.left)
        matrices = []
        for axis, start in enumerate(starts):
            size, canvas = self.image_size[axis], self.source_shape[axis]
            matrix = _sampling_matrix(scale, size, start, canvas)
            if own:
                matrix = ops.matmul(matrix, resize_matrix(self.target_shape[axis], size))
            matrices.append(matrix)
        return matrices[0], matrices[1]


def _sampling_matrix(scale: Any, size: int, start: int, canvas: int) -> Any:
    """`(n, H, size)`: bilinear samples of an axis at `start`, enlarged about the middle."""
    # Canvas pixel i shows the image at `(i - m) / scale + m - start`, m the middle.
    middle = (canvas - 1) / 2
    from_middle = (np.arange(canvas) - middle).astype(np.float32)
    shown = from_middle / ops.reshape(scale, (-1, 1)) + (middle - start)
    distance = ops.abs(shown[:, :, None] - np.arange(size, dtype=np.float32))
    return ops.maximum(1.0 - distance, 0.0)


# AutoVP clamps its scale to these after each step (Tsao et al. 2024).
SMALLEST_SCALE, LARGEST_SCALE = 0.1, 5.0


@keras.saving.register_keras_serializable(package="keras_reprogram")
class ScaleLimits(keras.constraints.Constraint):
    """Keeps `initial_scale + change` in [0.1, 5]."""

    def __init__(self, initial_scale: float) -> None:
        self.initial_scale = checks.positive_number("initial_scale", initial_scale)
        if not SMALLEST_SCALE <= self.initial_scale <= LARGEST_SCALE:
            raise ValueError(
                f"`initial_scale` must lie in [{SMALLEST_SCALE}, {LARGEST_SCALE}]. "
                f"Received: initial_scale={initial_scale}. Pass another `image_size` to go further."
            )

    @property
    def lowest(self) -> float:
        """The change that leads to the smallest scale."""
        return SMALLEST_SCALE - self.initial_scale

    def __call__(self, w: Any) -> Any:
        return ops.clip(w, self.lowest, LARGEST_SCALE - self.initial_scale)

    def get_config(self) -> dict[str, Any]:
        return {"initial_scale": self.initial_scale}
