"""labels_for: converts labels to the form that a loss accepts, found by trying the loss."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.estimators.gradient_estimator import row_loss

NUMBERS, COLUMN, ONE_HOT = "(n,) integers", "(n, 1) integers", "(n, K) one-hot rows"
FORMS = (NUMBERS, COLUMN, ONE_HOT)
# Enough classes to see whether a loss tells them apart.
_ASKED_CLASSES = 3
# Of float32 losses, as a share of the largest.
_ROUNDING = 1e-5


def labels_for(loss: Any, given: Any, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Labels in a form that the loss reads: as they came, if it reads those."""
    # Neither the name nor the class of a loss says which labels it takes, because functions and
    # subclasses have any signature. So the loss is evaluated on predictions that are certain of one
    # class: it reads a form of labels if no other prediction has a smaller loss than the right one,
    # and some have a larger loss. A squared error, for example, also returns numbers for integers,
    # but they do not depend on which class is right.
    given = np.asarray(given)
    came = NUMBERS if given.ndim == 1 else ONE_HOT if given.shape[1] == num_classes else COLUMN
    failures = {}
    for form in sorted(FORMS, key=lambda form: form != came):
        failures[form] = _failure(loss, form, num_classes)
        if not failures[form]:
            return given if form == came else as_form(labels, form, num_classes)
    reasons = "; ".join(f"{form}: {failure}" for form, failure in failures.items())
    raise ValueError(
        "Estimated steps need a loss with one number per image that is smallest when the right "
        f"class is predicted. Received: loss={loss!r}, which for {reasons}. Pass one such as "
        '"sparse_categorical_crossentropy" to `compile(loss=...)`.'
    )


def as_form(labels: np.ndarray, form: str, num_classes: int) -> np.ndarray:
    """Integer labels in one of `FORMS`."""
    if form == ONE_HOT:
        return np.eye(num_classes, dtype=np.float32)[labels]
    return labels if form == NUMBERS else labels[:, None]


def _failure(loss: Any, form: str, num_classes: int) -> str:
    """The error with which a loss rejects labels of this form, or `None`."""
    rows = row_loss(loss)
    classes = np.unique(np.linspace(0, num_classes - 1, _ASKED_CLASSES).astype(int))
    right, predicted = (part.reshape(-1) for part in np.meshgrid(classes, classes, indexing="ij"))
    # Made by a softmax, as an output map's are: Keras looks for its inputs.
    sure = np.eye(num_classes, dtype=np.float32)[predicted] * np.log(4.0 * num_classes)
    probabilities = keras.activations.softmax(ops.convert_to_tensor(sure, "float32"))
    asked = ops.cast(as_form(right, form, num_classes), "float32")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = ops.convert_to_numpy(rows(asked, probabilities))
    except Exception as error:  # Whatever a user's own function raises, it does not read these.
        return f"raises {type(error).__name__}: {str(error).strip().splitlines()[0]}"
    table = found.reshape(len(classes), len(classes))
    if not np.isfinite(table).all():
        return "is not finite"
    beyond, rounding = table - np.diagonal(table)[:, None], _ROUNDING * np.abs(table).max()
    tells = (beyond > -rounding).all() and (beyond > rounding).any()
    return "" if tells else "does not tell classes apart"


def check_findings_loss(loss: Any, num_classes: int) -> None:
    """Refuses a loss for several findings that is not smallest where all findings are right."""
    rows, reason = row_loss(loss), ""
    nothing, everything = np.zeros((1, num_classes)), np.ones((1, num_classes))
    asked = np.concatenate([nothing, np.eye(num_classes)[[0, -1]], everything]).astype(np.float32)
    right, predicted = (
        part.ravel() for part in np.meshgrid(range(len(asked)), range(len(asked)), indexing="ij")
    )
    probabilities = keras.activations.sigmoid(ops.convert_to_tensor(8.0 * asked[predicted] - 4.0))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = ops.convert_to_numpy(rows(ops.convert_to_tensor(asked[right]), probabilities))
        table = found.reshape(len(asked), len(asked))
        beyond = table - np.diagonal(table)[:, None]
        others = beyond[~np.eye(len(asked), dtype=bool)]
        if not np.isfinite(table).all() or not (others > _ROUNDING * np.abs(table).max()).all():
            reason = "is not smallest where all findings are right"
    except Exception as error:  # As in `_failure`.
        reason = f"raises {type(error).__name__}: {str(error).strip().splitlines()[0]}"
    if reason:
        raise ValueError(
            "A map of several findings needs a loss that reads rows (n, K) of 0 and 1, and "
            f"sigmoids. Received: loss={loss!r}, which {reason}. Pass "
            '"binary_crossentropy", or `keras.losses.BinaryCrossentropy()`, to `compile(loss=...)`.'
        )
