"""The script that measures findings and grades: its draws, and what it compares."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from keras_reprogram.datasets import TargetData

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("several_findings")
    sys.path.remove(str(FOLDER))


def target():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (90, 6, 6, 3), np.uint8)
    labels = np.stack([np.arange(90) % 3 == 0, np.arange(90) % 9 == 1], axis=1).astype(int)
    return TargetData("made", images, labels, images, labels, ("common", "rare"), "Made.")


def test_draws_are_positions_in_one_pool(script):
    made = target()
    pool, draws = script._pool(made, 50, 60, 3)
    assert len(pool.test_images) == 60 and [len(rows) for rows in draws] == [50, 50, 50]
    used = np.unique(np.concatenate(draws))
    np.testing.assert_array_equal(used, np.arange(len(pool.train_images)))
    assert all(pool.train_labels[rows].any(axis=0).all() for rows in draws)
    assert len({tuple(rows) for rows in draws}) == 3


def test_the_objective_is_what_scikit_learn_minimises(script):
    random = np.random.default_rng(0)
    rows, labels = random.normal(size=(60, 3)), np.arange(60) % 2
    fit = LogisticRegression(C=3.0, tol=1e-10).fit(rows, labels)
    best = script._objective(rows, labels, fit.coef_[0], fit.intercept_[0], 3.0)
    for step in (1e-2, -1e-2):
        assert script._objective(rows, labels, fit.coef_[0] + step, fit.intercept_[0], 3.0) > best
        assert script._objective(rows, labels, fit.coef_[0], fit.intercept_[0] + step, 3.0) > best
