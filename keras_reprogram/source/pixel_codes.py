"""PixelCodes: pixels as the 8-bit codes of a quantised network, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

# Ends of a range differ by calibration and rounding.
_RANGE_SLACK = 0.1
# A dark calibration set reaches a small part of the pixels; below this it is another scale.
_LEAST_CALIBRATED = 1 / 16
# Symmetric codes leave half of the range unused, more only numbers on another scale do.
_LEAST_USED = 1 / 4


@dataclass(frozen=True)
class PixelCodes:
    """Quantisation of pixels: `code = round(pixel / scale + zero_point)`."""

    dtype: np.dtype
    # Of the pixels that callers send.
    value_range: tuple[float, float]
    # Pixels a code, and the code of the pixel 0: a fraction where `value_range` is spread.
    scale: float
    zero_point: float
    # Whether `value_range` is spread over the codes, see `pixel_codes`.
    spread: bool

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Pixels as codes; what is beyond the codes takes the nearest one."""
        if images.dtype == np.uint8:
            return images if self._bytes_are_codes else self._codes_of_bytes[images]
        return self._compute(images)

    def _compute(self, images: np.ndarray) -> np.ndarray:
        limits = np.iinfo(self.dtype)
        if self.spread:
            low, high = self.value_range
            codes = (images - low) / (high - low) * (limits.max - limits.min) + limits.min
        else:
            codes = images / np.float32(self.scale) + np.float32(self.zero_point)
        return np.clip(np.round(codes), limits.min, limits.max).astype(self.dtype)

    @cached_property
    def _codes_of_bytes(self) -> np.ndarray:
        """The codes of the pixels 0 to 255."""
        return self._compute(np.arange(256, dtype=np.float32))

    @cached_property
    def _bytes_are_codes(self) -> bool:
        codes = self._codes_of_bytes
        return codes.dtype == np.uint8 and bool((codes == np.arange(256)).all())

    @property
    def is_as_spread(self) -> bool:
        """Whether spreading `value_range` evenly would give the same code for every 8-bit pixel."""
        low, high = self.value_range
        pixels = np.linspace(low, high, 256, dtype=np.float32)
        evenly = _spread(self.dtype, self.value_range).encode(pixels)
        return bool(np.array_equal(self.encode(pixels), evenly))


def pixel_codes(
    dtype: Any, value_range: tuple[float, float], quantization: tuple[float, int]
) -> PixelCodes:
    """The pixel codes of an input with this `(scale, zero_point)`."""
    # A file states the number that each of its codes stands for. If the range of these numbers
    # contains `value_range`, or the reverse, they are the network's own pixels, and its scale and
    # zero point apply. If they are on another scale (-1 to 1, while callers send 0 to 255),
    # `value_range` is spread over the codes: the darkest pixel is the lowest code, the brightest
    # the highest.
    dtype = np.dtype(dtype)
    scale, zero_point = float(quantization[0]), int(quantization[1])
    if not scale:
        return _spread(dtype, value_range)
    limits = np.iinfo(dtype)
    darkest, brightest = (scale * (code - zero_point) for code in (limits.min, limits.max))
    # Every file has a code for 0, also where no pixel is that dark.
    pixels = (min(value_range[0], 0.0), max(value_range[1], 0.0))
    calibrated = _holds(pixels, (darkest, brightest), _LEAST_CALIBRATED)
    if calibrated or _holds((darkest, brightest), pixels, _LEAST_USED):
        return PixelCodes(dtype, value_range, scale, zero_point, spread=False)
    return _spread(dtype, value_range)


def _holds(outer: tuple[float, float], inner: tuple[float, float], least_share: float) -> bool:
    """Whether one range lies in another and covers a fair share of it."""
    width = outer[1] - outer[0]
    slack = _RANGE_SLACK * width
    inside = inner[0] >= outer[0] - slack and inner[1] <= outer[1] + slack
    return inside and inner[1] - inner[0] >= least_share * width


def _spread(dtype: np.dtype, value_range: tuple[float, float]) -> PixelCodes:
    limits, (low, high) = np.iinfo(dtype), value_range
    scale = (high - low) / (limits.max - limits.min)
    return PixelCodes(dtype, value_range, scale, limits.min - low / scale, spread=True)
