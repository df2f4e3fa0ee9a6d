"""Drawing views: deterministic places, sizes, colours and backgrounds from one seed."""

from __future__ import annotations

import warnings

import numpy as np

from keras_reprogram.arguments import one_of, positive_integer
from keras_reprogram.program.canvas import channel_matrix, largest_fit
from keras_reprogram.program.placement import Placement, View

# Backgrounds are smooth: this many control points a side, resized to the canvas.
_BACKGROUND_GRID = 4
# A view smaller than this share of the canvas carries too little of the image.
_SMALLEST_SHARE = 0.45
# A gentle view shows at least 1 / 1.4 of the image a side: less, and the object leaves it.
_LARGEST_ZOOM = 1.4
# And one that is zoomed by less on both sides is the plain image to any source.
_SMALLEST_ZOOM = 1.05
# From this many labels on, a source tells everyday pictures apart, and sees them best untouched.
_MANY_LABELS = 100

VIEW_STYLES = ("bold", "gentle", "mixed")

# Grey images are drawn from a dark to a light colour at least this far apart.
_SMALLEST_CONTRAST = 0.5


def draw_views(
    target_shape: tuple[int, int, int],
    source_shape: tuple[int, int, int],
    num_views: int,
    seed: int = 0,
    style: str = "bold",
) -> Placement:
    """Draws `num_views` fixed random programs for the same image.

    View 0 is the plain image, resized to the whole canvas. Each further `"bold"` view has a size,
    a place, colours and a smooth background of its own; `"gentle"` ones are mirrored or zoomed in
    and keep their colours; `"mixed"` takes turns. View `i` depends on `seed`, `style` and `i`
    only: asking for more views keeps the first ones, so that answers already paid for stay useful.

    Args:
        target_shape: `(h, w, c)` of target images.
        source_shape: `(H, W, C)` of source images.
        num_views: how many, >= 1.
        seed: any integer >= 0.
        style: `"bold"`, `"gentle"` or `"mixed"`; see `suggested_style`.

    Returns:
        A `Placement` with `num_views` views.

    Raises:
        ValueError: if `num_views` is smaller than 1, or for an unknown style.

    Example:
    ```python
    from keras_reprogram import draw_views

    placement = draw_views((8, 8, 1), (32, 32, 3), num_views=4, seed=0)
    assert placement.views[:2] == draw_views((8, 8, 1), (32, 32, 3), 2, seed=0).views
    ```
    """
    if num_views < 1:
        raise ValueError(f"`num_views` must be at least 1. Received: num_views={num_views}.")
    one_of("style", style, VIEW_STYLES)
    views = [plain_view(target_shape, source_shape)]
    for index in range(1, num_views):
        bold = style == "bold" or (style == "mixed" and index % 2 == 1)
        # The n-th bold view of a mixture is the n-th bold view.
        turn = (index + 1) // 2 if style == "mixed" else index
        draw = _draw_bold_view if bold else _draw_gentle_view
        views.append(draw(target_shape, source_shape, seed, turn))
    return Placement(views)


def suggested_style(target_channels: int, num_source_labels: int) -> str:
    """The style of views for a source before any query.

    Sources of few labels learn most from unlike views. A source of many labels knows colour
    pictures as they are.

    Args:
        target_channels: 1 for grey, 3 for colour.
        num_source_labels: S.

    Returns:
        `"bold"` or `"gentle"`.

    Example:
    ```python
    from keras_reprogram import suggested_style

    assert suggested_style(target_channels=3, num_source_labels=1000) == "gentle"
    ```
    """
    gentle = target_channels == 3 and num_source_labels >= _MANY_LABELS
    return "gentle" if gentle else "bold"


def plain_view(target_shape: tuple[int, int, int], source_shape: tuple[int, int, int]) -> View:
    """The image resized to the whole canvas, with no free pixels."""
    height, width, channels = source_shape
    return View(0, 0, height, width, channel_matrix(target_shape[2], channels))


