"""descend: minima of convex objectives, also where rounding hides the last descent."""

import numpy as np
import pytest

from keras_reprogram.fitting import convex_descent
from keras_reprogram.fitting.convex_descent import descend


def quadratic(curvature, centre):
    """`sum(curvature * (x - centre)^2) / 2`, and the points that were asked for."""
    asked = []

    def objective(x):
        asked.append(x)
        left = x - centre
        return float(curvature @ left**2) / 2, curvature * left

    return objective, asked


@pytest.mark.parametrize("ratio", [1.0, 10.0, 1_000.0])
def test_a_quadratic_ends_at_its_centre(ratio):
    curvature, centre = np.geomspace(1, ratio, 40), np.random.default_rng(0).normal(size=40)
    objective, asked = quadratic(curvature, centre)
    found = descend(objective, np.zeros(40), tolerance=1e-8, max_iterations=1_000)
    assert found.gradient <= 1e-8
    np.testing.assert_allclose(found.unknowns, centre, atol=1e-7)
    # Hardly a step needs a second trial.
    assert len(asked) <= 1 + 1.2 * found.iterations + 1


def test_the_first_step_on_an_identity_is_the_last():
    objective, asked = quadratic(np.ones(5), np.arange(5.0))
    found = descend(objective, np.zeros(5), tolerance=1e-8, max_iterations=10)
    assert found.iterations == 1 and len(asked) == 2


def test_steps_that_are_far_too_long_are_shortened():
    """The first step, as long as the gradient, ends a hundred times behind the centre."""
    centre = np.random.default_rng(0).normal(size=8)

    def objective(x):
        left = x - centre
        return float(np.sum(50 * left**2 + left**4)), 100 * left + 4 * left**3

    found = descend(objective, centre + 1, tolerance=1e-6, max_iterations=200)
    assert found.gradient <= 1e-6
    np.testing.assert_allclose(found.unknowns, centre, atol=1e-7)


def test_values_that_cannot_be_told_apart_do_not_end_it():
    """The value is rounded to float16; the gradient still leads to the centre."""
    curvature, centre = np.geomspace(1, 10, 20), np.full(20, 1e-3)
    exact, _ = quadratic(curvature, centre)

    def objective(x):
        value, gradient = exact(x)
        return float(np.float16(value + 1)), gradient

    found = descend(objective, np.zeros(20), tolerance=1e-9, max_iterations=100)
    assert found.gradient <= 1e-9


def test_a_gradient_of_rounding_ends_it(monkeypatch):
    monkeypatch.setattr(convex_descent, "_PATIENCE", 5)
    exact, _ = quadratic(np.ones(20), np.ones(20))
    random = np.random.default_rng(0)

    def objective(x):
        value, gradient = exact(x)
        return value, gradient + 1e-4 * random.normal(size=20)

    found = descend(objective, np.zeros(20), tolerance=1e-9, max_iterations=1_000)
    assert found.iterations < 100
    np.testing.assert_allclose(found.unknowns, 1, atol=1e-2)


def test_the_limit_of_iterations_holds():
    objective, _ = quadratic(np.geomspace(1, 1e4, 50), np.ones(50))
    found = descend(objective, np.zeros(50), tolerance=1e-12, max_iterations=3)
    assert found.iterations == 3
