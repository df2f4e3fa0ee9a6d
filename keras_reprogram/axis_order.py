"""Whether an image's shape reads as (channels, height, width), as other frameworks write it."""

from __future__ import annotations

from collections.abc import Sequence

# Grey, colour, colour with transparency.
_COMMON_CHANNELS = (1, 3, 4)
# Below this a side is no image's, and beyond this aspect it is more likely a signal's channels.
_LEAST_SIDE, _MOST_ASPECT = 8, 4


def looks_channels_first(shape: Sequence[int | None]) -> bool:
    """Whether the sizes speak for channels first.

    Args:
        shape: three sizes, `None` for what is open.

    Returns:
        True for (3, 96, 96), false for (32, 32, 3) and for a signal such as (1, 1000, 12).
    """
    first, height, width = shape
    if first not in _COMMON_CHANNELS or width in _COMMON_CHANNELS:
        return False
    if height is None or width is None:
        return True
    short, long = sorted((height, width))
    return short >= _LEAST_SIDE and long <= _MOST_ASPECT * short


def check_channels_last(name: str, shape: Sequence[int], way: str) -> None:
    """Refuses a shape that can hardly be (height, width, channels).

    One pixel high and of two different sizes beside it might be a signal, and passes.

    Args:
        name: the argument's name, for the message.
        shape: three sizes.
        way: what to do with images of that shape.

    Raises:
        ValueError: if it reads as (channels, height, width).
    """
    first, height, width = shape
    if looks_channels_first(shape) and (first != 1 or height == width):
        raise ValueError(
            f"`{name}` must be (height, width, channels). Received: {name}={tuple(shape)}, which "
            f"seems to have its channels first. Pass {(height, width, first)}, {way}."
        )
