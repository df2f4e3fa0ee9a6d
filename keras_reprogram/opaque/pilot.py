"""The pilot of `fit_opaque`: which images are shown under a pool of views, and how many views."""

from __future__ import annotations

import numpy as np

from keras_reprogram.fitting.validation import draw_stratified
from keras_reprogram.opaque.view_choice import PILOT_SHARE

# A pool beyond this size hardly holds better views.
_LARGEST_POOL = 48
# Fewer pilot images than this a class choose views by chance.
PILOT_IMAGES_A_CLASS = 6
# The share of the queries beyond the base answers that a pilot may take; steps get the rest.
_PILOT_BUDGET = 0.5


def pilot_rows(
    labels: np.ndarray,
    groups: np.ndarray | None,
    weight: np.ndarray | None,
    size: int,
    seed: int,
) -> np.ndarray:
    """Images to choose views by: one a group, as near-duplicates make every view look good."""
    rows = np.arange(len(labels))
    if weight is not None and np.count_nonzero(weight) >= size:
        # Images of weight 0 do not contribute to the choice of views.
        rows = np.flatnonzero(weight)
    if groups is not None:
        first = rows[np.unique(groups[rows], return_index=True)[1]]
        classes = np.unique(labels[rows])
        covered = len(np.unique(labels[first])) == len(classes)
        if covered and len(first) >= PILOT_IMAGES_A_CLASS * len(classes):
            rows = first
    return rows[draw_stratified(labels[rows], min(size, len(rows)), seed)]


def plan_pilot(spare: int, num_train: int, num_views: int, num_classes: int) -> tuple[int, int]:
    """Images and views of the pilot: the largest pool that the spare queries pay."""
    smallest = min(PILOT_IMAGES_A_CLASS * num_classes, num_train)
    images = max(smallest, int(PILOT_SHARE * num_train))
    for count in (images, smallest):
        pool = min(_LARGEST_POOL, int(_PILOT_BUDGET * spare) // max(count, 1))
        if pool >= num_views + max(2, num_views // 2):
            return count, pool
    return 0, 0
