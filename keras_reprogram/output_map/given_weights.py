"""Weights and label tables of a user's own, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

LabelTable = tuple[tuple[int, ...], ...]


def checked_weights(weights: Any, num_classes: int) -> np.ndarray:
    """A weight matrix of the user's own.

    Args:
        weights: `(S, K)`, finite and non-negative.
        num_classes: target classes K.

    Returns:
        float32 array `(S, K)`.

    Raises:
        ValueError: for another shape, or a class without weight.
    """
    matrix = np.asarray(weights, np.float32)
    if matrix.ndim != 2 or matrix.shape[1] != num_classes:
        raise ValueError(
            f"`weights` must have shape (source labels, {num_classes}). "
            f"Received: shape {matrix.shape}."
        )
    if not np.isfinite(matrix).all() or (matrix < 0).any() or not (matrix.sum(axis=0) > 0).all():
        raise ValueError(
            "`weights` must be finite and non-negative, with some weight for every class. "
            f"Received: smallest {matrix.min()}, column sums {matrix.sum(axis=0)}."
        )
    return matrix


def checked_table(label_table: Any, num_classes: int) -> LabelTable:
    """A table of the user's own: for each class the source labels that stand for it.

    Args:
        label_table: K rows of source labels, >= 0; rows may differ in length.
        num_classes: target classes K.

    Returns:
        The table as tuples.

    Raises:
        ValueError: for another number of rows, an empty row, a label used twice, or anything
            that is not the number of a label.
    """
    try:
        table = tuple(tuple(_label(label) for label in row) for row in label_table)
    except TypeError as error:
        raise ValueError(
            "`label_table` must be a list of lists of whole numbers, for each class the source "
            f"labels that stand for it. Received: {label_table!r}."
        ) from error
    if len(table) != num_classes or not all(table):
        raise ValueError(
            f"`label_table` must have a row for each of {num_classes} classes, with one source "
            f"label or more. Received: rows of lengths {[len(row) for row in table]}."
        )
    used = [label for row in table for label in row]
    if min(used) < 0 or len(set(used)) < len(used):
        twice = sorted({label for label in used if used.count(label) > 1})
        raise ValueError(
            "`label_table` must hold numbers >= 0, and no source label may stand twice. Received: "
            f"smallest {min(used)}, more than once {twice}. Pass `weights=` to share a label."
        )
    return table


def _label(label: Any) -> int:
    if isinstance(label, bool) or not isinstance(label, int | np.integer):
        raise TypeError(f"{label!r} is no whole number")
    return int(label)


def table_weights(table: Sequence[Sequence[int]], num_source_labels: int) -> np.ndarray:
    """The matrix that takes the mean score of each class's source labels.

    Args:
        table: K rows of source labels.
        num_source_labels: source labels S.

    Returns:
        float32 array `(S, K)`.

    Raises:
        ValueError: for a label that the source does not have.
    """
    largest = max(max(row) for row in table)
    if largest >= num_source_labels:
        raise ValueError(
            f"`label_table` must hold labels in [0, {num_source_labels}), those of the source. "
            f"Received: label {largest}. Number them from 0, in the order of its scores."
        )
    matrix = np.zeros((num_source_labels, len(table)), np.float32)
    for target, source_labels in enumerate(table):
        matrix[list(source_labels), target] = 1.0 / len(source_labels)
    return matrix
