"""Parts of a list of rows: what it says of them, splits and draws, for image files and texts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from keras_reprogram.datasets.target_data import Draw, draw_part, drawn_notes
from keras_reprogram.fitting.validation import split_validation

TEST_FRACTION = 0.2


class Part(StrEnum):
    """The part of a task that a row belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def split_parts(
    labels: np.ndarray,
    parts: Sequence[Part] | None,
    groups: np.ndarray | None,
    seed: int,
    unit: str,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Positions of training (validation included) and test rows, and a note about the split.

    Args:
        labels: `(n,)`, or of several findings `(n, K)`.
        parts: one a row, or `None` where the list says nothing.
        groups: `(n,)` or `None`.
        seed: of the split where no row is for testing.
        unit: what a part is made of, for the note.
    """
    found = np.array(parts or [Part.TRAIN] * len(labels))
    train, test = np.flatnonzero(found != Part.TEST), np.flatnonzero(found == Part.TEST)
    if len(test):
        return train, test, ()
    # What the list holds out to choose by stays what it is.
    learned, held = np.flatnonzero(found == Part.TRAIN), np.flatnonzero(found != Part.TRAIN)
    of_learned = None if groups is None else groups[learned]
    kept, out = split_validation(learned, labels[learned], TEST_FRACTION, seed, of_learned)
    by = "class" if groups is None else "group"
    note = f"No test {unit}: split 80/20 by {by}, seed {seed}."
    return np.sort(np.concatenate([learned[kept], held])), learned[out], (note,)


def draw_parts(
    name: str,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    draw: Draw,
    unit: str = "images",
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The training and test rows that are drawn, and notes about what was left out."""
    counts = ((train, "training", draw.train_images), (test, "test", draw.test_images))
    found: list[np.ndarray] = []
    notes: list[str] = []
    for rows, part, count in counts:
        kept = draw_part(name, part, labels[rows], count, draw.seed)
        found.append(rows[kept])
        notes += drawn_notes(part, kept, labels[rows], draw.seed, unit)
    return found[0], found[1], tuple(notes)


def held_out_rows(parts: Sequence[Part] | None, train: np.ndarray) -> np.ndarray | None:
    """Which training rows the list holds out to choose by, bool `(n,)`; `None` for none."""
    if parts is None:
        return None
    held = np.array([parts[row] == Part.VALIDATION for row in train])
    return held if held.any() and not held.all() else None


def check_groups(
    name: str,
    rows: Sequence[str],
    parts: Sequence[Part] | None,
    groups: np.ndarray | None,
    unit: str = "images",
) -> None:
    """Refuses a group with rows in two parts: they would be learned and tested on."""
    if groups is None or parts is None:
        return
    first: dict[object, int] = {}
    for row, group in enumerate(groups.tolist()):
        before = first.setdefault(group, row)
        if parts[row] != parts[before]:
            raise ValueError(
                f"Expected all {unit} of a group in one part of {name!r}. Received: "
                f"{rows[before]} in {parts[before]} and {rows[row]} in "
                f"{parts[row]}, both of group {group}. Move one of them, leave the parts "
                f"out ({unit} are split by group then), or leave the groups out."
            )


def numbered(groups: np.ndarray) -> np.ndarray:
    """Groups of any kind as integers from 0."""
    return np.unique(groups, return_inverse=True)[1].ravel()
