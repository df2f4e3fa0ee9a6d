"""Checks labels and probabilities once, at the border, before anything is measured."""

from typing import Any

import numpy as np


def checked_probabilities(probabilities: Any, num_classes: int) -> np.ndarray:
    """Gives probabilities as a float64 array, or says what is wrong with them.

    Args:
        probabilities: Array-like `(n, num_classes)`, in [0, 1].
        num_classes: Number of classes, at least 2.

    Returns:
        The same numbers, float64 `(n, num_classes)`.

    Raises:
        ValueError: On another shape, no rows, NaN, or values outside [0, 1].

    Example:
        ```python
        from keras_reprogram.report.label_checks import checked_probabilities

        assert checked_probabilities([[0.25, 0.75]], num_classes=2).shape == (1, 2)
        ```
    """
    if num_classes < 2:
        raise ValueError(
            f"Expected at least two class names. Received: {num_classes}. Name both sides "
            "of a yes-or-no task, for example ['benign', 'malignant']."
        )
    scores = np.asarray(probabilities, dtype="float64")
    if scores.ndim != 2 or scores.shape[1] != num_classes:
        raise ValueError(
            "Expected `probabilities` of shape (n, classes), one column a class name. "
            f"Received: shape {scores.shape} with {num_classes} class names. For a single "
            "sigmoid output p, pass np.stack([1 - p, p], axis=1)."
        )
    if len(scores) == 0:
        raise ValueError(
            "Expected at least one example. Received: probabilities of shape "
            f"{scores.shape}. Check that the test set is not empty."
        )
    bad = ~np.isfinite(scores)
    if bad.any():
        raise ValueError(
            f"Expected finite probabilities. Received: NaN or infinity in {bad.any(axis=1).sum()} "
            f"of {len(scores)} rows, first in row {int(bad.any(axis=1).argmax())}. Check the "
            "model's output before measuring it."
        )
    # Float16 and float32 softmax may overshoot 1 by a rounding step.
    if scores.min() < -1e-3 or scores.max() > 1 + 1e-3:
        raise ValueError(
            "Expected probabilities in [0, 1]. Received: values from "
            f"{scores.min():.4g} to {scores.max():.4g}. Apply a softmax to logits first."
        )
    return scores


def class_indices(labels: Any, num_examples: int, num_classes: int) -> np.ndarray:
    """Gives labels as integers, whichever of the usual forms they have.

    Args:
        labels: Integers `(n,)` or `(n, 1)`, or one-hot `(n, num_classes)`.
        num_examples: The expected n.
        num_classes: Number of classes.

    Returns:
        int64 `(n,)`, in `[0, num_classes)`.

    Raises:
        ValueError: On another shape, fractions, NaN, rows that are not one-hot, or labels
            out of range.

    Example:
        ```python
        from keras_reprogram.report.label_checks import class_indices

        assert class_indices([[0, 1], [1, 0]], 2, 2).tolist() == [1, 0]
        ```
    """
    given = np.asarray(labels)
    if given.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected numeric labels. Received: dtype {given.dtype}. Turn names into integers "
            "first, in the order of `class_names`."
        )
    if given.shape == (num_examples, 1):
        given = given[:, 0]
    if given.shape == (num_examples, num_classes):
        return _from_one_hot(given)
    if given.shape != (num_examples,):
        raise ValueError(
            f"Expected labels of shape ({num_examples},) or one-hot ({num_examples}, "
            f"{num_classes}), one row a row of `probabilities`. Received: shape {given.shape}. "
            "Pass the labels of the examples that were predicted, in the same order."
        )
    return _from_integers(given, num_classes)


def _from_one_hot(rows: np.ndarray) -> np.ndarray:
    one_hot = np.isin(rows, (0, 1)).all(axis=1) & (rows.sum(axis=1) == 1)
    if not one_hot.all():
        first = int((~one_hot).argmax())
        raise ValueError(
            "Expected one-hot labels: a single 1 a row, 0 elsewhere. Received: row "
            f"{first} = {rows[first].tolist()}. Rows that sum to 1 may be reduced to their "
            "argmax; multi-label rows, of several findings or none, are measured one finding at "
            "a time, as two classes."
        )
    return rows.argmax(axis=1)


def _from_integers(values: np.ndarray, num_classes: int) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(values) & (values == np.floor(values))
    valid = whole & (values >= 0) & (values < num_classes)
    if not valid.all():
        first = int((~valid).argmax())
        raise ValueError(
            f"Expected integer labels in [0, {num_classes}), one class name each. Received: "
            f"label {values[first]} at index {first}. Count classes from 0, and name all of them."
        )
    return values.astype("int64")
