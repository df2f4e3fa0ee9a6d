"""Which rows a fit leaves out to choose by: one validation part, or every row once in folds."""

from __future__ import annotations

import numpy as np

from keras_reprogram.fitting.validation import majority_labels, split_validation

# Of fewer rows than this a validation part holds too few to choose by (a fifth is 100): each row
# is then left out once, in one of the folds.
FEW_ROWS = 500
NUM_FOLDS = 5

# Training rows and held-out rows.
Fold = tuple[np.ndarray, np.ndarray]


def draw_folds(
    labels: np.ndarray,
    weight: np.ndarray,
    validation_split: float,
    seed: int,
    groups: np.ndarray | None,
    *,
    few: int = FEW_ROWS,
    num_folds: int = NUM_FOLDS,
) -> list[Fold]:
    """Parts to fit on and parts to judge by; none where no row can be spared.

    Args:
        labels: integers `(n,)`.
        weight: `(n,)`; rows of weight 0 are no training rows.
        validation_split: share of one held-out part, in [0, 1); 0 for no folds at all.
        seed: draws them.
        groups: `(n,)` or `None`; rows of one value stay on one side.
        few: of fewer rows than this each is held out once, in one of the folds.
        num_folds: how many of them.
    """
    num_units = len(labels) if groups is None else len(np.unique(groups))
    if not validation_split or num_units <= len(np.unique(labels)):
        return []
    if len(labels) < few:
        number = fold_numbers(labels, seed, groups, num_folds)
        drawn = [
            (np.flatnonzero(number != fold), np.flatnonzero(number == fold))
            for fold in np.unique(number)
        ]
    else:
        drawn = [split_validation(labels, labels, validation_split, seed, groups)]
    # A group that is held out may take a whole class with it.
    folds = [(train, held[np.isin(labels[held], labels[train])]) for train, held in drawn]
    return [
        (train, held)
        for train, held in folds
        if len(held) and len(np.unique(labels[train])) > 1 and weight[train].any()
    ]


def held_out_rows(
    labels: np.ndarray,
    weight: np.ndarray,
    validation_split: float,
    seed: int,
    groups: np.ndarray | None,
) -> Fold | None:
    """Training and validation rows of one split; `None` where no row can be spared."""
    folds = draw_folds(labels, weight, validation_split, seed, groups, few=0)
    return folds[0] if folds else None


def fold_numbers(
    labels: np.ndarray, seed: int, groups: np.ndarray | None, num_folds: int = NUM_FOLDS
) -> np.ndarray:
    """The fold of each row, in [0, num_folds): every class is spread over all of them."""
    labels = np.asarray(labels)
    if groups is None:
        member, of_unit = np.arange(len(labels)), labels
    else:
        _, member = np.unique(np.reshape(groups, -1), return_inverse=True)
        of_unit = majority_labels(member, labels)
    order = np.random.default_rng(seed).permutation(len(of_unit))
    order = order[np.argsort(of_unit[order], kind="stable")]
    number = np.empty(len(of_unit), int)
    # Class after class, so that a fold has its share of each.
    number[order] = np.arange(len(of_unit)) % num_folds
    return number[member]
