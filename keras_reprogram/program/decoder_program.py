"""DecoderProgram: a frozen decoder draws the program from a small trained latent vector."""

from __future__ import annotations

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_reprogram import arguments as checks
from keras_reprogram.inner_networks import network_config, network_from
from keras_reprogram.program.canvas import channel_matrix, largest_fit, resize_matrix
from keras_reprogram.program.program_layer import ProgramLayer, resize_rows
from keras_reprogram.program.views import fitting_size


@keras.saving.register_keras_serializable(package="keras_reprogram")
class DecoderProgram(ProgramLayer):
    """A `ProgramLayer` whose weights are a latent vector z that a frozen decoder draws.

    `P = strength * tanh(M * (decoder(z) - decoder(0)))`, the decoder's picture resized to the
    canvas and its channels fitted to the source's. Estimated gradients need few coordinates, and
    a decoder trained on the target images (`train_decoder`) spends them on patterns that such
    images have (AutoZOOM, Tu et al. 2019), where `grid` allows any smooth pattern.
    `z = 0` gives the placed image.

    Deviations from AutoZOOM: the decoder draws one program for all images, theirs one
    perturbation an image; `decoder(0)` is taken off, so that a zero program changes nothing.

    Args:
        target_shape: `(h, w, c)` of target images.
        source_shape: `(H, W, C)` of source images.
        decoder: a Keras model `(n, latent_size)` -> `(n, rows, columns, channels)`, of any size;
            one unit is half of `source_range`. It is frozen.
        source_range: `(low, high)`, what the source expects.
        **options: as for `ProgramLayer`: `target_range`, `num_views`, `placement`, `per_view`,
            `operation`, `masked`, `frame`, `squash`, `strength`, `regularizer`, `seed`,
            `image_size`, `oversized`, `name`; not `grid` and `rank`.

    Call arguments:
        images: `(batch, h, w, c)` in `target_range`.

    Input shape:
        `(batch, h, w, c)`.

    Output shape:
        `(batch, num_views, H, W, C)` in `source_range`, float32.

    Raises:
        ValueError: for shapes, ranges or options that do not fit together, or a decoder that is
            no such model.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import DecoderProgram, train_decoder

    images = np.random.default_rng(0).uniform(0, 255, (32, 8, 8, 1))
    decoder = train_decoder(images, latent_size=4, epochs=1, verbose=0)
    program = DecoderProgram((8, 8, 1), (32, 32, 3), decoder, source_range=(0, 255))
    assert program(images).shape == (32, 1, 32, 32, 3)
    assert program.program_weights.shape == (1, 4)
    ```

    References:
        Tu et al., "AutoZOOM: Autoencoder-based Zeroth Order Optimization Method for Attacking
        Black-box Neural Networks", AAAI 2019.
    """

    def __init__(
        self,
        target_shape: tuple[int, int, int],
        source_shape: tuple[int, int, int],
        decoder: keras.Model,
        *,
        source_range: tuple[float, float],
        **options: Any,
    ) -> None:
        for refused in ("grid", "rank"):
            if refused in options:
                raise ValueError(
                    f"A `DecoderProgram` takes no `{refused}`: its decoder draws the pattern. "
                    f"Received: {refused}={options[refused]}. Leave it out, or use `ProgramLayer`."
                )
        target_shape = checks.image_shape("target_shape", target_shape)
        source_shape = checks.image_shape("source_shape", source_shape)
        self.latent_size, picture = _sizes(decoder)
        # The layers must be there when `ProgramLayer` builds.
        self.decoder = decoder
        self.decoder.trainable = False
        self._fitting = (
            resize_matrix(picture[0], source_shape[0]),
            resize_matrix(picture[1], source_shape[1]),
            channel_matrix(picture[2], source_shape[2]),
        )
        if options.get("placement", "center") == "center" and options.get("image_size") is None:
            # Here, so that its warning points at the caller.
            oversized = options.get("oversized", "shrink")
            options["image_size"] = fitting_size(target_shape, source_shape, oversized)
        super().__init__(target_shape, source_shape, source_range=source_range, **options)

    # The decoder stays frozen, whatever anyone does to its flags.

    @property
    def trainable_variables(self) -> list[Any]:
        """The latent vectors alone."""
        return [self.program_weights] if self.trainable else []

    @property
    def trainable_weights(self) -> list[Any]:
        """The same as `trainable_variables`."""
        return self.trainable_variables

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The decoder's, and all where the layer is not trainable."""
        return [v for v in self.variables if v is not self.program_weights or not self.trainable]

    @property
    def non_trainable_weights(self) -> list[Any]:
        """The same as `non_trainable_variables`, without random states."""
        return [v for v in self.weights if v is not self.program_weights or not self.trainable]

    def live_coordinates(self) -> np.ndarray:
        """Which latent numbers can reach a pixel: all of a program that has a free one."""
        free = self._mask().any(axis=(1, 2, 3))
        if not self.per_view:
            free = free.any(keepdims=True)
        return np.repeat(free, self.latent_size)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["grid"]
        return config | {"decoder": network_config(self.decoder)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return super().from_config(config | {"decoder": network_from(config["decoder"])})

    def _one_program(self) -> tuple[int, ...]:
        return (self.latent_size,)

    def _pattern(self, weights: Any) -> Any:
        leading = ops.shape(weights)[:-1]
        latent = ops.reshape(weights, (-1, self.latent_size))
        latent = ops.concatenate([latent, ops.zeros((1, self.latent_size))])
        # The decoder is frozen, so the activity regularizers of its layers do not belong to the
        # training loss; this scope collects none.
        with keras.StatelessScope():
            pictures = ops.cast(self.decoder(latent, training=False), "float32")
        pattern = pictures[:-1] - pictures[-1:]
        rows, columns, colours = self._fitting
        pattern = ops.einsum("nijc,cC->nijC", pattern, colours)
        pattern = resize_rows(rows, ops.einsum("Wj,nijC->niWC", columns, pattern))
        return ops.reshape(pattern, (*leading, *self.source_shape))


def _sizes(decoder: Any) -> tuple[int, tuple[int, int, int]]:
    """The latent size and the picture's `(rows, columns, channels)`."""
    takes: tuple[Any, ...] = getattr(decoder, "input_shape", ())
    gives: tuple[Any, ...] = getattr(decoder, "output_shape", ())
    if len(takes) != 2 or len(gives) != 4 or None in (*takes[1:], *gives[1:]):
        raise ValueError(
            "`decoder` must be a Keras model (n, latent_size) -> (n, rows, columns, channels), "
            f"all sizes but n known. Received: {type(decoder).__name__} with input shape {takes} "
            f"and output shape {gives}. `train_decoder(images)` makes one."
        )
    return int(takes[1]), (int(gives[1]), int(gives[2]), int(gives[3]))


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
        latent_size: numbers that encode an image, >= 1; the size of the program.
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
