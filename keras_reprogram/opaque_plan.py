"""How large a pilot of `fit_opaque` may be."""

from __future__ import annotations

# A pool beyond this size hardly holds better views.
_LARGEST_POOL = 48
# Fewer pilot images than this a class choose views by chance.
PILOT_IMAGES_A_CLASS = 6
# The share of the images that the largest pilot takes.
_PILOT_SHARE = 0.25
# The share of the queries beyond the base answers that a pilot may take; steps get the rest.
_PILOT_BUDGET = 0.5


def plan_pilot(spare: int, num_train: int, num_views: int, num_classes: int) -> tuple[int, int]:
    """Images and views of the pilot: as large a pool as the spare queries pay.

    Args:
        spare: queries of the budget beyond those for the base answers.
        num_train: training images.
        num_views: that will be chosen.
        num_classes: K.

    Returns:
        `(images, pool)`, both 0 where the budget has no room for a pool worth asking.
    """
    smallest = min(PILOT_IMAGES_A_CLASS * num_classes, num_train)
    images = max(smallest, int(_PILOT_SHARE * num_train))
    for count in (images, smallest):
        pool = min(_LARGEST_POOL, int(_PILOT_BUDGET * spare) // max(count, 1))
        if pool >= num_views + max(2, num_views // 2):
            return count, pool
    return 0, 0
