"""What the ASD cross-validation is read beside: linear and kernel models on raw correlations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import RidgeClassifier
from threadpoolctl import threadpool_limits

from keras_reprogram import fit_logistic_regression
from keras_reprogram.baselines import fit_no_source
from keras_reprogram.datasets import split_validation

INNER_SHARE = 0.15
RIDGE_PENALTIES = (30.0, 300.0, 3000.0)

# Predicted classes of the test subjects, accuracy on the inner split, what was chosen there.
Prediction = tuple[np.ndarray, float | None, str]
# (rows, labels, seed, train, test) -> prediction; `train` and `test` are positions in the rows.
Baseline = Callable[[np.ndarray, np.ndarray, int, np.ndarray, np.ndarray], Prediction]


def majority(
    rows: np.ndarray, labels: np.ndarray, seed: int, train: np.ndarray, test: np.ndarray
) -> Prediction:
    """The larger class of the training subjects, for everybody."""
    del rows, seed
    return np.full(len(test), np.bincount(labels[train]).argmax()), None, ""


def ridge(
    rows: np.ndarray, labels: np.ndarray, seed: int, train: np.ndarray, test: np.ndarray
) -> Prediction:
    """Ridge regression on labels of -1 and 1; its penalty is chosen on the inner split."""
    inner, held_out = (
        train[part] for part in split_validation(train, labels[train], INNER_SHARE, seed)
    )

    def fitted(penalty: float, part: np.ndarray) -> RidgeClassifier:
        # With fewer rows than columns this solver works on the rows' products.
        with threadpool_limits(1):
            return RidgeClassifier(penalty, solver="cholesky").fit(rows[part], labels[part])

    reached = {p: fitted(p, inner).score(rows[held_out], labels[held_out]) for p in RIDGE_PENALTIES}
    best = max(reached, key=lambda penalty: reached[penalty])
    return fitted(best, train).predict(rows[test]), reached[best], f"penalty={best:g}"


def logistic_regression(
    rows: np.ndarray, labels: np.ndarray, seed: int, train: np.ndarray, test: np.ndarray
) -> Prediction:
    """What fits the output maps, on the correlations themselves."""
    fit = fit_logistic_regression(
        rows[train], labels[train], num_classes=2, validation_split=INNER_SHARE, seed=seed
    )
    predicted = (rows[test] @ fit.kernel + fit.bias).argmax(axis=1)
    choices = f"C={fit.regularization:g};spread_power={fit.spread_power:g}"
    return predicted, fit.validation_accuracy, choices


def no_source(
    rows: np.ndarray, labels: np.ndarray, seed: int, train: np.ndarray, test: np.ndarray
) -> Prediction:
    """The better of logistic regression and RBF-SVM, as everywhere in this benchmark."""
    fit = fit_no_source(
        rows[train], labels[train], num_classes=2, validation_fraction=INNER_SHARE, seed=seed
    )
    return fit.predict(rows[test]), fit.validation_accuracy, f"kind={fit.name}"


BASELINES: dict[str, Baseline] = {
    "majority": majority,
    "ridge": ridge,
    "logistic_regression": logistic_regression,
    "no_source": no_source,
}
