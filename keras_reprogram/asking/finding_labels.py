"""Checks of labels `(n, K)` of several findings an image, and of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_reprogram.asking.image_weights import checked_weights

_MOST_NAMED = 12
_ROWS = "Labels of several findings must be rows (n, {count}) of 0 and 1, a column for each finding"


def check_findings(labels: Any, num_images: int, num_classes: int) -> np.ndarray:
    """Labels `(n, K)` of 0 and 1, as integers."""
    expected = _ROWS.format(count=num_classes)
    if labels is None:
        raise ValueError(
            "Labels are needed here. Received: y=None. Pass `y`, or a data set of (x, y) batches."
        )
    try:
        given = np.asarray(labels)
    except ValueError:  # Lists of different lengths make no array.
        raise ValueError(
            f"{expected}. Received: lists of different lengths, as of finding numbers. Make rows "
            f"of them: `np.stack([np.isin(range({num_classes}), found) for found in y])`."
        ) from None
    if given.ndim == 1 or given.shape[1:] == (1,) != (num_classes,):
        raise ValueError(
            f"{expected}. Received: shape {given.shape}, one class an image. Build the output map "
            'without `targets="multi_label"`, or pass rows: '
            f"`np.eye({num_classes}, dtype=int)[y]`."
        )
    if given.ndim != 2 or given.shape[1] != num_classes:
        columns = given.shape[1] if given.ndim == 2 else None
        way = f"build the output map with num_classes={columns}" if columns else "flatten them"
        raise ValueError(
            f"{expected}. Received: shape {given.shape}. Give each finding of the map a column, or "
            f"{way}."
        )
    if len(given) != num_images:
        raise ValueError(f"{expected}, here {num_images} rows. Received: shape {given.shape}.")
    if given.dtype.kind not in "biuf":
        raise ValueError(f"{expected}. Received: dtype {given.dtype}.")
    _check_values(given, expected)
    return given.astype(int)


def _check_values(given: np.ndarray, expected: str) -> None:
    wrong = ~np.isin(given, (0, 1))
    if not wrong.any():
        return
    row, column = np.argwhere(wrong)[0]
    if np.isnan(given[row, column].astype(float)):
        unknown = np.isnan(given.astype(float))
        raise ValueError(
            f"{expected}. Received: NaN in {int(unknown.any(axis=1).sum())} rows, first in row "
            f"{row}, column {column}. A finding that nobody looked for is neither 0 nor 1: leave "
            "these images out (`~np.isnan(y).any(axis=1)`), or decide."
        )
    raise ValueError(
        f"{expected}. Received: {given[row, column]:g} in row {row}, column {column}. Turn scores "
        "into findings first, such as `(y >= 0.5).astype(int)`."
    )


def check_every_finding(labels: np.ndarray, class_names: Any, what: str = "training") -> None:
    """Raises a ValueError that names the findings that no image has, or every image."""
    always, never = labels.all(axis=0), ~labels.any(axis=0)
    if not (always | never).any():
        return
    told = [
        f"{said} {_named(np.flatnonzero(which), class_names)}"
        for said, which in (("no image has", never), ("every image has", always))
        if which.any()
    ]
    raise ValueError(
        f"Every finding needs {what} images that have it, and others that do not. Received: "
        f"{'; '.join(told)}. Add images, or leave these columns out: `keep = y.any(axis=0) & "
        "~y.all(axis=0)`, then `y[:, keep]` and a map of `keep.sum()` findings."
    )


def _named(columns: np.ndarray, class_names: Sequence[str] | None) -> str:
    names = [class_names[k] if class_names else f"finding {k}" for k in columns[:_MOST_NAMED]]
    more = len(columns) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def finding_weights(
    labels: np.ndarray, sample_weight: Any, class_weight: dict[int, float] | None
) -> np.ndarray | None:
    """Weights `(n,)` of images; with `class_weight` `(n, K)`, in which positives count that much.

    A factor on all images of a finding would change nothing, as each has a fit of its own. So the
    weight of a finding is what an image that has it counts, against 1 for one that has not.
    """
    if sample_weight is None and class_weight is None:
        return None
    weight = checked_weights(sample_weight, len(labels))
    if class_weight is None:
        return weight
    by_finding = positive_weights(class_weight, labels.shape[1])
    return weight[:, None] * np.where(labels == 1, by_finding, 1.0)


def positive_weights(class_weight: dict[int, float], num_classes: int) -> np.ndarray:
    """What an image with each finding counts, `(K,)`."""
    known = range(num_classes)
    if unknown := [name for name in class_weight if name not in known]:
        raise ValueError(
            f"`class_weight` must map finding numbers in [0, {num_classes}) to weights. Received: "
            f"{', '.join(map(repr, unknown))}. Use the position in `class_names`."
        )
    weights = np.array([class_weight.get(number, 1.0) for number in known], float)
    if not np.isfinite(weights).all() or (weights <= 0).any():
        raise ValueError(
            "`class_weight` must hold finite weights above 0 of images that have a finding. "
            f"Received: {class_weight}."
        )
    return weights
