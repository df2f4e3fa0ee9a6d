"""Ordinal fits: the model of adjacent categories, and when it is kept."""

import numpy as np
from scipy.optimize import minimize

from keras_reprogram import fit_logistic_regression
from keras_reprogram.fitting.logistic_solver import LogisticProblem, grade_directions


def graded(count=200, width=6, grades=5, noise=0.5, seed=0):
    """A linear score, cut into grades."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, width))
    score = features @ random.normal(size=width) + noise * random.normal(size=count)
    limits = np.quantile(score, np.arange(1, grades) / grades)
    return features, np.searchsorted(limits, score)


def test_directions_are_polynomials_of_the_grade():
    grades = np.array([0, 1, 3])
    found = grade_directions(grades, 1)
    np.testing.assert_allclose(found.T @ found, 1)
    np.testing.assert_allclose(
        np.diff(found[:, 0]) / np.diff(grades), (found[2, 0] - found[0, 0]) / 3
    )
    found = grade_directions(np.arange(5), 2)
    np.testing.assert_allclose(found.T @ found, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-12)


def test_degree_one_is_the_model_of_adjacent_categories():
    """Against its likelihood written out in one vector of weights, minimised without gradients."""
    features, labels = graded(60, 3, 4)
    problem = LogisticProblem(features.astype("float32"), labels, np.ones(60))
    solution = problem.solve(3.0, degree=1)
    steps = np.diff(solution.kernel, axis=1)
    np.testing.assert_allclose(steps, steps[:, :1] @ np.ones((1, 3)), atol=1e-5)

    def objective(unknowns):
        step, bias = unknowns[:3], np.append(0, unknowns[3:])
        kernel = np.outer(step, np.arange(4) - 1.5)
        logits = features @ kernel + bias
        own = logits[np.arange(60), labels]
        losses = np.log(np.exp(logits).sum(axis=1)) - own
        return np.sum(kernel**2) / 2 + 3.0 * losses.sum()

    found = minimize(objective, np.zeros(6), tol=1e-10)
    np.testing.assert_allclose(steps[:, 0], found.x[:3], atol=2e-3)


def test_full_degree_is_the_multinomial():
    features, labels = graded(80, 4, 3)
    problem = LogisticProblem(features.astype("float32"), labels, np.ones(80))
    plain, full = problem.solve(10.0), problem.solve(10.0, degree=2)
    rows = features.astype("float32")
    np.testing.assert_allclose(plain.probabilities(rows), full.probabilities(rows), atol=1e-3)


def test_the_ordinal_form_wins_where_grades_are_cuts_of_one_score():
    features, labels = graded(2120, 30, 5)
    few, rest = slice(0, 120), slice(120, None)
    fit = fit_logistic_regression(features[few], labels[few], num_classes=5, ordinal=True)
    plain = fit_logistic_regression(features[few], labels[few], num_classes=5)
    assert fit.ordinal and not plain.ordinal

    def loss(fit):
        logits = features[rest] @ fit.kernel + fit.bias
        norm = np.log(np.exp(logits).sum(axis=1))
        return (norm - logits[np.arange(len(logits)), labels[rest]]).mean()

    assert loss(fit) < loss(plain)


def test_the_multinomial_is_kept_where_numbers_have_no_order():
    random = np.random.default_rng(0)
    labels = np.arange(400) % 5
    centres = np.eye(5)[[3, 0, 4, 1, 2]] * 3
    features = centres[labels] + random.normal(size=(400, 5))
    fit = fit_logistic_regression(features, labels, num_classes=5, ordinal=True)
    plain = fit_logistic_regression(features, labels, num_classes=5)
    assert not fit.ordinal
    np.testing.assert_array_equal(fit.kernel, plain.kernel)


def test_without_validation_nothing_can_win():
    features, labels = graded()
    fit = fit_logistic_regression(features, labels, num_classes=5, ordinal=True, validation_split=0)
    assert not fit.ordinal
