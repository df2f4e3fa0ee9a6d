"""Whether images use the range that they are said to have: neither beyond it nor a corner of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

# Rounding in a user's own preprocessing may step over the range by this share of it.
_SLACK = 1e-3
# Raw digits of 0 to 16 use a sixteenth of 0 to 255; few sets of pictures are darker than this.
_LEAST_SHARE = 1 / 8
# Fewer images may well be dark all together.
_ENOUGH_IMAGES = 8
_COMMON_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.0, 65535.0))

Range = tuple[float, float]


@dataclass(frozen=True)
class SeenRange:
    """The darkest and the brightest pixel of some images.

    Args:
        darkest: smallest value.
        brightest: largest value.
        count: images.
    """

    darkest: float
    brightest: float
    count: int

    def joined(self, other: SeenRange | None) -> SeenRange:
        """Both together.

        Args:
            other: of other images, or `None` for none.
        """
        if other is None:
            return self
        return SeenRange(
            min(self.darkest, other.darkest),
            max(self.brightest, other.brightest),
            self.count + other.count,
        )

    def __str__(self) -> str:
        return f"values from {self.darkest:g} to {self.brightest:g}"


def check_range(images: np.ndarray, target_range: Range) -> SeenRange:
    """Checks any images, however few.

    Args:
        images: `(n, h, w, c)`, n > 0, finite.
        target_range: `(low, high)` that they are said to have.

    Returns:
        What was seen.

    Raises:
        ValueError: for values beyond the range, or fractions of the first 8-bit step of it, which
            images have that were divided by 255.
    """
    low, high = target_range
    seen = SeenRange(float(images.min()), float(images.max()), len(images))
    slack = _SLACK * (high - low)
    if seen.darkest < low - slack or seen.brightest > high + slack:
        raise ValueError(
            f"Images must lie in the program's `target_range` ({low:g}, {high:g}). "
            f"Received: {seen}. {_advice(seen, target_range)}"
        )
    if _in_one_step(seen, target_range) and _has_fractions(images, target_range):
        raise ValueError(_corner(seen, target_range))
    return seen


def check_set(seen: SeenRange | None, target_range: Range | None) -> None:
    """Checks a whole set of images, which would hardly be dark all together.

    Args:
        seen: what `check_range` returned, joined over all batches; `None` for nothing.
        target_range: `(low, high)` that they are said to have, or `None`.

    Raises:
        ValueError: if all pixels lie in the first 8-bit step of the range.
    """
    if seen is None or target_range is None:
        return
    if _in_one_step(seen, target_range):
        raise ValueError(_corner(seen, target_range))
    (low, high), enough = target_range, seen.count >= _ENOUGH_IMAGES
    share = (seen.brightest - low) / (high - low)
    half = low < 0 and seen.darkest >= (low + high) / 2
    if enough and seen.brightest > low and (share < _LEAST_SHARE or half):
        warnings.warn(
            f"All images use only a part of the program's `target_range` ({low:g}, {high:g}): "
            f"{seen}. If that is all they can have, build the program with "
            f"`target_range={_range_of(seen)}`: the source then sees them in full contrast.",
            stacklevel=4,
        )


def _in_one_step(seen: SeenRange, target_range: Range) -> bool:
    """Whether 8-bit codes of these images are 0 and 1 alone, and not all 0."""
    low, high = target_range
    return low < seen.brightest <= low + (1 + _SLACK) * (high - low) / 255


def _has_fractions(images: np.ndarray, target_range: Range) -> bool:
    """Whether these are neither 8-bit codes of the range nor whole numbers, as in 16-bit files."""
    low, high = target_range
    values = images.astype(np.float64)
    scales = (values, (values - low) * (255 / (high - low)))
    return all(bool((np.abs(one - np.rint(one)) > _SLACK).any()) for one in scales)


def _corner(seen: SeenRange, target_range: Range) -> str:
    low, high = target_range
    return (
        f"Images must use the program's `target_range` ({low:g}, {high:g}). Received: {seen}, "
        "all within one 8-bit step of it: every image would look the same to a source. "
        f"{_advice(seen, target_range)}"
    )


def _advice(seen: SeenRange, target_range: Range) -> str:
    low, high = target_range
    found = _range_of(seen)
    if found == target_range:
        return "Check how they were scaled."
    return (
        f"Rescale them to {low:g} to {high:g}, or build the program with the range that they "
        f"have, such as `target_range={found}`."
    )


def _range_of(seen: SeenRange) -> Range:
    """The narrowest common range that images seem to have, or else what was seen."""
    for low, high in _COMMON_RANGES:
        slack = _SLACK * (high - low)
        inside = low - slack <= seen.darkest and seen.brightest <= high + slack
        if inside and seen.brightest - low >= _LEAST_SHARE * (high - low):
            return int(low), int(high)
    return seen.darkest, seen.brightest
