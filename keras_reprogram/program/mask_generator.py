"""mask_generator: the small network that draws a mask for each image (SMM)."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from keras_reprogram.program.argument_checks import positive_integer

# PyTorch's BatchNorm, which the published network has, forgets a tenth a step.
_MOMENTUM = 0.9


def mask_generator(
    source_shape: tuple[int, int, int],
    *,
    filters: Sequence[int] = (8, 16, 32, 64),
    patch_size: int = 8,
    seed: int = 0,
) -> keras.Sequential:
    """A convolutional network from an image to a mask of one value a patch and channel.

    Convolutions of 3 x 3 pixels, each with batch normalisation and ReLU, the first ones followed
    by a maximum over 2 x 2 until a pixel stands for a patch; a last convolution gives the mask
    (Cai et al. 2024, fig. 8 and 9). For colour images it has 26,499 trained weights; with
    `filters=(8, 16, 32, 64, 128)`, the paper's for vision transformers, 102,339.

    Args:
        source_shape: `(H, W, C)` of source images.
        filters: of the convolutions before the last one.
        patch_size: a power of 2, at most 2 to the number of `filters`, no larger than an image.
        seed: draws the weights.

    Returns:
        A model `(n, H, W, C) -> (n, H // patch_size, W // patch_size, C)`.

    Raises:
        ValueError: for a patch size that is none of these.

    Example:
    ```python
    from keras_reprogram.program.mask_generator import mask_generator

    network = mask_generator((32, 32, 3))
    assert network.output_shape == (None, 4, 4, 3)
    ```
    """
    filters = tuple(positive_integer("filters", number) for number in filters)
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
