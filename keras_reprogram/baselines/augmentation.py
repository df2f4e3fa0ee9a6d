"""Augmentation: training images that are shifted a little, and mirrored where that is right."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """How training images are moved before each step.

    Args:
        shift: Largest shift as a share of a side, 0 for none. Edges are repeated.
        mirror: Whether left and right may change places.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines.augmentation import Augmentation

        images = np.random.default_rng(0).normal(size=(4, 20, 20, 1))
        moved = Augmentation(shift=0.1).apply(images, np.random.default_rng(1))
        print(moved.shape, Augmentation(shift=0.1))  # (4, 20, 20, 1) images shifted
        ```
    """

    shift: float = 0.0
    mirror: bool = False

    def apply(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Moves each image of a batch.

        Args:
            images: Array of shape `(n, height, width, channels)`.
            random: What shifts and mirrors are drawn from.

        Returns:
            Array of the same shape and dtype.
        """
        height, width = images.shape[1:3]
        reach = round(self.shift * height), round(self.shift * width)
        padded = np.pad(images, ((0, 0), (reach[0],) * 2, (reach[1],) * 2, (0, 0)), mode="edge")
        tops = random.integers(0, 2 * reach[0] + 1, len(images))
        lefts = random.integers(0, 2 * reach[1] + 1, len(images))
        turned = random.random(len(images)) < (0.5 if self.mirror else 0.0)
        moved = np.empty_like(images)
        for i, (top, left) in enumerate(zip(tops, lefts, strict=True)):
            window = padded[i, top : top + height, left : left + width]
            moved[i] = window[:, ::-1] if turned[i] else window
        return moved

    def __str__(self) -> str:
        done = [name for name, on in (("shifted", self.shift), ("mirrored", self.mirror)) if on]
        return f"images {' and '.join(done)}" if done else "images as they are, no augmentation"


AS_THEY_ARE = Augmentation()
