"""The placements that have a name: `"center"`, `"full"`, `"views"` and `"gentle_views"`."""

from __future__ import annotations

import warnings

from keras_reprogram.program.argument_checks import one_of, positive_integer
from keras_reprogram.program.canvas import largest_fit
from keras_reprogram.program.placement import Placement, View
from keras_reprogram.program.views import draw_views, plain_view

PLACEMENTS = ("center", "full", "views", "gentle_views")
OVERSIZED = ("shrink", "refuse")

Shape = tuple[int, int, int]

# Of the canvas, for images that would leave no frame: 128 of 224 pixels (Chen et al. 2023).
_FRAMED_SHARE = 4 / 7

# `ProgramLayer(...)` -> `fitting_size` -> `warn`: the warning points at who built the layer.
_CALLER = 3


def resolve_placement(
    placement: str | Placement,
    target_shape: Shape,
    source_shape: Shape,
    *,
    num_views: int,
    image_size: tuple[int, int] | None,
    seed: int,
) -> Placement:
    """The views that `placement` means.

    Args:
        placement: a name, or a `Placement` that is taken as it is.
        target_shape: `(h, w, c)`.
        source_shape: `(H, W, C)`.
        num_views: how many views; with a `Placement` its own number, or 1.
        image_size: `(height, width)` on the canvas, for `"center"`.
        seed: draws the views of `"views"` and `"gentle_views"`.

    Returns:
        A `Placement`.

    Raises:
        ValueError: for an unknown name, a number of views that contradicts the placement's, or
            an image larger than the canvas.
    """
    if isinstance(placement, Placement):
        if num_views not in (1, placement.num_views):
            raise ValueError(
                f"`num_views` must match the placement's {placement.num_views} views. "
                f"Received: num_views={num_views}. Leave `num_views` out."
            )
        return placement
    one_of("placement", placement, PLACEMENTS)
    num_views = positive_integer("num_views", num_views)
    if placement == "views":
        return draw_views(target_shape, source_shape, num_views, seed)
    if placement == "gentle_views":
        return draw_views(target_shape, source_shape, num_views, seed, style="gentle")
    if placement == "full":
        return Placement([plain_view(target_shape, source_shape)] * num_views)
    size = image_size or largest_fit(target_shape[:2], source_shape[:2])
    return Placement([center_view(size, source_shape)] * num_views)


def center_view(image_size: tuple[int, int], source_shape: Shape) -> View:
    """The image in the middle of the canvas, its colours as they are.

    Args:
        image_size: `(height, width)` on the canvas.
        source_shape: `(H, W, C)`.

    Returns:
        A `View`.

    Raises:
        ValueError: if the image is larger than the canvas.
    """
    (height, width), canvas = image_size, source_shape[:2]
    if height > canvas[0] or width > canvas[1]:
        raise ValueError(
            "`image_size` must not exceed the source's image. "
            f"Received: image_size={image_size}, source_shape={source_shape}. "
            "Pass a smaller `image_size`."
        )
    return View((canvas[0] - height) // 2, (canvas[1] - width) // 2, height, width)


def framed_size(target_shape: Shape, source_shape: Shape) -> tuple[int, int]:
    """The image's own size if it leaves a frame for a program, else at most 4/7 of the canvas.

    Args:
        target_shape: `(h, w, c)`.
        source_shape: `(H, W, C)`.

    Returns:
        `(height, width)` on the canvas, aspect kept.
    """
    own, canvas = target_shape[:2], source_shape[:2]
    if own[0] < canvas[0] and own[1] < canvas[1]:
        return own
    return share_size(target_shape, source_shape)


def share_size(target_shape: Shape, source_shape: Shape) -> tuple[int, int]:
    """4/7 of the canvas, 128 of 224 pixels, or what of them the image fills: its aspect is kept.

    Args:
        target_shape: `(h, w, c)`.
        source_shape: `(H, W, C)`.

    Returns:
        `(height, width)` on the canvas.
    """
    height, width = target_shape[:2]
    zoom = _FRAMED_SHARE * min(source_shape[0] / height, source_shape[1] / width)
    return max(1, round(zoom * height)), max(1, round(zoom * width))


def fitting_size(target_shape: Shape, source_shape: Shape, oversized: str) -> tuple[int, int]:
    """The image's own size if it fits the canvas, else the largest that fits, with a warning.

    Args:
        target_shape: `(h, w, c)`.
        source_shape: `(H, W, C)`.
        oversized: `"shrink"`, or `"refuse"` to raise instead of shrinking.

    Returns:
        `(height, width)` on the canvas.

    Raises:
        ValueError: if it does not fit and `oversized` is `"refuse"`.
    """
    own, canvas = target_shape[:2], source_shape[:2]
    size = largest_fit(own, canvas)
    if size == own:
        return size
    message = f"The target image {own} is larger than the source's canvas {canvas}"
    if oversized == "refuse":
        raise ValueError(
            f'{message}. Received: oversized="refuse". Pass `image_size={size}`, '
            'or `oversized="shrink"`.'
        )
    warnings.warn(f"{message}: it is shrunk to {size}.", stacklevel=_CALLER)
    return size
