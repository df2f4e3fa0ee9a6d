"""Exact fits of soft labels: the same minimum as rows repeated once a class."""

import numpy as np
import pytest

from keras_reprogram.fitting import fit_logistic_regression
from keras_reprogram.fitting.logistic_solver import LogisticProblem
from keras_reprogram.fitting.soft_fit import SoftFits
from keras_reprogram.fitting.validation import split_validation

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_soft_labels_are_rows_repeated_once_a_class(num_classes):
    rows = RANDOM.normal(size=(60, 5)).astype(np.float32)
    soft = RANDOM.dirichlet(np.ones(num_classes), 60).astype(np.float32)
    weight = RANDOM.uniform(0.5, 2, 60)
    found = LogisticProblem(rows, soft, weight).solve(10.0, tolerance=1e-6)
    repeated = np.repeat(rows, num_classes, axis=0)
    classes = np.tile(np.arange(num_classes), 60)
    expected = LogisticProblem(repeated, classes, (weight[:, None] * soft).ravel()).solve(
        10.0, tolerance=1e-6
    )
    np.testing.assert_allclose(found.kernel, expected.kernel, atol=1e-4)
    np.testing.assert_allclose(found.probabilities(rows), expected.probabilities(rows), atol=1e-4)


def test_a_class_without_any_probability_is_left_out():
    rows = RANDOM.normal(size=(40, 3)).astype(np.float32)
    soft = np.zeros((40, 4), np.float32)
    soft[:, [0, 3]] = RANDOM.dirichlet(np.ones(2), 40)
    solution = LogisticProblem(rows, soft, np.ones(40)).solve(10.0)
    assert solution.classes.tolist() == [0, 3] and solution.kernel.shape == (3, 2)


def test_one_hot_labels_give_the_fit_of_integer_labels():
    features = RANDOM.normal(size=(90, 6)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(int) + (features[:, 1] > 0)
    # One split, as soft fits have it.
    expected = fit_logistic_regression(features, labels, num_classes=3, few=0)
    train, validation = split_validation(labels, labels, 0.2, 0)
    fits = SoftFits(features, train, validation, num_classes=3)
    one_hot, weight = np.eye(3, dtype=np.float32)[labels], np.ones(90)
    trial = fits.trial(one_hot, weight)
    found = fits.fit(one_hot, weight, trial)
    assert found.regularization == expected.regularization
    assert trial.score.accuracy == pytest.approx(expected.validation_accuracy)
    np.testing.assert_allclose(found.kernel, expected.kernel, atol=2e-3)


def test_weight_zero_is_no_row():
    features = RANDOM.normal(size=(80, 4)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(int)
    targets, weight = np.eye(2, dtype=np.float32)[labels], np.ones(80)
    weight[60:] = 0
    fits = SoftFits(features, np.arange(20, 80), np.arange(20), num_classes=2)
    trial = fits.trial(targets, weight)
    turned = targets.copy()
    turned[60:] = turned[60:, ::-1]
    np.testing.assert_allclose(
        fits.fit(targets, weight, trial).kernel, fits.fit(turned, weight, trial).kernel, atol=1e-5
    )
