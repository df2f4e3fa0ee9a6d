"""OpaquePlan: which images `fit_opaque` asks, how often, reckoned before it asks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from keras_reprogram.query_estimate import QueryEstimate
from keras_reprogram.training.validation_split import draw_stratified

# A pool beyond this size hardly holds better views.
_LARGEST_POOL = 48
# Fewer pilot images than this a class choose views by chance.
PILOT_IMAGES_A_CLASS = 6
# The share of the images that the largest pilot takes.
_PILOT_SHARE = 0.25
# The share of the queries beyond the base answers that a pilot may take; steps get the rest.
_PILOT_BUDGET = 0.5


@dataclass(frozen=True)
class OpaquePlan:
    """What one run of `fit_opaque` asks. `estimate_queries` prints it, and the run follows it.

    Args:
        train: positions in `x` that are learned from.
        validation: positions that decide: in `validation_data` if it is given, else in `x`.
        pilot: positions among the training images that are shown under a pool of views, none to
            leave the views alone.
        pool_views: views of that pool, the program's own included.
        chooses_views: whether views may be chosen, be there room for a pilot or not.
        num_views: queries for one prediction.
        queries_a_step: for one training image in one estimated step, 0 where none are taken.
        check: queries of the check before the first step.
        epochs: of steps that the budget pays for. Validation may end them earlier.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.opaque_plan import OpaquePlan

    plan = OpaquePlan(np.arange(48), np.arange(48, 60), num_views=2, queries_a_step=6, epochs=2)
    assert plan.estimate().total == 60 * 2 + 2 * (48 * 6 + 12 * 2)
    ```
    """

    train: np.ndarray = field(repr=False)
    validation: np.ndarray = field(repr=False)
    pilot: np.ndarray = field(default_factory=lambda: np.arange(0), repr=False)
    pool_views: int = 0
    chooses_views: bool = False
    num_views: int = 1
    queries_a_step: int = 0
    check: int = 0
    epochs: int = 0

    @property
    def pilot_queries(self) -> int:
        """To choose views."""
        return len(self.pilot) * self.pool_views

    @property
    def base_queries(self) -> int:
        """For the answers that the map alone is fitted on and judged by."""
        return (len(self.train) + len(self.validation)) * self.num_views

    @property
    def epoch_queries(self) -> int:
        """For one epoch of steps and its validation."""
        return len(self.train) * self.queries_a_step + len(self.validation) * self.num_views

    def estimate(
        self,
        price_per_thousand: float | None = None,
        queries_per_second: float | None = None,
    ) -> QueryEstimate:
        """The plan in figures, by what queries are for.

        Args:
            price_per_thousand: of 1,000 queries.
            queries_per_second: that the source allows.
        """
        check = self.check if self.epochs else 0
        return QueryEstimate(
            output_map=len(self.train) * self.num_views,
            views=self.pilot_queries,
            estimates=self.epochs * len(self.train) * self.queries_a_step + check,
            validation=(1 + self.epochs) * len(self.validation) * self.num_views,
            per_prediction=self.num_views,
            price_per_thousand=price_per_thousand,
            queries_per_second=queries_per_second,
        )


def payable_rows(
    train_labels: np.ndarray,
    validation_labels: np.ndarray,
    payable: int,
    num_classes: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """As much of both parts as a budget pays for, in their proportion, with the classes' shares.

    Args:
        train_labels: `(n,)` integers.
        validation_labels: `(m,)` integers.
        payable: images that can be paid for.
        num_classes: K.
        seed: draws the images.

    Returns:
        Positions in either part.

    Raises:
        ValueError: if fewer than four images of every class can be paid for.
    """
    total = len(train_labels) + len(validation_labels)
    if payable >= total:
        return np.arange(len(train_labels)), np.arange(len(validation_labels))
    held_out = max(num_classes, round(payable * len(validation_labels) / total))
    held_out = min(held_out, payable - min(len(train_labels), 3 * num_classes))
    held_out = min(held_out, len(validation_labels))
    learned = min(payable - held_out, len(train_labels))
    return (
        draw_stratified(train_labels, learned, seed),
        draw_stratified(validation_labels, held_out, seed),
    )


def pilot_rows(
    labels: np.ndarray,
    groups: np.ndarray | None,
    weight: np.ndarray | None,
    size: int,
    seed: int,
) -> np.ndarray:
    """Images to choose views by: one of each group, since twins make every view look good.

    Args:
        labels: `(n,)` of the training images.
        groups: `(n,)` or `None`.
        weight: `(n,)` or `None`.
        size: images, if there are as many.
        seed: draws them.

    Returns:
        Positions among the training images.
    """
    rows = np.arange(len(labels))
    if weight is not None and np.count_nonzero(weight) >= size:
        # Images without weight say nothing about views.
        rows = np.flatnonzero(weight)
    if groups is not None:
        first = rows[np.unique(groups[rows], return_index=True)[1]]
        classes = np.unique(labels[rows])
        covered = len(np.unique(labels[first])) == len(classes)
        if covered and len(first) >= PILOT_IMAGES_A_CLASS * len(classes):
            rows = first
    return rows[draw_stratified(labels[rows], min(size, len(rows)), seed)]


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
