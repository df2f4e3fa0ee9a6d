"""Windows of levels: the bits that files use, and the part of the scale that images fill."""

from __future__ import annotations

import numpy as np

Window = tuple[float, float]

# Bits that instruments use of 16.
DEPTHS = (8, 10, 12, 14, 16)
# A window cuts off no more of any training image: markers and metal.
PERCENTILES = (0.5, 99.5)
# A window is used if it is narrower than this share of the scale.
NARROW = 0.5


class LevelWindow:
    """The window that the images fill: all but the ends of each of them."""

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf

    def add(self, levels: np.ndarray) -> None:
        """Widens the window by one image, of any shape; an empty one changes nothing."""
        if levels.size:
            low, high = np.percentile(levels, PERCENTILES, method="nearest")
            self._low, self._high = min(self._low, low), max(self._high, high)

    @property
    def ends(self) -> tuple[float, float]:
        """`(low, high)`; never of width 0."""
        low = float(self._low) if np.isfinite(self._low) else 0.0
        return low, float(self._high) if self._high > low else low + 1


def shares_of(window: Window, values: np.ndarray) -> np.ndarray:
    """Shares of white: 0 at the window's lower end, 1 at its upper one; beyond it others."""
    low, high = window
    return (values - low) / (high - low)


def codes_of(shares: np.ndarray) -> np.ndarray:
    """Shares of white as 8-bit codes, cut off at black and white."""
    return np.rint(255 * shares.clip(0, 1)).astype(np.uint8)


def depth_of(highest: int) -> int:
    """Bits that levels up to this one use."""
    return next(depth for depth in DEPTHS if highest < 2**depth)


def range_of_depth(depth: int, window: LevelWindow) -> tuple[float, float]:
    """The levels that become black and white: all of the depth, or the narrow window in use."""
    low, high = window.ends
    full = 2.0**depth - 1
    return (low, high) if high - low < NARROW * full else (0.0, full)
