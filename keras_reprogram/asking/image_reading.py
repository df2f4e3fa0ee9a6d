"""ImageReading: how image files become target images, alike in training, prediction and exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from keras_reprogram.arguments import one_of

FITS = ("stretch", "crop", "pad")


@dataclass(frozen=True)
class ImageReading:
    """What a decoder has to know beyond the shape and the range of target images.

    A model carries it as `image_reading`, and its files keep it.

    Args:
        fit: How another aspect ratio is fitted: `"stretch"` changes it, `"crop"` cuts off both ends
            of the longer side, `"pad"` adds black on both sides of the shorter one.
        depth: Bits that 16-bit files use; their levels are cut off at the `target_range`. `None`
            where only a `target_range` of (0, 2^d - 1) tells.
        dicom_window: `(low, high)` of modality values, such as Hounsfield units, that become black
            and white in DICOM and NIfTI files; `None` for the window that each file states.

    Raises:
        ValueError: For another fit.
    """

    fit: str = "stretch"
    depth: int | None = None
    dicom_window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        one_of("fit", self.fit, FITS)

    def as_facts(self) -> dict[str, Any]:
        """Plain values for a file, without defaults."""
        return {key: value for key, value in asdict(self).items() if value != _DEFAULTS[key]}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any] | None) -> ImageReading:
        """The reading that `as_facts` wrote."""
        found = dict(facts or {})
        if window := found.get("dicom_window"):
            found["dicom_window"] = (float(window[0]), float(window[1]))
        return cls(**found)

    def highest_level(self, target_range: tuple[float, float]) -> int | None:
        """The highest level that a 16-bit file may hold; `None` where nobody knows it."""
        if self.depth is not None:
            return 2**self.depth - 1
        low, high = target_range
        return int(high) if low == 0 and high in [2**depth - 1 for depth in range(8, 17)] else None


_DEFAULTS: dict[str, Any] = {"fit": "stretch", "depth": None, "dicom_window": None}


def framed(levels: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    """`(h, w, c)` cropped or padded with 0 to the aspect ratio of `size`, before it is resized."""
    height, width = levels.shape[:2]
    if fit == "stretch":
        return levels
    # The same whole numbers as in the graph of an export.
    as_high, as_wide = _rounded(width, size[0], size[1]), _rounded(height, size[1], size[0])
    if fit == "crop":
        rows, columns = min(height, as_high), min(width, as_wide)
        top, left = (height - rows) // 2, (width - columns) // 2
        return levels[top : top + rows, left : left + columns]
    rows, columns = max(height, as_high), max(width, as_wide)
    top, left = (rows - height) // 2, (columns - width) // 2
    canvas = np.zeros((rows, columns, levels.shape[2]), levels.dtype)
    canvas[top : top + height, left : left + width] = levels
    return canvas


def _rounded(side: int, numerator: int, denominator: int) -> int:
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))
