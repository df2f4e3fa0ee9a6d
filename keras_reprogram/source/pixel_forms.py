"""PixelForm: the forms in which networks take pixels, to be tried where a file does not say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

Numbers = float | tuple[float, ...]


@dataclass(frozen=True)
class PixelForm:
    """A value range, what leads from it to a network's pixels, and the order of channels.

    Args:
        name: what it is called.
        value_range: `(low, high)` of the pixels that callers send.
        scale: factor from there to what the network takes, one number or one a channel.
        offset: what is added afterwards, likewise.
        channel_order: `"rgb"` or `"bgr"`; `scale` and `offset` are in this order.
    """

    name: str
    value_range: tuple[float, float]
    scale: Numbers = 1.0
    offset: Numbers = 0.0
    channel_order: str = "rgb"

    def pixels(self, images: np.ndarray) -> np.ndarray:
        """What the network gets of images `(n, h, w, c)` of 0 to 255, float32."""
        low, high = self.value_range
        sent = images.astype(np.float32) / 255 * (high - low) + low
        if self.channel_order == "bgr":
            sent = sent[..., ::-1]
        scale, offset = (np.asarray(part, np.float32) for part in (self.scale, self.offset))
        return (sent * scale + offset).astype(np.float32)

    @property
    def options(self) -> str:
        """The form as options of the command line."""
        parts = [f"--value-range {_written(self.value_range)}"]
        if self.channel_order != "rgb":
            parts.append(f"--channel-order {self.channel_order}")
        if self.scale != 1.0:
            parts.append(f"--pixel-scale {_written(self.scale)}")
        if self.offset != 0.0:
            parts.append(f"--pixel-offset {_written(self.offset)}")
        return " ".join(parts)


def _written(numbers: Numbers) -> str:
    each = numbers if isinstance(numbers, tuple) else (numbers,)
    return ",".join(f"{number:.6g}" for number in each)


class _ChannelNumbers(NamedTuple):
    """What is subtracted from a channel of 0 to 255, and what it is divided by then."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


# Of ImageNet's photos, red before green before blue, as PyTorch's and Caffe's models have them.
_PYTORCH = _ChannelNumbers((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_CAFFE = _ChannelNumbers((123.68, 116.779, 103.939), (1.0, 1.0, 1.0))
_PIXELS = (0.0, 255.0)
_RANGES = (("0 to 255", _PIXELS), ("0 to 1", (0.0, 1.0)), ("-1 to 1", (-1.0, 1.0)))


def pixel_forms(channels: int) -> list[PixelForm]:
    """The forms that are in use, for networks of so many channels."""
    forms = [PixelForm(name, value_range) for name, value_range in _RANGES]
    if channels != 3:
        return forms
    forms += [
        _by_channel("ImageNet's mean and deviation", _PYTORCH),
        _by_channel("ImageNet's mean", _CAFFE),
    ]
    return forms + [in_bgr(form) for form in forms]


_IN_BGR = ", BGR"


def in_bgr(form: PixelForm) -> PixelForm:
    """The same with blue before red."""
    return replace(_turned(form), name=f"{form.name}{_IN_BGR}", channel_order="bgr")


def in_rgb(form: PixelForm) -> PixelForm:
    """What `in_bgr` was made of; a form with red first is itself."""
    if form.channel_order == "rgb":
        return form
    return replace(_turned(form), name=form.name.removesuffix(_IN_BGR), channel_order="rgb")


def _turned(form: PixelForm) -> PixelForm:
    scale, offset = (
        part[::-1] if isinstance(part, tuple) else part for part in (form.scale, form.offset)
    )
    return replace(form, scale=scale, offset=offset)


def _by_channel(name: str, numbers: _ChannelNumbers) -> PixelForm:
    scale = tuple(1 / deviation for deviation in numbers.deviation)
    offset = tuple(
        -mean / deviation for mean, deviation in zip(numbers.mean, numbers.deviation, strict=True)
    )
    shown: Numbers = 1.0 if set(scale) == {1.0} else scale
    return PixelForm(name, _PIXELS, shown, offset)
