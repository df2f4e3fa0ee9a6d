"""LearnedImages: which images a model was fitted on, so that calibration can refuse them."""

from __future__ import annotations

import numpy as np

# Pixels of an image that are looked at, at even distances.
_PIXELS = 1024
# Data sets hold some images twice, on both sides of any split.
_SHARE_OF_DUPLICATES = 0.05


class LearnedImages:
    """Remembers images by hashes of some of their pixels, for the life of a process."""

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def add(self, images: np.ndarray) -> None:
        """Takes note of float32 images `(n, h, w, c)` that a fit uses."""
        self._hashes.update(_hashes(images))

    def known(self, images: np.ndarray) -> int:
        """How many images were noted; 0 for so few as data sets hold twice."""
        count = sum(one in self._hashes for one in _hashes(images))
        return count if count > _SHARE_OF_DUPLICATES * len(images) else 0

    def refuse(self, images: np.ndarray, what: str = "Calibrating images") -> None:
        """Raises a ValueError if more than a few images were used by a fit."""
        if known := self.known(images):
            raise ValueError(
                f"{what} must be held out from the fit: answers to images that a model "
                f"was fitted on look better than they are. Received: {len(images)} images, of "
                f"which {known} were fitted on, or validated on. Pass images that no fit has seen."
            )


def _hashes(images: np.ndarray) -> list[int]:
    rows = images.reshape(len(images), -1)
    rows = np.ascontiguousarray(rows[:, :: max(1, rows.shape[1] // _PIXELS)])
    return [hash(row.tobytes()) for row in rows]
