"""Checks of arguments, and the 8-bit code of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def image_shape(name: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """`shape` as `(height, width, channels)`."""
    sizes = tuple(shape) if isinstance(shape, Sequence | np.ndarray) else (shape,)
    if len(sizes) != 3 or not all(_is_whole(size) and size > 0 for size in sizes):
        raise ValueError(
            f"`{name}` must be (height, width, channels), three positive integers. "
            f"Received: {name}={shape}. Add a channel axis to grey images: `images[..., None]`."
        )
    height, width, channels = (int(size) for size in sizes)
    if name == "target_shape":
        # The source's shape is its own affair: it may have been asked already.
        way = "and images with their channels last: `np.moveaxis(images, 1, -1)`"
        check_channels_last(name, (height, width, channels), way)
    return height, width, channels


def image_size_or_none(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """The argument `image_size` as `(height, width)`."""
    if size is None:
        return None
    sizes = tuple(size) if isinstance(size, Sequence | np.ndarray) else (size, size)
    if len(sizes) != 2 or not all(_is_whole(side) and side > 0 for side in sizes):
        raise ValueError(
            "`image_size` must be a positive integer or (height, width). "
            f"Received: image_size={size}."
        )
    return int(sizes[0]), int(sizes[1])


def frame_or_none(
    frame: int | None, source_shape: tuple[int, int, int], masked: bool
) -> int | None:
    """The argument `frame` as a number of pixels."""
    if frame is None:
        return None
    if not masked:
        raise ValueError(
            "`frame` says where the program is, `masked=False` that it is everywhere. Received: "
            f"both, frame={frame}. Leave one out."
        )
    widest = min(source_shape[:2]) // 2
    if positive_integer("frame", frame) > widest:
        raise ValueError(
            f"`frame` must be at most half of the canvas, {widest} pixels. Received: frame={frame}."
        )
    return int(frame)


def value_range(name: str, limits: Sequence[float]) -> tuple[float, float]:
    """`limits` as `(low, high)`."""
    pair = tuple(limits)
    if len(pair) != 2 or not np.isfinite(pair).all() or not pair[0] < pair[1]:
        raise ValueError(
            f"`{name}` must be (low, high), two finite numbers with low < high. "
            f"Received: {name}={limits}."
        )
    return float(pair[0]), float(pair[1])


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """`value`, which must be one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {allowed}. Received: {name}={value!r}.")
    return value


def positive_integer(name: str, value: Any) -> int:
    """`value` as an integer of at least 1."""
    if not _is_whole(value) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    return int(value)


def positive_number(name: str, value: Any) -> float:
    """`value` as a finite float above 0."""
    if not isinstance(value, int | float | np.number) or not 0 < value < float("inf"):
        raise ValueError(f"`{name}` must be a number greater than 0. Received: {name}={value!r}.")
    return float(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def eight_bit_levels(pixels: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Pixels in `limits` on the scale of 8-bit codes, 0 to 255, not rounded."""
    low, high = map(float, limits)
    return (pixels - low) * (255.0 / (high - low))


def eight_bit_codes(pixels: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Pixels as the nearest 8-bit codes; values beyond `limits` are cut off."""
    return np.round(eight_bit_levels(pixels, limits)).clip(0, 255).astype(np.uint8)


def pixels_of_codes(codes: Any, limits: tuple[float, float]) -> Any:
    """8-bit codes, a float32 array or tensor, as pixels in `limits`."""
    low, high = map(float, limits)
    return codes * np.float32((high - low) / 255.0) + np.float32(low)


# Grey, colour, colour with transparency.
_COMMON_CHANNELS = (1, 3, 4)
# Below this a side is no image's, and beyond this aspect it is more likely a signal's channels.
_LEAST_SIDE, _MOST_ASPECT = 8, 4


def looks_channels_first(shape: Sequence[int | None]) -> bool:
    """Whether a shape looks like (channels, height, width), as (3, 96, 96) does."""
    first, height, width = shape
    if first not in _COMMON_CHANNELS or width in _COMMON_CHANNELS:
        return False
    if height is None or width is None:
        return True
    short, long = sorted((height, width))
    return short >= _LEAST_SIDE and long <= _MOST_ASPECT * short


def check_channels_last(name: str, shape: Sequence[int], way: str) -> None:
    """Refuses a shape that can hardly be (height, width, channels)."""
    # One pixel high and of two different sizes beside it might be a signal, and passes.
    first, height, width = shape
    if looks_channels_first(shape) and (first != 1 or height == width):
        raise ValueError(
            f"`{name}` must be (height, width, channels). Received: {name}={tuple(shape)}, which "
            f"seems to have its channels first. Pass {(height, width, first)}, {way}."
        )
