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
        groups: `(n,)` or `None`; images of one value belong together.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    weight: np.ndarray | None
    groups: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> LabelledImages:
        """The given rows."""
        weight = None if self.weight is None else self.weight[rows]
        groups = None if self.groups is None else self.groups[rows]
        return LabelledImages(
            self.images[rows], self.labels[rows], self.targets[rows], weight, groups
        )

    def __len__(self) -> int:
        return len(self.labels)


def joined(one: LabelledImages, other: LabelledImages) -> LabelledImages:
    """Two parts as one, the first one's rows first; weights and groups only if both have them."""
    return LabelledImages(
        np.concatenate([one.images, other.images]),
        np.concatenate([one.labels, other.labels]),
        np.concatenate([one.targets, other.targets]),
        _both(one.weight, other.weight),
        _both(one.groups, other.groups),
    )


def _both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    return None if one is None or other is None else np.concatenate([one, other])
