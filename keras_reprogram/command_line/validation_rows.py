"""Which training images are learned from, and which the target itself holds out to choose by."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.opaque.plan import OpaquePlan


class Rows(NamedTuple):
    """Positions among the training images."""

    learned: np.ndarray
    held: np.ndarray


def learned_and_held(target: TargetData) -> Rows:
    """The rows of a target; none are held where it leaves the choice to the recipe."""
    if target.validation_rows is None:
        return Rows(np.arange(len(target.train_labels)), np.arange(0))
    return Rows(np.flatnonzero(~target.validation_rows), np.flatnonzero(target.validation_rows))


def planned_epochs(model: Any, target: TargetData, epochs: int) -> OpaquePlan:
    """The plan of `plan_epochs`, with the target's own validation images if it has some."""
    from keras_reprogram.opaque.plan import plan_epochs

    rows = learned_and_held(target)
    if not len(rows.held):
        return plan_epochs(model, target.train_labels, epochs, groups=target.train_groups)
    labels = target.train_labels[rows.learned]
    plan = plan_epochs(model, labels, epochs)
    return replace(plan, train=rows.learned, validation=rows.held)
