"""SampleMaskProgram: one shared pattern with a mask computed for each image (SMM)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram import arguments as checks
from keras_reprogram.program.canvas import channel_matrix, resize_matrix
from keras_reprogram.program.program import Program
from keras_reprogram.program.program_layer import IMAGENET_UNIT, resize_rows


@keras.saving.register_keras_serializable(package="keras_reprogram")
class SampleMaskProgram(Program):
    """Sample-specific multi-channel masks (SMM, Cai et al. 2024).

    `x' = r(x) + strength * delta * mask(r(x))` (eq. 4), clipped to `source_range`: `r` resizes the
    image to the whole canvas, `delta` is a trained pattern, and `mask` a small trained network
    (`mask_generator`) whose values are repeated over patches. One unit of the sum is half of
    `source_range`. `delta` starts at zero, which gives the resized image.

    Deviations: the network reads pixels in [-1, 1] and the result is clipped, where the paper
    normalises by ImageNet's statistics and does not clip. The default `strength` makes one unit
    of `delta` the paper's, a standard deviation. Convolutions start by Glorot's rule.

    Args:
        target_shape: `(h, w, c)` of target images.
        source_shape: `(H, W, C)` of source images.
        source_range: `(low, high)`, what the source expects (`source.value_range`).
        target_range: `(low, high)` of target images.
        filters: of the mask's network; `(8, 16, 32, 64, 128)` is the paper's for transformers.
        patch_size: pixels a side that share a value of the mask, a power of 2.
        strength: factor before the pattern, > 0.
        seed: draws the network's first weights.
        name: layer name.

    Call arguments:
        images: `(batch, h, w, c)` in `target_range`.
        training: whether the network's batch normalisation uses and learns batch statistics.

    Input shape:
        `(batch, h, w, c)`.

    Output shape:
        `(batch, 1, H, W, C)` in `source_range`, float32.

    Raises:
        ValueError: for shapes, ranges or a patch size that do not fit together.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.program import SampleMaskProgram

    program = SampleMaskProgram((8, 8, 1), (32, 32, 3), source_range=(0, 255))
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1))
    assert program(images).shape == (2, 1, 32, 32, 3)
    assert program.masks(images).shape == (2, 32, 32, 3)
    ```

    References:
        Cai, Ye, Feng, Qi, Liu, "Sample-specific Masks for Visual Reprogramming-based Prompting",
        ICML 2024.
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
        filters: Sequence[int] = (8, 16, 32, 64),
        patch_size: int = 8,
        strength: float = IMAGENET_UNIT,
        seed: int = 0,
        name: str = "program",
    ) -> None:
        super().__init__(
            checks.image_shape("target_shape", target_shape),
            checks.image_shape("source_shape", source_shape),
            source_range=source_range,
            target_range=target_range,
            name=name,
        )
        self.filters = tuple(filters)
        self.patch_size = patch_size
        self.strength = checks.positive_number("strength", strength)
        self.seed = seed
        self.mask_generator = mask_generator(
            self.source_shape, filters=self.filters, patch_size=patch_size, seed=seed
        )
        self.build((None, *self.target_shape))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.program_weights = self.add_weight(
            shape=self.source_shape, initializer="zeros", name="program_weights"
        )

    def call(self, images: Any, training: bool = False) -> Any:
        low, high = self.source_range
        resized = self._resized(images)
        pattern = self.strength * self.program_weights * self._masks(resized, training)
        joined = ops.clip(resized + pattern, -1.0, 1.0)
        return (low + 0.5 * (high - low) * (joined + 1.0))[:, None]

    def masks(self, images: Any) -> np.ndarray:
        """The masks of target images, to look at.

        Args:
            images: `(batch, h, w, c)` in `target_range`.

        Returns:
            `(batch, H, W, C)`, of any sign.
        """
        return ops.convert_to_numpy(self._masks(self._resized(images), training=False))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "filters": self.filters,
            "patch_size": self.patch_size,
            "strength": self.strength,
            "seed": self.seed,
        }

    def _resized(self, images: Any) -> Any:
        """`r(x)`, `(batch, H, W, C)` in [-1, 1]."""
        low, high = self.target_range
        images = (ops.cast(images, "float32") - low) / (high - low)
        colours = channel_matrix(self.target_shape[2], self.source_shape[2])
        images = ops.einsum("bhwc,cC->bhwC", 2.0 * ops.clip(images, 0.0, 1.0) - 1.0, colours)
        rows, columns = (
            resize_matrix(self.target_shape[axis], self.source_shape[axis]) for axis in (0, 1)
        )
        return resize_rows(rows, ops.matmul(columns, images))

    def _masks(self, resized: Any, training: bool) -> Any:
        """The network's masks with each value repeated over its patch, `(batch, H, W, C)`."""
        masks = self.mask_generator(resized, training=training)
        rows, columns = (_patch_matrix(self.source_shape[axis], self.patch_size) for axis in (0, 1))
        return resize_rows(rows, ops.matmul(columns, masks))


def _patch_matrix(size: int, patch_size: int) -> np.ndarray:
    """Matrix that repeats each value over its patch; leftover pixels take the last value."""
    num_patches = size // patch_size
    patch = np.minimum(np.arange(size) // patch_size, num_patches - 1)
    return np.eye(num_patches, dtype=np.float32)[patch]


# PyTorch's BatchNorm, which the published network has, forgets a tenth a step.
_MOMENTUM = 0.9


def mask_generator(
    source_shape: tuple[int, int, int],
    *,
    filters: Sequence[int] = (8, 16, 32, 64),
    patch_size: int = 8,
    seed: int = 0,
) -> keras.Sequential:
    """A model `(n, H, W, C) -> (n, H // patch_size, W // patch_size, C)`: a value a patch."""
    # Convolutions of 3 x 3 pixels; the first ones are followed by max pooling over 2 x 2 until a
    # pixel stands for a patch (Cai et al. 2024, fig. 8 and 9). 26,499 weights for colour images,
    # 102,339 with the paper's filters for transformers.
    filters = tuple(checks.positive_integer("filters", number) for number in filters)
    num_halvings = _num_halvings(patch_size, len(filters), source_shape)
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(len(filters) + 1)]
    layers: list[keras.layers.Layer] = [keras.Input(source_shape)]
    for index, number in enumerate(filters):
        layers += [
            _convolution(number, seeds[index]),
            keras.layers.BatchNormalization(momentum=_MOMENTUM, epsilon=1e-5),
            keras.layers.ReLU(),
        ]
        if index < num_halvings:
            layers.append(keras.layers.MaxPooling2D(2))
    layers.append(_convolution(source_shape[2], seeds[-1]))
    return keras.Sequential(layers, name="mask_generator")


def _convolution(filters: int, seed: int) -> keras.layers.Layer:
    draw = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=draw)


def _num_halvings(patch_size: int, most: int, source_shape: tuple[int, int, int]) -> int:
    largest = min(2**most, *source_shape[:2])
    allowed = [2**power for power in range(most + 1) if 2**power <= largest]
    if patch_size not in allowed:
        raise ValueError(
            f"`patch_size` must be one of {allowed} for {most} `filters` and this source. "
            f"Received: patch_size={patch_size!r}, source_shape={source_shape}."
        )
    return allowed.index(patch_size)
