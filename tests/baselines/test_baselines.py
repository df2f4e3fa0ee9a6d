"""Shallow classifiers without a source, and on its features."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from keras_reprogram.baselines import fit_linear_head, fit_no_source, shallow
from keras_reprogram.baselines.fit_best import Candidate, fit_best
from keras_reprogram.baselines.shallow import RbfSvm
from keras_reprogram.datasets import load_digits, load_target


def blobs(num: int = 60, num_classes: int = 3, size: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class is the place of a bright row, on some noise."""
    labels = np.arange(num) % num_classes
    images = np.random.default_rng(0).integers(0, 60, (num, size, size, 1), dtype=np.uint8)
    images[np.arange(num), labels] += 150
    return images, labels


def rings(num: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Two rings around one centre: no linear model tells them apart."""
    rng = np.random.default_rng(0)
    labels = np.arange(num) % 2
    angle, radius = rng.uniform(0, 2 * np.pi, num), 1 + labels + rng.normal(scale=0.1, size=num)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return (128 + 40 * points).astype(np.uint8).reshape(num, 1, 2, 1), labels


def test_digits_reach_what_a_kernel_machine_reaches() -> None:
    digits = load_digits()
    small = digits.draw(400, None, seed=0)
    baseline = fit_no_source(small.train_images, small.train_labels, num_classes=10)
    assert baseline.evaluate(digits.test_images, digits.test_labels) > 0.95
    assert 0.9 < baseline.validation_accuracy <= 1
    assert baseline.num_train == 400
    assert baseline.converged


def test_the_better_family_is_chosen() -> None:
    images, labels = rings()
    assert fit_no_source(images, labels, num_classes=2).name == "RBF-SVM on pixels"
    images, labels = blobs()
    assert fit_no_source(images, labels, num_classes=3).name == "logistic regression on pixels"


def test_predictions_are_labels_and_one_image_is_enough() -> None:
    images, labels = blobs()
    baseline = fit_no_source(images, labels, num_classes=3)
    assert baseline.predict(images[:1]).tolist() == [0]
    assert baseline.predict(images).dtype == np.int64
    assert baseline.predict(images[:0]).shape == (0,)
    assert baseline.evaluate(images, labels) == 1


def test_labels_need_not_be_dense() -> None:
    images, labels = blobs()
    baseline = fit_no_source(images, labels * 4 + 1, num_classes=10)
    assert set(baseline.predict(images)) == {1, 5, 9}


@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (partial(LogisticRegression, C=1.0), LogisticRegression(C=1.0)),
        (partial(RbfSvm, C=10.0, gamma=1.0), SVC(C=10.0, gamma=1.0)),
    ],
)
def test_more_features_than_images_give_the_answers_of_the_plain_fit(
    make: Any, reference: Any
) -> None:
    images, labels = blobs(num=40, size=12)
    new = blobs(num=90, size=12)[0][40:]
    new[::2] //= 2
    plain, mean = images.reshape(40, -1), images.reshape(40, -1).mean(axis=0)
    scale = np.sqrt(np.square(plain - mean).sum(axis=1).mean())
    reference.fit((plain - mean) / scale, labels)
    baseline = fit_best([Candidate("x", make)], images, labels, num_classes=3)
    assert baseline.rotation.axes.shape == (144, 39)
    expected = reference.predict((new.reshape(50, -1) - mean) / scale)
    assert len(set(expected)) == 3
    assert np.array_equal(baseline.predict(new), expected)


def test_large_training_sets_are_drawn_for_the_svm_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shallow, "MOST_SVM_IMAGES", 100)
    images, labels = rings()
    baseline = fit_no_source(images, labels, num_classes=2)
    assert baseline.name == "RBF-SVM on pixels (100 of 300 images)"
    assert baseline.num_train == 100


def test_solver_that_stops_early_is_reported_and_silent() -> None:
    images, labels = blobs()
    candidate = Candidate("short", partial(LogisticRegression, C=1e6, max_iter=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fit_best([candidate], images, labels, num_classes=3).converged


def test_other_warnings_come_through() -> None:
    class Warns(LogisticRegression):
        def fit(self, *arguments: Any) -> Any:
            warnings.warn("mind this", UserWarning, stacklevel=2)
            return super().fit(*arguments)

    with pytest.warns(UserWarning, match="mind this"):
        fit_best([Candidate("warns", Warns)], *blobs(), num_classes=3)


def test_same_seed_same_baseline() -> None:
    images, labels = blobs(num=90)
    images = images // 3 + np.random.default_rng(5).integers(0, 150, images.shape, dtype=np.uint8)
    first, second = (fit_no_source(images, labels, num_classes=3, seed=7) for _ in range(2))
    assert first.validation_accuracy == second.validation_accuracy
    assert np.array_equal(first.predict(images), second.predict(images))


def test_groups_keep_copies_out_of_validation() -> None:
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 256, (40, 5, 5, 1), dtype=np.uint8), 5, axis=0)
    labels = np.repeat(np.arange(40) % 2, 5)
    leaky = fit_no_source(images, labels, num_classes=2)
    honest = fit_no_source(images, labels, num_classes=2, groups=np.arange(200) // 5)
    assert leaky.validation_accuracy == 1
    assert honest.validation_accuracy < 0.9


def test_linear_head_chooses_on_validation_and_takes_features() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    features = np.eye(4)[labels] @ rng.normal(size=(4, 30)) + rng.normal(scale=0.3, size=(200, 30))
    head = fit_linear_head(features[:120], labels[:120], num_classes=4)
    assert head.name == "linear head on features"
    assert head.evaluate(features[120:], labels[120:]) > 0.95


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((6, 2, 2, 1)), np.zeros(6, int), "two or more classes"),
        (np.zeros((6, 2, 2, 1)), np.array([0, 1, 2, 3, 0, 1]), r"in 0\.\.2"),
        (np.zeros((6, 2, 2, 1)), np.array([0, 1, -1, 0, 1, 0]), r"in 0\.\.2"),
        (np.zeros((6, 2, 2, 1)), np.eye(6, 3, dtype=int), "argmax"),
        (np.zeros((6, 2, 2, 1)), np.zeros(6), "float64"),
        (np.full((6, 2, 2, 1), np.nan), np.arange(6) % 3, "NaN"),
        (np.zeros((5, 2, 2, 1)), np.arange(6) % 3, "one integer label per"),
        (np.eye(3), np.arange(3), "at least two images"),
    ],
)
def test_bad_training_data_are_refused(
    images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_no_source(images, labels, num_classes=3)


def test_bad_test_data_are_refused() -> None:
    images, labels = blobs()
    baseline = fit_no_source(images, labels, num_classes=3)
    with pytest.raises(ValueError, match="16 values"):
        baseline.predict(np.zeros((2, 5, 5, 1)))
    with pytest.raises(ValueError, match="at least one image"):
        baseline.evaluate(images[:0], labels[:0])
    with pytest.raises(ValueError, match="labels of shape"):
        baseline.evaluate(images, labels[:5])


def test_linear_head_wants_flat_features() -> None:
    with pytest.raises(ValueError, match="Pool or flatten"):
        fit_linear_head(np.zeros((6, 2, 2, 1)), np.arange(6) % 2, num_classes=2)


@pytest.mark.parametrize("pixels", [2, 6])
def test_identical_images_do_not_divide_by_zero(pixels: int) -> None:
    images = np.zeros((8, pixels, pixels, 1))
    assert fit_no_source(images, np.arange(8) % 2, num_classes=2).predict(images).shape == (8,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "images", "accuracy"), [("digits", 1000, 0.985), ("mnist", 2000, 0.94)]
)
def test_accuracy_that_results_are_printed_beside(
    name: str, images: int, accuracy: float, reprogram_data: Path
) -> None:
    target = load_target(name).draw(images, None, seed=0)
    baseline = fit_no_source(target.train_images, target.train_labels, num_classes=10)
    assert baseline.evaluate(target.test_images, target.test_labels) >= accuracy


def test_weights_count_in_fit_and_choice():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [90, 18])
    rows = random.normal(size=(108, 4)) + 1.2 * labels[:, None]
    weight = np.where(labels, 108 / 36, 108 / 180)
    for fit in (fit_linear_head, fit_no_source):
        inputs = rows if fit is fit_linear_head else rows.reshape(108, 2, 2, 1)
        plain = fit(inputs, labels, num_classes=2)
        weighted = fit(inputs, labels, num_classes=2, sample_weight=weight)
        found = [(one.predict(inputs)[labels == 1] == 1).mean() for one in (plain, weighted)]
        assert found[1] > found[0]
    candidate = Candidate("says 0", partial(DummyClassifier, strategy="constant", constant=0))
    for given, expected in ((None, 90 / 108), (weight, 0.5)):
        chosen = fit_best([candidate], rows, labels, num_classes=2, sample_weight=given)
        assert chosen.validation_accuracy == pytest.approx(expected, abs=0.03)
    with pytest.raises(ValueError, match=r"`sample_weight` of shape \(108,\)"):
        fit_linear_head(rows, labels, num_classes=2, sample_weight=np.ones(3))


def test_a_class_without_weight_is_left_out():
    labels = np.arange(60) % 3
    rows = np.eye(3)[labels] + np.random.default_rng(0).normal(0, 0.2, (60, 3))
    weight = (labels != 2).astype(float)
    for fit in (fit_linear_head, fit_no_source):
        inputs = rows if fit is fit_linear_head else rows.reshape(60, 1, 3, 1)
        found = fit(inputs, labels, num_classes=3, sample_weight=weight).predict(inputs)
        assert (found[labels != 2] == labels[labels != 2]).all() and found.max() == 1
