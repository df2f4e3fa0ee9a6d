"""View and Placement: how a target image is placed before the program is added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from keras_reprogram.program.canvas import (
    channel_matrix,
    free_pixels,
    placement_matrix,
    resize_matrix,
)


@dataclass(frozen=True)
class View:
    """One fixed way to put a target image on the source's canvas.

    Args:
        top: first canvas row of the image, in pixels; negative cuts off its upper rows.
        left: first canvas column of the image, in pixels; negative cuts off its left columns.
        height: rows that the image takes on the canvas; more than the canvas has zooms in.
        width: columns that the image takes on the canvas.
        colour_matrix: `(c, C)`; target to source channels, on values in [0, 1]. Empty: grey is
            repeated, colour becomes its luminance, equal counts stay.
        colour_offset: `C` numbers added after the matrix; the result is clipped to [0, 1].
        background: `(k, l, C)` in [0, 1], resized smoothly to the canvas, shown where the image
            is not. Empty: mid-range, the papers' empty canvas.
        flipped: mirrored from left to right.

    Lists and arrays become nested tuples, so that views can be compared.

    Example:
    ```python
    from keras_reprogram import View

    view = View(top=12, left=12, height=8, width=8, colour_matrix=[[1.0, 0.0, 0.0]])
    ```
    """

    top: int
    left: int
    height: int
    width: int
    colour_matrix: Sequence[Sequence[float]] | np.ndarray = ()
    colour_offset: Sequence[float] | np.ndarray = ()
    background: Sequence[Sequence[Sequence[float]]] | np.ndarray = ()
    flipped: bool = False

    def __post_init__(self) -> None:
        for name in ("colour_matrix", "colour_offset", "background"):
            object.__setattr__(self, name, _tuples(getattr(self, name)))

    def colours(self, target_channels: int, source_channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Matrix `(c, C)` and offset `(C,)` from target to source channels."""
        default = channel_matrix(target_channels, source_channels)
        matrix = np.asarray(self.colour_matrix or default, np.float32)
        offset = np.asarray(self.colour_offset or (0.0,) * source_channels, np.float32)
        if matrix.shape != default.shape or offset.shape != (source_channels,):
            raise ValueError(
                f"A view needs a `colour_matrix` of shape {default.shape} and a `colour_offset` "
                f"of shape {(source_channels,)} for these images. "
                f"Received: shapes {matrix.shape} and {offset.shape}."
            )
        return matrix, offset

    def background_pixels(self, source_shape: tuple[int, int, int]) -> np.ndarray:
        """The background on the whole canvas, `(H, W, C)` in [0, 1]."""
        if not self.background:
            return np.full(source_shape, 0.5, np.float32)
        grid = np.asarray(self.background, np.float32)
        in_range = grid.size > 0 and grid.min() >= 0.0 and grid.max() <= 1.0
        if grid.ndim != 3 or grid.shape[2] != source_shape[2] or not in_range:
            raise ValueError(
                f"A view's `background` must have shape (k, l, {source_shape[2]}) and values in "
                f"[0, 1]. Received: shape {grid.shape}."
            )
        rows = resize_matrix(grid.shape[0], source_shape[0])
        columns = resize_matrix(grid.shape[1], source_shape[1])
        return np.einsum("Hi,ijC,Wj->HWC", rows, grid, columns).astype(np.float32)


@keras.saving.register_keras_serializable(package="keras_reprogram")
class Placement:
    """The views of a program, in order, each a `View`.

    Args:
        views: one or more `View` objects.

    Raises:
        ValueError: if there is no view.

    Example:
    ```python
    from keras_reprogram import Placement, draw_views

    pool = draw_views((8, 8, 1), (32, 32, 3), num_views=8, seed=0)
    chosen = Placement([pool.views[0], pool.views[5]])
    assert chosen.num_views == 2
    ```
    """

    def __init__(self, views: Sequence[View]) -> None:
        self.views = tuple(views)
        if not self.views:
            raise ValueError("A placement needs at least one view. Received: views=().")

    @property
    def num_views(self) -> int:
        """The number of source images per target image."""
        return len(self.views)

    def constants(
        self, target_shape: tuple[int, int, int], source_shape: tuple[int, int, int]
    ) -> dict[str, np.ndarray]:
        """The arrays that place images: `image = background + rows @ colour(x) @ columns.T`.

        Args:
            target_shape: `(h, w, c)`.
            source_shape: `(H, W, C)`.

        Returns:
            `rows` `(V, H, h)`, `columns` `(V, W, w)`, `colours` `(V, c, C)`, `offsets` `(V, C)`,
            `backgrounds` `(V, H, W, C)` in [0, 1] with the image's place left at zero, and
            `free` `(V, H, W, 1)`, the masks M.
        """
        height, width, channels = target_shape
        canvas = source_shape[:2]
        free = np.stack([free_pixels(canvas, *_box(view)) for view in self.views])[..., None]
        backgrounds = np.stack([view.background_pixels(source_shape) for view in self.views])
        colours = [view.colours(channels, source_shape[2]) for view in self.views]
        return {
            "rows": np.stack(
                [placement_matrix(height, v.height, v.top, canvas[0]) for v in self.views]
            ),
            "columns": np.stack(
                [placement_matrix(width, v.width, v.left, canvas[1], v.flipped) for v in self.views]
            ),
            "colours": np.stack([matrix for matrix, _ in colours]),
            "offsets": np.stack([offset for _, offset in colours]),
            "backgrounds": backgrounds * free,
            "free": free,
        }

    def get_config(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON."""
        return {"views": [asdict(view) for view in self.views]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Placement:
        """Rebuilds what `get_config` wrote."""
        return cls([View(**view) for view in config["views"]])


def _box(view: View) -> tuple[int, int, int, int]:
    return view.top, view.left, view.height, view.width


def _tuples(value: Any) -> Any:
    """Nested lists (which JSON gives back) and arrays as nested tuples."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    return value
