"""ProgramLayer: target image -> source images, the additive program of the papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_reprogram import arguments as checks
from keras_reprogram.program.canvas import frame_pixels, resize_matrix
from keras_reprogram.program.low_rank import first_factors, live_factors, product, rank_or_none
from keras_reprogram.program.placement import Placement
from keras_reprogram.program.program import FixedProgram, Program
from keras_reprogram.program.views import OVERSIZED, fitting_size, resolve_placement

_OPERATIONS = ("add", "subtract", "multiply")


@keras.saving.register_keras_serializable(package="keras_reprogram")
class ProgramLayer(Program):
    """Places target images on the source's canvas and adds a trainable program to them.

    The program is `P = strength * tanh(W * M)` (Elsayed et al. 2019, eq. 2-3; Tsai et al. 2020,
    eq. 1), where `W` is trained and the mask `M` is 1 on the free pixels and 0 under the target
    image. One unit of `P` is half of `source_range`. With `operation="add"` the source image is
    `X + P`, with `"subtract"` `X - P`, with `"multiply"` `x * (1 + P)` on pixels in [0, 1]
    (Kloberdanz 2020, ch. 3.2); the result is clipped to `source_range`. Zero weights give the
    placed image. The empty canvas is mid-range.

    Later papers squash otherwise. `squash="sigmoid"` is `P = 2 * sigmoid(W * M) - 1`: on the empty
    canvas the pixel `sigmoid(W)` of those who pad with black (Chen et al. 2023). `squash="none"`
    is `P = W * M`, and `frame` says where (visual prompts, Bahng et al. 2022).

    With `rank=r`, `W = B A` for each channel (LoR-VP, Jin et al. 2025): `r * (H + W)` weights a
    channel instead of `H * W`. B starts at zero, so that the program does too, and A is drawn at
    random. Estimators move both factors.

    Deviations from the papers: the result is clipped (theirs may leave the source's range);
    `strength`, `grid` and several views are additions; weights start at zero, theirs at random
    (of LoR-VP only A does, here as there).

    Args:
        target_shape: `(h, w, c)` of target images.
        source_shape: `(H, W, C)` of source images.
        source_range: `(low, high)`, what the source expects (`source.value_range`).
        target_range: `(low, high)` of target images.
        num_views: source images V that one target image becomes.
        placement: `"center"`, `"full"` (resized to the whole canvas; nothing is free, so pass
            `masked=False` to train a program there), `"views"` (see `draw_views`; view 0 is
            the plain image on the whole canvas), `"gentle_views"` (mirrored and zoomed, colours
            kept, for sources of many labels and colour images), or a `Placement`.
        grid: `None` for one weight a pixel, or `k` for a `k x k` grid of weights resized to the
            canvas: few coordinates, which estimated gradients need.
        rank: `None`, or the rank r of each channel of W, at least 1 and at most the shorter side
            of the canvas (of the grid, with `grid`).
        rank_spread: standard deviation of A at the start, > 0. The released LoR-VP has .01. Where
            gradients are estimated, 1 makes a step in B as large as one in W.
        per_view: a program for each view instead of one for all.
        operation: `"add"`, `"subtract"` or `"multiply"`.
        masked: `False` lets the program cover the target image too.
        frame: `None`, or the width in pixels of the canvas's outer frame, where the program then
            is, over the image too. `masked=False` excludes it.
        squash: `"tanh"`, `"sigmoid"` or `"none"`, see above.
        strength: factor before `P`, > 0: its largest absolute value, where it is squashed.
        regularizer: a Keras regularizer for `W`, or a number lambda for `lambda * ||W||^2`; with
            `rank` it reads the two factors.
        seed: draws the views, and A where there is a `rank`; else it is not used.
        image_size: size of the image on the canvas for `"center"`, an integer or
            `(height, width)`. `None` keeps the image's own if it fits, else the largest that
            fits, aspect kept, with one warning.
        oversized: `"shrink"` as above, or `"refuse"` to raise instead of shrinking.
        name: layer name.

    Call arguments:
        images: `(batch, h, w, c)` in `target_range`.

    Input shape:
        `(batch, h, w, c)`.

    Output shape:
        `(batch, num_views, H, W, C)` in `source_range`, float32.

    Raises:
        ValueError: for shapes, ranges or options that do not fit together.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import ProgramLayer

    program = ProgramLayer((8, 8, 1), (32, 32, 3), source_range=(0, 255), grid=8)
    source_images = program(np.zeros((2, 8, 8, 1), "float32"))
    assert source_images.shape == (2, 1, 32, 32, 3)
    ```

    References:
        Elsayed, Goodfellow, Sohl-Dickstein, "Adversarial Reprogramming of Neural Networks",
        ICLR 2019. Tsai, Chen, Ho, "Transfer Learning without Knowing", ICML 2020. Kloberdanz,
        "Reprogramming of neural networks", Iowa State University 2020. Bahng, Jahanian,
        Sankaranarayanan, Isola, "Exploring Visual Prompts for Adapting Large-Scale Models", 2022.
        Chen, Yao, Chen, Zhang, Liu, "Understanding and Improving Visual Prompting", CVPR 2023.
        Jin et al., "LoR-VP: Low-Rank Visual Prompting for Efficient Vision Model Adaptation",
        ICLR 2025.
    """

    source_range: tuple[float, float]
    target_range: tuple[float, float]
    placement: Placement

    def __init__(
        self,
        target_shape: tuple[int, int, int],
        source_shape: tuple[int, int, int],
        *,
        source_range: tuple[float, float],
        target_range: tuple[float, float] = (0.0, 255.0),
        num_views: int = 1,
        placement: str | Placement = "center",
        grid: int | None = None,
        rank: int | None = None,
        rank_spread: float = 0.01,
        per_view: bool = False,
        operation: str = "add",
        masked: bool = True,
        frame: int | None = None,
        squash: str = "tanh",
        strength: float = 1.0,
        regularizer: keras.regularizers.Regularizer | float | None = None,
        seed: int = 0,
        image_size: int | tuple[int, int] | None = None,
        oversized: str = "shrink",
        name: str = "program",
    ) -> None:
        super().__init__(
            checks.image_shape("target_shape", target_shape),
            checks.image_shape("source_shape", source_shape),
            source_range=source_range,
            target_range=target_range,
            name=name,
        )
        self.operation = checks.one_of("operation", operation, _OPERATIONS)
        self.oversized = checks.one_of("oversized", oversized, OVERSIZED)
        self.image_size = checks.image_size_or_none(image_size)
        if placement == "center" and self.image_size is None:
            # The resolved size goes into the config, so that a reloaded layer does not warn again.
            self.image_size = fitting_size(self.target_shape, self.source_shape, self.oversized)
        self.seed = seed
        self.placement = resolve_placement(
            placement,
            self.target_shape,
            self.source_shape,
            num_views=num_views,
            image_size=self.image_size,
            seed=seed,
        )
        self.num_views = self.placement.num_views
        self.grid = None if grid is None else checks.positive_integer("grid", grid)
        self.rank = rank_or_none(rank, self._pattern_size)
        self.rank_spread = checks.positive_number("rank_spread", rank_spread)
        self.per_view = per_view
        self.masked = masked
        self.frame = checks.frame_or_none(frame, self.source_shape, masked)
        self.squash = checks.one_of("squash", squash, tuple(SQUASHES))
        self.strength = checks.positive_number("strength", strength)
        if isinstance(regularizer, int | float):
            regularizer = keras.regularizers.L2(regularizer)
        self.regularizer = keras.regularizers.get(regularizer)
        self._constants = self.placement.constants(self.target_shape, self.source_shape)
        # Built at once: every shape is known, and a program file restores weights before data.
        self.build((None, *self.target_shape))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        num_programs = self.num_views if self.per_view else 1
        self.program_weights = self.add_weight(
            shape=(num_programs, *self._one_program()),
            initializer="zeros" if self.rank is None else self._first_factors,
            regularizer=self.regularizer,
            name="program_weights",
        )

    def call(self, images: Any) -> Any:
        return self._source_images(images, self.program_weights)

    def transform(self, images: Any, values: Any) -> Any:
        """Source images under other weights than the stored ones, one row of weights an image.

        Args:
            images: `(batch, h, w, c)` in `target_range`.
            values: `(batch or 1, size)`, flat weights.

        Returns:
            `(batch, num_views, H, W, C)` in `source_range`.
        """
        values = ops.reshape(values, (-1, *self.program_weights.shape))
        return self._source_images(images, values)

    def live_coordinates(self) -> np.ndarray:
        """Which flat weights can reach a pixel: bool array `(size,)`.

        The rest lies under the target image in every view; directions that an estimator spends
        on it are lost.
        """
        shape = tuple(self.program_weights.shape)
        mask = self._mask()
        if not self.per_view:
            mask = mask.max(axis=0, keepdims=True)
        if self.grid:
            rows, columns = self._grid_matrices()
            mask = np.einsum("Hi,vHWc,Wj->vijc", rows, mask, columns)
        if self.rank is not None:
            return live_factors(mask[..., 0] > 0, shape)
        return np.broadcast_to(mask > 0, shape).reshape(-1)

    def use_placement(self, placement: Placement) -> None:
        """Other views, as many as before, under the same weights.

        What was traced or compiled with the old ones stays as it was: `ReprogrammedModel`
        discards it, see its `use_placement`.

        Args:
            placement: `num_views` views.

        Raises:
            ValueError: for another number of views.
        """
        if placement.num_views != self.num_views:
            raise ValueError(
                f"Other views must be as many as before, {self.num_views}. "
                f"Received: {placement.num_views}. Build a new `ProgramLayer(placement=...)`."
            )
        self.placement = placement
        self._constants = placement.constants(self.target_shape, self.source_shape)

    def program_images(self) -> np.ndarray:
        """The program `P` itself, `(num_views, H, W, C)`, to look at; 1 is half of the range."""
        program = self.strength * ops.convert_to_numpy(self._squashed(self.program_weights))
        return np.broadcast_to(program, (self.num_views, *self.source_shape))

    def fixed(self) -> FixedProgram:
        low, high = self.source_range
        span, constants = high - low, self._constants
        program, backgrounds = self.program_images(), span * constants["backgrounds"]
        gain = np.array(span)
        if self.operation == "multiply":
            factor = 1.0 + program
            gain, behind = span * factor, low + backgrounds * factor
        else:
            sign = 1.0 if self.operation == "add" else -1.0
            behind = low + backgrounds + 0.5 * span * sign * program
        return FixedProgram(
            constants["colours"],
            constants["offsets"],
            constants["rows"],
            constants["columns"],
            gain,
            behind,
        )

    def get_config(self) -> dict[str, Any]:
        # Answers are stored under the config of their program: one without a rank keeps its own.
        low_rank = {"rank": self.rank, "rank_spread": self.rank_spread} if self.rank else {}
        return (
            super().get_config()
            | low_rank
            | {
                # The views themselves: a file stays valid if the drawing ever changes.
                "placement": self.placement.get_config(),
                "grid": self.grid,
                "per_view": self.per_view,
                "operation": self.operation,
                "masked": self.masked,
                "frame": self.frame,
                "squash": self.squash,
                "strength": self.strength,
                "regularizer": keras.regularizers.serialize(self.regularizer),
                "seed": self.seed,
                "image_size": self.image_size,
                "oversized": self.oversized,
            }
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config = dict(config)
        config["placement"] = Placement.from_config(config["placement"])
        config["num_views"] = config["placement"].num_views
        config["regularizer"] = keras.regularizers.deserialize(config["regularizer"])
        return super().from_config(config)

    def _source_images(self, images: Any, weights: Any) -> Any:
        """Placed images under the program, in `source_range`."""
        # Few passes over the large arrays: parts are scaled to the range while they are small.
        low, high = self.source_range
        span, constants = high - low, self._constants
        background = low + span * constants["backgrounds"]
        if self.operation == "multiply":
            factor = 1.0 + self.strength * self._squashed(weights)
            placed = self._place(images, span) + (background - low)
            return ops.clip(low + placed * factor, low, high)
        # One unit of P is half of the range.
        unit = 0.5 * span * self.strength * (1.0 if self.operation == "add" else -1.0)
        behind = unit * self._squashed(weights) + background
        return ops.clip(self._place(images, span) + behind, low, high)

    def _place(self, images: Any, span: float) -> Any:
        """The images on an empty canvas, `(batch, V, H, W, C)` in [0, span]."""
        low, high = self.target_range
        images = (ops.cast(images, "float32") - low) / (high - low)
        constants = self._constants
        images = ops.einsum("bhwc,vcC->bvhwC", images, constants["colours"])
        images = span * ops.clip(images + constants["offsets"][:, None, None, :], 0.0, 1.0)
        images = ops.einsum("vWw,bvhwC->bvhWC", constants["columns"], images)
        return resize_rows(constants["rows"], images)

    def _squashed(self, weights: Any) -> Any:
        """`tanh(W * M)`: weights `(..., programs, *_one_program())` to `(..., V or 1, H, W, C)`."""
        pattern = self._pattern(ops.convert_to_tensor(weights))
        if self.masked:
            pattern = pattern * self._mask()
        return SQUASHES[self.squash](pattern)

    def _mask(self) -> np.ndarray:
        """`M`, 1 where the program may be, `(num_views, H, W, 1)`."""
        free = self._constants["free"]
        if self.frame is not None:
            return np.broadcast_to(frame_pixels(self.source_shape[:2], self.frame), free.shape)
        return free if self.masked else np.ones_like(free)

    def _one_program(self) -> tuple[int, ...]:
        """Shape of the weights of one program."""
        channels = self.source_shape[2]
        if self.rank is not None:
            return (channels, self.rank, sum(self._pattern_size))
        return (*self._pattern_size, channels)

    @property
    def _pattern_size(self) -> tuple[int, int]:
        """Rows and columns of the weights of one program."""
        height, width, _ = self.source_shape
        return self.grid or height, self.grid or width

    def _first_factors(self, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        return first_factors(shape, self._pattern_size[0], self.rank_spread, self.seed)

    def _pattern(self, weights: Any) -> Any:
        """`W` on the whole canvas, `(..., programs, H, W, C)`."""
        if self.rank is not None:
            weights = product(weights, self._pattern_size[0])
        if not self.grid:
            return weights
        rows, columns = self._grid_matrices()
        weights = ops.einsum("Wj,...ijC->...iWC", columns, weights)
        return resize_rows(rows, weights)

    def _grid_matrices(self) -> tuple[np.ndarray, np.ndarray]:
        height, width, _ = self.source_shape
        grid = self.grid or height
        return resize_matrix(grid, height), resize_matrix(grid, width)


def resize_rows(rows: np.ndarray, images: Any) -> Any:
    """`rows @ images` along the height: `(..., H, h)` and `(..., h, W, C)` to `(..., H, W, C)`."""
    # A matrix product over whole lines of pixels writes its result in place; an einsum would
    # transpose the large image once more, which took as long as everything else together.
    *leading, height, width, channels = images.shape
    leading = [-1 if size is None else size for size in leading]
    lines = ops.reshape(images, (*leading, height, width * channels))
    return ops.reshape(ops.matmul(rows, lines), (*leading, rows.shape[-2], width, channels))


# Standard deviation of ImageNet's pixels, about .225 of the range, in halves of the range: with
# `strength=IMAGENET_UNIT`, a weight of 1 means the same as in papers that add to normalised images.
IMAGENET_UNIT = 0.45


def _centred_sigmoid(weights: Any) -> Any:
    return 2.0 * ops.sigmoid(weights) - 1.0


def _unchanged(weights: Any) -> Any:
    return weights


# Each maps 0 to 0, so that zero weights change nothing.
SQUASHES: dict[str, Callable[[Any], Any]] = {
    "tanh": ops.tanh,
    "sigmoid": _centred_sigmoid,
    "none": _unchanged,
}
