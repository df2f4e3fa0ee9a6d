"""train_decoder: a small convolutional autoencoder on the target images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_reprogram.program import argument_checks as checks
from keras_reprogram.program.canvas import largest_fit, resize_matrix

_FILTERS = 16
# Two layers of stride 2 down, two upsamplings back.
_SHRINK = 4


def train_decoder(
    images: Any,
    latent_size: int = 16,
    *,
    target_range: tuple[float, float] = (0.0, 255.0),
    epochs: int = 20,
    batch_size: int = 64,
    max_size: int = 32,
    seed: int = 0,
    verbose: Any = 1,
) -> keras.Model:
    """Trains an autoencoder on target images and returns its decoder, for `DecoderProgram`.

    No query is asked. The latent space is shifted and scaled so that the images' codes have mean
    0 and standard deviation 1: `decoder(0)` is a typical image, and one unit of a coordinate is
    as much as such images differ by (AutoZOOM, Tu et al. 2019).

    Args:
        images: `(n, h, w, c)` in `target_range`, without labels.
        latent_size: numbers an image is told by, >= 1; the size of the program.
        target_range: `(low, high)` of the images.
        epochs: passes over the images, >= 1.
        batch_size: images a step, >= 1.
        max_size: larger images are shrunk until they fit into a square of this many pixels.
        seed: draws weights and order; the same seed gives the same decoder on one machine.
        verbose: Keras's progress, 0, 1 or 2.

    Returns:
        A frozen Keras model `(n, latent_size)` -> `(n, rows, columns, c)`; pictures in about
        [-1, 1].

    Raises:
        ValueError: for images or numbers outside of these.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import train_decoder

    images = np.random.default_rng(0).uniform(0, 255, (32, 8, 8, 1))
    decoder = train_decoder(images, latent_size=4, epochs=1, verbose=0)
    assert decoder.output_shape == (None, 8, 8, 1)
    ```

    References:
        Tu et al., "AutoZOOM: Autoencoder-based Zeroth Order Optimization Method for Attacking
        Black-box Neural Networks", AAAI 2019.
    """
    latent_size = checks.positive_integer("latent_size", latent_size)
    epochs = checks.positive_integer("epochs", epochs)
    batch_size = checks.positive_integer("batch_size", batch_size)
    max_size = checks.positive_integer("max_size", max_size)
    pictures = _small_pictures(images, checks.value_range("target_range", target_range), max_size)
    encoder = _encoder(pictures.shape[1:], latent_size, seed)
    decoder = _decoder(pictures.shape[1:], latent_size, seed)
    autoencoder = keras.Sequential([encoder, decoder], name="autoencoder")
    autoencoder.compile(keras.optimizers.Adam(3e-3), "mse")
    shuffled = _ShuffledPictures(pictures, batch_size, seed)
    autoencoder.fit(shuffled, epochs=epochs, shuffle=False, verbose=verbose)
    codes = encoder.predict(pictures, batch_size=batch_size, verbose=0)
    _standardise(decoder.layers[0], codes)
    decoder.trainable = False
    return decoder


class _ShuffledPictures(keras.utils.PyDataset):
    """Batches in an order drawn from `[seed, epoch]`, each picture its own label."""

    def __init__(self, pictures: np.ndarray, batch_size: int, seed: int) -> None:
        super().__init__()
        self.pictures, self.batch_size, self.seed = pictures, batch_size, seed
        self.epoch = 0
        self._draw_order()

    def __len__(self) -> int:
        return -(-len(self.pictures) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        start = index * self.batch_size
        batch = self.pictures[self.order[start : start + self.batch_size]]
        return batch, batch

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self._draw_order()

    def _draw_order(self) -> None:
        draw = np.random.default_rng([self.seed, self.epoch])
        self.order = draw.permutation(len(self.pictures))


def _small_pictures(images: Any, limits: tuple[float, float], max_size: int) -> np.ndarray:
    """The images in [-1, 1], shrunk where they are larger than `max_size`."""
    pictures = np.asarray(images, np.float32)
    low, high = limits
    if pictures.ndim != 4 or 0 in pictures.shape:
        raise ValueError(
            "`images` must have shape (n, h, w, c), n at least 1. "
            f"Received: shape {pictures.shape}. Add a channel axis to grey images."
        )
    if not (pictures.min() >= low and pictures.max() <= high):
        raise ValueError(
            f"`images` must lie in `target_range`, {limits}. Received: values from "
            f"{pictures.min():g} to {pictures.max():g}. Pass the images' own range."
        )
    pictures = 2.0 * (pictures - low) / (high - low) - 1.0
    size = largest_fit(pictures.shape[1:3], (max_size, max_size))
    rows, columns = (resize_matrix(pictures.shape[axis], size[axis - 1]) for axis in (1, 2))
    return np.einsum("Hi,nijc,Wj->nHWc", rows, pictures, columns, optimize=True)


def _encoder(shape: tuple[int, ...], latent_size: int, seed: int) -> keras.Model:
    draw = _initializers(seed, 0)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(_FILTERS, 3, 2, "same", activation="elu", **next(draw)),
            keras.layers.Conv2D(_FILTERS, 3, 2, "same", activation="elu", **next(draw)),
            keras.layers.Flatten(),
            keras.layers.Dense(latent_size, **next(draw)),
        ],
        name="encoder",
    )


def _decoder(shape: tuple[int, ...], latent_size: int, seed: int) -> keras.Model:
    """Linear at its end, so that a program may go beyond what images are."""
    height, width, channels = shape
    rows, columns = -(-height // _SHRINK), -(-width // _SHRINK)
    extra = ((0, rows * _SHRINK - height), (0, columns * _SHRINK - width))
    draw = _initializers(seed, 1)
    return keras.Sequential(
        [
            keras.Input((latent_size,)),
            keras.layers.Dense(rows * columns * _FILTERS, activation="elu", **next(draw)),
            keras.layers.Reshape((rows, columns, _FILTERS)),
            keras.layers.UpSampling2D(),
            keras.layers.Conv2D(_FILTERS, 3, 1, "same", activation="elu", **next(draw)),
            keras.layers.UpSampling2D(),
            keras.layers.Conv2D(channels, 3, 1, "same", **next(draw)),
            keras.layers.Cropping2D(extra),
        ],
        name="decoder",
    )


def _initializers(seed: int, part: int) -> Any:
    """One argument a layer: a kernel drawn from `[seed, part, layer]`."""
    draw = np.random.default_rng([seed, part])
    while True:
        yield {"kernel_initializer": keras.initializers.GlorotUniform(int(draw.integers(2**31)))}


def _standardise(first: keras.layers.Dense, codes: np.ndarray) -> None:
    """Folds mean and spread of the codes into the decoder's first layer."""
    kernel = keras.ops.convert_to_numpy(first.kernel)
    bias = keras.ops.convert_to_numpy(first.bias)
    spread = np.maximum(codes.std(axis=0), 1e-3)
    first.kernel.assign(kernel * spread[:, None])
    first.bias.assign(bias + codes.mean(axis=0) @ kernel)
