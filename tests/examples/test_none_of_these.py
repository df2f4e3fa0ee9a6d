"""The script that measures calibration: its draws, its foreign images and its tables."""

import importlib
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from keras_reprogram import PredictionSets
from keras_reprogram.datasets import TargetData, load_target

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("none_of_these")
    sys.path.remove(str(FOLDER))


def target(groups=None):
    images = np.random.default_rng(0).uniform(0, 255, (60, 6, 6, 3)).astype("float32")
    labels = np.arange(60) % 3
    names = ("a", "b", "c")
    return TargetData("made", images, labels, images, labels, names, "Made.", train_groups=groups)


def test_no_group_is_fitted_on_and_calibrated_on(script):
    groups = np.arange(60) // 3
    fitted, held, _ = script.draw(target(groups), 0, 40, 20, 10)
    assert len(fitted.labels) + len(held.labels) == 60
    assert not set(fitted.groups) & set(held.groups)
    fitted, held, alike = script.draw(target(), 0, 20, 10, 15)
    assert (len(fitted.labels), len(held.labels), len(alike.labels)) == (20, 10, 15)
    pictures = np.concatenate([fitted.images, held.images, alike.images]).reshape(45, -1)
    assert held.groups is None and len(np.unique(pictures, axis=0)) == 45
    fitted, held, alike = script.draw(target(groups), 0, 20, 10, 100)
    assert len(alike.labels) and not set(alike.groups) & {*fitted.groups, *held.groups}


def test_foreign_images_fit_the_target(script):
    colour = script.foreign_images("digits", target(), 7, seed=0)
    assert colour.shape == (7, 6, 6, 3) and colour.min() >= 0 and 200 < colour.max() <= 255
    np.testing.assert_array_equal(colour[..., 0], colour[..., 2])
    same = script.foreign_images("digits", load_target("digits"), 7, seed=0)
    rows = np.random.default_rng(0).permutation(len(load_target("digits").test_labels))[:7]
    low, high = load_target("digits").target_range
    np.testing.assert_allclose(same, load_target("digits").test_images[rows], atol=1e-3 * high)
    assert low == 0


def test_accuracy_of_the_surest(script):
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.55, 0.45]])
    nothing = np.zeros(4)
    found = PredictionSets(probabilities, probabilities > 0.5, nothing, nothing, nothing, 0.9)
    labels = np.array([0, 1, 1, 1])
    shares = [script.accuracy_of_share(found, labels, share) for share in (1, 0.75, 0.5)]
    assert shares == pytest.approx([1 / 2, 2 / 3, 1])


def test_tables_hold_means_over_seeds(script):
    rows = []
    for seed, coverage in enumerate((0.9, 0.92, 0.94)):
        values = {one.name: 0.5 for one in fields(script.Row)}
        values |= {"target": "mnist", "foreign": "cifar10", "seed": seed, "alike_90": coverage}
        values |= {"n_alike": 500, "n_groups": 398, "worst_class_90_class_wise": None}
        rows.append(script.Row(**values))
    text = script.markdown(rows)
    # .02 above, with a variance of .09 (1 / 500 + 1 / 400) / 3.
    assert script.z_of(rows) == pytest.approx(0.02 / np.sqrt(0.09 * (1 / 500 + 1 / 400) / 3))
    assert "| mnist | 3 | 0.920 | +1.7 | 0.500 | 0.500, 0.500 | 0.500 |" in text
    assert "| n/a |" in text and "ham10000" not in text
