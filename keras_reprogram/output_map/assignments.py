"""The names of the ways to assign source labels, and what each of them needs."""

from __future__ import annotations

from typing import Any

from keras_reprogram.output_map.bayesian_weights import METHODS as BAYESIAN

SELF_DEFINED = "self-defined"
# Picks `labels_per_class` source labels a class.
PICKED = ("random", "frequency", "iterative")
# Assigned again at the end of each epoch.
OBSERVING = ("iterative", *BAYESIAN)
# Needs answers before it can be used.
FITTED = ("frequency", *OBSERVING)
ASSIGNMENTS = (*PICKED, *BAYESIAN, SELF_DEFINED)


def check_arguments(assignment: str, labels_per_class: int, label_table: Any, weights: Any) -> None:
    """Raises a ValueError for arguments of a `MultiLabelMap` that exclude each other.

    Args:
        assignment: a name.
        labels_per_class: m.
        label_table: the user's table, or `None`.
        weights: the user's matrix, or `None`.
    """
    if assignment not in ASSIGNMENTS:
        raise ValueError(f"`assignment` must be one of {ASSIGNMENTS}. Received: {assignment!r}.")
    if (assignment == SELF_DEFINED) != (label_table is not None):
        raise ValueError(
            f'`label_table` and `assignment="{SELF_DEFINED}"` belong together. Received: '
            f"assignment={assignment!r}, label_table={label_table!r}. Pass both or neither."
        )
    if label_table is not None and weights is not None:
        raise ValueError(
            "`label_table` and `weights` both say which labels stand for a class. Received: both. "
            "Leave one out."
        )
    if labels_per_class != 1 and assignment not in PICKED:
        raise ValueError(
            f"`labels_per_class` is for {', '.join(PICKED)}. Received: {labels_per_class} with "
            f"assignment={assignment!r}, which decides itself how many labels speak for a class. "
            "Leave it out."
        )
