"""LabelledImages: images that belong together with their labels and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class LabelledImages:
    """Images, integer labels and weights of one part.

    Args:
        images: `(n, h, w, c)`.
        labels: `(n,)` integers.
        targets: the labels as the compiled loss takes them.
        weight: `(n,)` or `None`.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    weight: np.ndarray | None

    def take(self, rows: np.ndarray) -> LabelledImages:
        """The given rows."""
        weight = None if self.weight is None else self.weight[rows]
        return LabelledImages(self.images[rows], self.labels[rows], self.targets[rows], weight)

    def __len__(self) -> int:
        return len(self.labels)


def joined(one: LabelledImages, other: LabelledImages) -> LabelledImages:
    """Two parts as one, the first one's rows first; weights only if both have them."""
    weight = None
    if one.weight is not None and other.weight is not None:
        weight = np.concatenate([one.weight, other.weight])
    return LabelledImages(
        np.concatenate([one.images, other.images]),
        np.concatenate([one.labels, other.labels]),
        np.concatenate([one.targets, other.targets]),
        weight,
    )