def _draw_bold_view(
    target_shape: tuple[int, int, int], source_shape: tuple[int, int, int], seed: int, index: int
) -> View:
    random = np.random.default_rng([seed, index])
    height, width, channels = source_shape
    share = random.uniform(_SMALLEST_SHARE, 1.0, size=2)
    # Mostly the same share on both axes: a mild squeeze is a new view, a strong one is noise.
    share[1] = 0.7 * share[0] + 0.3 * share[1]
    size = np.maximum(1, np.round(share * (height, width)).astype(int))
    top = int(random.integers(0, height - size[0] + 1))
    left = int(random.integers(0, width - size[1] + 1))
    matrix, offset = _draw_colours(random, target_shape[2], channels)
    background = random.uniform(size=(_BACKGROUND_GRID, _BACKGROUND_GRID, channels))
    return View(top, left, int(size[0]), int(size[1]), matrix, offset, background)


def _draw_gentle_view(
    target_shape: tuple[int, int, int], source_shape: tuple[int, int, int], seed: int, index: int
) -> View:
    height, width, channels = source_shape
    colours = channel_matrix(target_shape[2], channels)
    flipped = index % 2 == 1
    if index == 1:
        return View(0, 0, height, width, colours, flipped=flipped)
    random = np.random.default_rng([seed, index, len(VIEW_STYLES)])
    canvas = np.array([height, width])
    size = canvas
    # The plain image once more would be paid for twice.
    while np.all(size < _SMALLEST_ZOOM * canvas):
        zoom = random.uniform(1.0, _LARGEST_ZOOM)
        stretch = random.uniform(0.9, 1.1, size=2)
        size = np.maximum(canvas, np.round(zoom * stretch * canvas).astype(int))
    top = -int(random.integers(0, size[0] - height + 1))
    left = -int(random.integers(0, size[1] - width + 1))
    return View(top, left, int(size[0]), int(size[1]), colours, flipped=flipped)


def _draw_colours(
    random: np.random.Generator, target_channels: int, source_channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix `(c, C)` and offset `(C,)` on [0, 1] values, keeping all results in [0, 1]."""
    dark, light = _draw_two_colours(random, source_channels)
    if target_channels != source_channels:
        return channel_matrix(target_channels, source_channels) * (light - dark), dark
    # Colour images: channels change places and contrast, and may be turned to their negative.
    order = random.permutation(source_channels)
    return np.eye(target_channels)[:, order] * (light - dark), dark


def _draw_two_colours(random: np.random.Generator, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The colours that value 0 and value 1 become: far enough apart in every channel."""
    low = random.uniform(0.0, 1.0 - _SMALLEST_CONTRAST, size=channels)
    high = random.uniform(low + _SMALLEST_CONTRAST, 1.0)
    # One channel may rise while another falls: that gives colours, not only shades of grey.
    falls = random.uniform(size=channels) < 0.5
    return np.where(falls, high, low), np.where(falls, low, high)


PLACEMENTS = ("center", "full", "views", "gentle_views")
OVERSIZED = ("shrink", "refuse")

Shape = tuple[int, int, int]

# Of the canvas, for images that would leave no frame: 128 of 224 pixels (Chen et al. 2023).
_FRAMED_SHARE = 4 / 7

# `ProgramLayer(...)` -> `fitting_size` -> `warn`: the warning points at the caller of the layer.
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
    """Resolves `placement` to views; a `Placement` is returned unchanged."""
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
    """The image in the middle of the canvas, its colours as they are."""
    (height, width), canvas = image_size, source_shape[:2]
    if height > canvas[0] or width > canvas[1]:
        raise ValueError(
            "`image_size` must not exceed the source's image. "
            f"Received: image_size={image_size}, source_shape={source_shape}. "
            "Pass a smaller `image_size`."
        )
    return View((canvas[0] - height) // 2, (canvas[1] - width) // 2, height, width)


def framed_size(target_shape: Shape, source_shape: Shape) -> tuple[int, int]:
    """The image's own size if it leaves a frame for a program, else at most 4/7 of the canvas."""
    own, canvas = target_shape[:2], source_shape[:2]
    if own[0] < canvas[0] and own[1] < canvas[1]:
        return own
    return share_size(target_shape, source_shape)


def share_size(target_shape: Shape, source_shape: Shape) -> tuple[int, int]:
    """4/7 of the canvas (128 of 224 pixels), with the image's aspect ratio."""
    height, width = target_shape[:2]
    zoom = _FRAMED_SHARE * min(source_shape[0] / height, source_shape[1] / width)
    return max(1, round(zoom * height)), max(1, round(zoom * width))


def fitting_size(target_shape: Shape, source_shape: Shape, oversized: str) -> tuple[int, int]:
    """The image's own size if it fits the canvas, else the largest that fits, with a warning."""
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
