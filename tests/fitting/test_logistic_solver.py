"""LogisticProblem: the minimum, whatever the spreads of the columns."""

import numpy as np
import pytest
from scipy.optimize import minimize

from keras_reprogram.fitting import logistic_solver
from keras_reprogram.fitting.logistic_solver import LogisticProblem


def solve_logistic(rows, labels, weight, regularization, **options):
    return LogisticProblem(rows, labels, weight).solve(regularization, **options)


def rows_of(count, width, num_classes, ratio=1e-3, seed=0):
    """Features along axes whose spreads differ by thousands, as log-scores have them."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % num_classes
    centres = random.normal(size=(num_classes, width)) / 3
    rows = random.normal(size=(count, width)) + centres[labels]
    rows -= rows.mean(axis=0)
    _, axes = np.linalg.eigh(rows.T @ rows)
    rows = rows @ axes * np.geomspace(1, ratio, width)
    return rows / np.sqrt(np.mean(np.sum(rows**2, axis=1))), labels


def objective(unknowns, rows, labels, weight, regularization):
    """As documented, in float64, with numbers of its own: value and gradient."""
    num_classes = len(np.unique(labels))
    weights = unknowns.reshape(-1, num_classes)
    logits = rows @ weights[:-1] + weights[-1]
    logits -= logits.max(axis=1, keepdims=True)
    odds = np.exp(logits)
    norm = odds.sum(axis=1)
    own = np.arange(len(labels)), labels
    penalty = 2.0 if num_classes == 2 else 1.0
    value = regularization * weight @ (np.log(norm) - logits[own])
    value += penalty / 2 * np.sum(weights[:-1] ** 2)
    errors = odds / norm[:, None]
    errors[own] -= 1
    errors *= regularization * weight[:, None]
    gradient = np.vstack([rows.T @ errors + penalty * weights[:-1], errors.sum(axis=0)])
    return value, gradient.ravel()


def value_of(solution, *data):
    unknowns = np.vstack([solution.kernel, solution.bias])
    return objective(unknowns.ravel(), *data)[0]


def to_machine_precision(rows, labels, weight, regularization):
    """The minimum by Newton steps on the exact objective, from zeros."""
    num_classes = len(np.unique(labels))
    extended = np.hstack([rows, np.ones((len(rows), 1))])
    unknowns = np.zeros((extended.shape[1], num_classes))
    penalty = (2.0 if num_classes == 2 else 1.0) * np.ones(extended.shape[1])
    penalty[-1] = 0
    for _ in range(100):
        value, gradient = objective(unknowns.ravel(), rows, labels, weight, regularization)
        if np.abs(gradient).max() < 1e-9 * regularization:
            return value
        logits = extended @ unknowns
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        p = odds / odds.sum(axis=1, keepdims=True)
        curvature = p[:, :, None] * (np.eye(num_classes) - p[:, None, :])
        curvature *= regularization * weight[:, None, None]
        hessian = np.einsum("ni,nkl,nj->ikjl", extended, curvature, extended)
        size = unknowns.size
        hessian = hessian.reshape(size, size) + np.diag(np.repeat(penalty, num_classes))
        step = np.linalg.lstsq(hessian, gradient, rcond=1e-14)[0].reshape(unknowns.shape)
        share = 1.0
        while share > 1e-6:
            tried = (unknowns - share * step).ravel()
            if objective(tried, rows, labels, weight, regularization)[0] <= value:
                break
            share /= 2
        unknowns = unknowns - share * step
    return objective(unknowns.ravel(), rows, labels, weight, regularization)[0]


@pytest.mark.parametrize("regularization", [1.0, 100.0, 1_000.0, 10_000.0])
@pytest.mark.parametrize(("count", "width", "num_classes"), [(200, 12, 3), (150, 30, 2)])
def test_objective_is_at_its_minimum(count, width, num_classes, regularization):
    rows, labels = rows_of(count, width, num_classes)
    weight = np.random.default_rng(1).uniform(0, 2, count)
    data = rows, labels, weight, regularization
    found, least = value_of(solve_logistic(*data), *data), to_machine_precision(*data)
    assert least <= found * (1 + 1e-9)
    # The tolerance is one of the mean loss: a millionth of an image's cross-entropy.
    assert found - least < 1e-6 * regularization * weight.sum()
    assert found / least - 1 < 1e-3


def test_wide_rows_end_at_the_minimum_of_a_long_plain_descent():
    """More unknowns than Newton's steps can take: scipy's own, from the solution, gains nothing."""
    rows, labels = rows_of(300, 250, 10, ratio=3e-4)
    data = rows, labels, np.ones(300), 1_000.0
    solution = solve_logistic(*data)
    start = np.vstack([solution.kernel, solution.bias]).ravel()
    options = {"maxiter": 5_000, "maxfun": 10_000, "ftol": 0.0, "gtol": 1e-8, "maxcor": 50}
    better = minimize(objective, start, data, jac=True, method="L-BFGS-B", options=options)
    assert value_of(solution, *data) / better.fun - 1 < 1e-3


def test_a_start_changes_the_way_and_not_the_end():
    rows, labels = rows_of(200, 40, 4)
    weight = np.ones(200)
    near = solve_logistic(rows, labels, weight, 300.0)
    warm = solve_logistic(rows, labels, weight, 1_000.0, start=near)
    cold = solve_logistic(rows, labels, weight, 1_000.0)
    np.testing.assert_allclose(warm.probabilities(rows), cold.probabilities(rows), atol=2e-3)
    assert warm.iterations < cold.iterations
    others = solve_logistic(rows, labels + 3, weight, 1_000.0, start=near)
    np.testing.assert_array_equal(others.classes, [3, 4, 5, 6])


def test_products_that_float32_cannot_tell_apart_are_taken_in_float64():
    rows, labels = rows_of(200, 10, 3)
    data = rows, labels, np.ones(200), 1_000.0
    fine = solve_logistic(*data, tolerance=1e-8)
    assert fine.gradient <= 1e-8
    assert value_of(fine, *data) / to_machine_precision(*data) - 1 < 1e-9


def test_a_fit_that_ends_too_early_says_so(monkeypatch):
    rows, labels = rows_of(200, 40, 4)
    monkeypatch.setattr(logistic_solver, "_MAX_ITERATIONS", 2)
    with pytest.warns(UserWarning, match=r"ended after \d+ iterations before its minimum"):
        solve_logistic(rows, labels, np.ones(200), 1_000.0)
