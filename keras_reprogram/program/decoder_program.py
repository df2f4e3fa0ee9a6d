"""DecoderProgram: a program drawn by a frozen decoder from a few trained numbers."""

from __future__ import annotations

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_reprogram.network_config import network_config, network_from
from keras_reprogram.program.canvas import channel_matrix, resize_matrix
from keras_reprogram.program.named_placements import fitting_size
from keras_reprogram.program.program_layer import ProgramLayer, resize_rows


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
            `image_size`, `oversized`, `name`; not `grid`.

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
        if "grid" in options:
            raise ValueError(
                "A `DecoderProgram` takes no `grid`: its decoder has a size of its own. "
                f"Received: grid={options['grid']}. Leave it out."
            )
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
        pictures = ops.cast(self.decoder(latent, training=False), "float32")
        # The decoder is frozen: activity regularizers of its layers are no part of a training loss.
        self.decoder._clear_losses()
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
