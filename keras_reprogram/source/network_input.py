"""NetworkInput: how a network wants its images, where their order and number may be its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_reprogram.axis_order import looks_channels_first

DATA_FORMATS = ("channels_last", "channels_first")
Size = int | None


@dataclass(frozen=True)
class NetworkInput:
    """What lies between the images that callers send and those that a network takes.

    Args:
        source_shape: `(H, W, C)` of the images that callers send.
        channels_first: whether the network takes `(n, C, H, W)`.
        batch_size: how many images each call must have, or `None` for any number.
        any_size: whether the network takes other sizes too, so that this one was chosen.
    """

    source_shape: tuple[int, int, int]
    channels_first: bool = False
    batch_size: int | None = None
    any_size: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """One image as the network takes it."""
        height, width, channels = self.source_shape
        return (channels, height, width) if self.channels_first else self.source_shape

    @property
    def axes(self) -> tuple[int, int, int, int] | None:
        """The order that turns callers' axes into the network's, or `None` if they are the same."""
        return (0, 3, 1, 2) if self.channels_first else None

    @property
    def chosen(self) -> str:
        """What callers chose beyond the network itself, for fingerprints; empty if nothing."""
        parts = [f"{self.source_shape}"] * self.any_size + ["channels_first"] * self.channels_first
        return ":".join(parts)


def read_network_input(
    shape: Sequence[Size],
    who: str,
    *,
    data_format: str | None = None,
    image_size: int | Sequence[int] | None = None,
) -> NetworkInput:
    """Reads a network's input shape.

    Args:
        shape: `(n, H, W, C)` or `(n, C, H, W)`; `None` for what is open.
        who: the network, for messages.
        data_format: `"channels_last"`, `"channels_first"`, or `None`: the first, unless the sizes
            speak for the second.
        image_size: side, or `(height, width)`, for a network that takes images of any size.

    Returns:
        A `NetworkInput`.

    Raises:
        ValueError: for another rank, sizes that speak for channels first where nobody said so,
            an open size that nobody chose, or a choice that contradicts the network.

    Example:
    ```python
    from keras_reprogram.source.network_input import read_network_input

    found = read_network_input((None, 3, 96, 96), "net", data_format="channels_first")
    assert found.source_shape == (96, 96, 3) and found.image_shape == (3, 96, 96)
    ```
    """
    if len(shape) != 4:
        raise ValueError(
            f"{who} must take one image, (n, H, W, C) or (n, C, H, W). Received: an input of shape "
            f"{tuple(shape)}. Choose an image classifier, or wrap the network in a function that "
            "takes images, for `OpaqueSource` (--source FILE.py:NAME)."
        )
    if data_format is not None and data_format not in DATA_FORMATS:
        raise ValueError(
            f"`data_format` (--data-format) must be one of {DATA_FORMATS}. "
            f"Received: {data_format!r}."
        )
    if data_format is None and looks_channels_first(shape[1:]):
        raise ValueError(_which_format(tuple(shape), who))
    channels_first = data_format == "channels_first"
    sides = tuple(shape[2:]) if channels_first else tuple(shape[1:3])
    channels = shape[1] if channels_first else shape[3]
    if channels is None:
        raise ValueError(
            f"{who} must take images of a known number of channels. Received: an input of shape "
            f"{tuple(shape)}. Pass a network whose input says its channels."
        )
    height, width = _chosen_sides(sides, image_size, tuple(shape), who)
    return NetworkInput(
        (height, width, int(channels)), channels_first, shape[0], any_size=None in sides
    )


def _which_format(shape: tuple[Size, ...], who: str) -> str:
    _, channels, height, width = shape
    return (
        f"{who} seems to take channels first, (n, C, H, W), as networks from PyTorch do. Received: "
        f"an input of shape {shape}: {channels} channels of {height} x {width} pixels, or images "
        f"{channels} pixels high with {width} channels? Say which: "
        '`data_format="channels_first"` (--data-format channels_first), or `"channels_last"`.'
    )


def _chosen_sides(
    sides: tuple[Size, ...],
    image_size: int | Sequence[int] | None,
    shape: tuple[Size, ...],
    who: str,
) -> tuple[int, int]:
    if image_size is None and None in sides:
        raise ValueError(
            f"{who} takes images of any size, and nobody chose one. Received: an input of shape "
            f"{shape}. Pass `image_size=224` (--source-size 224), or the size that it was trained "
            "on."
        )
    wanted = sides if image_size is None else _pair(image_size)
    if any(own not in (None, one) for own, one in zip(sides, wanted, strict=True)):
        raise ValueError(
            f"{who} takes images of one size. Received: image_size={image_size} for an input of "
            f"shape {shape}. Leave `image_size` (--source-size) out."
        )
    return int(wanted[0]), int(wanted[1])  # type: ignore[arg-type]


def _pair(image_size: Any) -> tuple[int, int]:
    sides = np.ravel(image_size).tolist()
    height, width = sides * 2 if len(sides) == 1 else sides if len(sides) == 2 else (0, 0)
    if not all(isinstance(side, int) and side >= 1 for side in (height, width)):
        raise ValueError(
            "`image_size` must be a positive integer or (height, width). "
            f"Received: image_size={image_size}."
        )
    return height, width


def in_calls_of(batch_size: int | None, count: int) -> list[tuple[slice, int]]:
    """How `count` images become calls of exactly `batch_size`.

    Args:
        batch_size: images a call, or `None` for all at once.
        count: images.

    Returns:
        The rows of each call, and how many images to add to it.
    """
    step = batch_size or max(count, 1)
    starts = range(0, count, step)
    return [
        (slice(start, start + step), max(0, step - (count - start)) if batch_size else 0)
        for start in starts
    ]
