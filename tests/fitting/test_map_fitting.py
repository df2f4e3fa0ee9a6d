"""fit_logistic_regression against scikit-learn and against itself."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from keras_reprogram import fit_logistic_regression
from keras_reprogram.fitting import map_fitting
from keras_reprogram.fitting.logistic_solver import LogisticProblem


def blobs(count=120, width=5, num_classes=3, distance=1.5, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % num_classes
    centres = random.normal(size=(num_classes, width)) * distance
    return centres[labels] + random.normal(size=(count, width)), labels


def probabilities(fit, features):
    logits = features @ fit.kernel.astype(float) + fit.bias
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def direct(features, labels, regularization, weight=None, power=1.0):
    """scikit-learn on features of mean squared norm 1, which the regularisation refers to."""
    centred = features - features.mean(axis=0)
    if power != 1.0:
        left, spread, _ = np.linalg.svd(centred, full_matrices=False)
        kept = spread > 1e-6 * spread[0]
        centred = left[:, kept] * spread[kept] ** power
    scaled = centred / np.sqrt(np.mean(np.sum(centred**2, axis=1)))
    model = LogisticRegression(C=regularization, max_iter=5000, tol=1e-8)
    return model.fit(scaled, labels, sample_weight=weight).predict_proba(scaled)


SHAPES = [(120, 5, 3), (120, 5, 2), (30, 200, 3), (30, 200, 2), (20, 20, 4)]


@pytest.mark.parametrize(("count", "width", "num_classes"), SHAPES)
def test_solution_is_scikit_learns(count, width, num_classes):
    features, labels = blobs(count, width, num_classes)
    fit = fit_logistic_regression(features, labels, num_classes=num_classes)
    assert fit.kernel.shape == (width, num_classes)
    assert fit.bias.shape == (num_classes,)
    assert fit.kernel.dtype == fit.bias.dtype == np.float32
    expected = direct(features, labels, fit.regularization, power=fit.spread_power)
    np.testing.assert_allclose(probabilities(fit, features), expected, atol=2e-3)


@pytest.mark.parametrize("power", [1.0, 0.75, 0.5])
@pytest.mark.parametrize(("count", "width"), [(120, 5), (30, 200)])
def test_axes_keep_that_power_of_their_spread(monkeypatch, power, count, width):
    monkeypatch.setattr(map_fitting, "SPREAD_POWERS", (power,))
    features, labels = blobs(count, width, 3)
    features = features * np.geomspace(1.0, 0.1, width)
    fit = fit_logistic_regression(features, labels, num_classes=3)
    assert fit.spread_power == power
    expected = direct(features, labels, fit.regularization, power=power)
    np.testing.assert_allclose(probabilities(fit, features), expected, atol=5e-3)


@pytest.mark.parametrize("absent", [0, 1, 3])
@pytest.mark.parametrize("num_present", [2, 3])
def test_absent_class_has_no_probability_and_changes_nothing(absent, num_present):
    features, labels = blobs(num_classes=num_present)
    shifted = np.where(labels >= absent, labels + 1, labels)
    fit = fit_logistic_regression(features, shifted, num_classes=4 + (num_present == 3))
    found = probabilities(fit, features)
    present = np.unique(shifted)
    assert np.delete(found, present, axis=1).max() < 1e-6
    plain = fit_logistic_regression(features, labels, num_classes=num_present)
    np.testing.assert_allclose(found[:, present], probabilities(plain, features), atol=1e-5)


def test_weights_are_repeated_rows():
    features, labels = blobs()
    weight = np.random.default_rng(1).integers(0, 4, len(labels)).astype(float)
    weighted = fit_logistic_regression(
        features, labels, num_classes=3, sample_weight=weight, validation_split=0
    )
    repeated = fit_logistic_regression(
        np.repeat(features, weight.astype(int), axis=0),
        np.repeat(labels, weight.astype(int)),
        num_classes=3,
        validation_split=0,
    )
    # Not to the last digit: the regularisation refers to the norm of the rows, repeated or not.
    np.testing.assert_allclose(
        probabilities(weighted, features), probabilities(repeated, features), atol=0.01
    )
    plain = fit_logistic_regression(features, labels, num_classes=3, validation_split=0)
    assert np.abs(probabilities(plain, features) - probabilities(weighted, features)).max() > 0.05


def test_equal_weights_are_a_regularisation_as_much_weaker():
    features, labels = blobs(distance=0.5)
    weight = np.full(len(labels), 3.0)
    fit = fit_logistic_regression(
        features, labels, num_classes=3, sample_weight=weight, validation_split=0
    )
    expected = direct(features, labels, 3 * fit.regularization)
    np.testing.assert_allclose(probabilities(fit, features), expected, atol=5e-3)


def test_validation_chooses_the_regularisation():
    noisy, labels = blobs(150, 40, distance=0.15)
    clear, _ = blobs(150, 40, distance=4.0)
    chosen = [
        fit_logistic_regression(features, labels, num_classes=3).regularization
        for features in (noisy, clear)
    ]
    assert chosen[0] < chosen[1]
    assert chosen[0] == map_fitting.REGULARIZATIONS[0]


def test_validation_accuracy_is_that_of_rows_not_fitted_on():
    features = np.random.default_rng(0).normal(size=(200, 100))
    labels = np.random.default_rng(1).integers(0, 2, 200)
    fit = fit_logistic_regression(features, labels, num_classes=2)
    assert 0.25 < fit.validation_accuracy < 0.75
    # The map itself is fitted on all rows, and knows them.
    known = (probabilities(fit, features).argmax(axis=1) == labels).mean()
    assert known > fit.validation_accuracy + 0.15


def test_seed_decides_the_validation_part():
    features, labels = blobs(distance=0.5)
    accuracies = [
        fit_logistic_regression(features, labels, num_classes=3, seed=seed).validation_accuracy
        for seed in (0, 0, 1, 2)
    ]
    assert accuracies[0] == accuracies[1]
    assert len(set(accuracies)) > 1


NOTHING_TO_HOLD_OUT = [
    ({"validation_split": 0}, blobs()),
    ({}, (np.eye(3), np.arange(3))),
]


@pytest.mark.parametrize(("options", "data"), NOTHING_TO_HOLD_OUT)
def test_nothing_held_out_takes_the_default(options, data):
    fit = fit_logistic_regression(*data, num_classes=3, **options)
    assert fit.validation_accuracy is None
    assert fit.regularization == 100.0
    assert (probabilities(fit, data[0]).argmax(axis=1) == data[1]).mean() > 0.8


def test_features_of_any_scale_give_the_same_probabilities():
    features, labels = blobs()
    found = [
        probabilities(fit_logistic_regression(part, labels, num_classes=3), part)
        for part in (features, features * 1e-4 + 5e-4, features * 1e4 - 1e5)
    ]
    np.testing.assert_allclose(found[1], found[0], atol=5e-3)
    np.testing.assert_allclose(found[2], found[0], atol=5e-3)


def test_lists_are_taken():
    features, labels = blobs(30)
    fit = fit_logistic_regression(features.tolist(), labels.tolist(), num_classes=3)
    assert fit.kernel.shape == (5, 3)


def test_a_single_class_is_refused():
    with pytest.raises(ValueError, match=r"at least two classes. Received: labels of class \[1\]"):
        fit_logistic_regression(np.eye(3), np.ones(3, int), num_classes=3)


def frames_of_tracks():
    """40 tracks of 12 frames that are nearly alike."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    tracks = rng.normal(size=(40, 60))
    tracks[:, 0] += 2 * labels - 1
    frames = np.repeat(tracks, 12, axis=0) + 0.05 * rng.normal(size=(480, 60))
    return frames, np.repeat(labels, 12), np.repeat(np.arange(40), 12)


def test_groups_keep_near_duplicates_out_of_the_choice():
    frames, labels, tracks = frames_of_tracks()
    by_frame = fit_logistic_regression(frames, labels, num_classes=2)
    by_track = fit_logistic_regression(frames, labels, num_classes=2, groups=tracks)
    assert by_frame.validation_accuracy == 1.0
    assert by_track.regularization <= 0.1 * by_frame.regularization
    assert by_track.validation_accuracy < 0.95


@pytest.mark.parametrize(
    "groups",
    [np.zeros(480, int), np.arange(480) // 240, np.repeat([0, 1, 2], 160)],
    ids=["one", "as many as classes", "a class less in training"],
)
def test_groups_that_leave_nothing_to_choose_by(groups):
    frames, labels, _ = frames_of_tracks()
    order = np.argsort(labels, kind="stable")
    fit = fit_logistic_regression(frames[order], labels[order], num_classes=2, groups=groups)
    assert fit.validation_accuracy is None or fit.validation_accuracy > 0
    assert fit.kernel.shape == (60, 2)


def test_repr_says_what_was_chosen_and_fits_a_line():
    shown = repr(fit_logistic_regression(*blobs(width=400), num_classes=3))
    assert "regularization=" in shown
    assert "kernel" not in shown and len(shown) < 150


def test_validation_accuracy_counts_by_weight():
    features, labels = blobs(60, distance=4.0)
    random = np.random.default_rng(1)
    noise = random.integers(0, 3, len(labels))
    fit = fit_logistic_regression(
        np.concatenate([features, features]),
        np.concatenate([labels, noise]),
        num_classes=3,
        sample_weight=np.repeat([1.0, 1e-6], len(labels)),
    )
    assert fit.validation_accuracy > 0.97


def test_weights_choose_the_regularisation():
    """Two kinds of images: what is easy wants little regularisation, what is noise wants much."""
    easy, labels = blobs(60, 40, distance=4.0)
    noise = np.random.default_rng(1).integers(0, 3, len(labels))
    features, both = np.concatenate([easy, -easy]), np.concatenate([labels, noise])
    chosen = []
    for weight in ([1.0, 1e-3], [1e-3, 1.0]):
        of_each = np.repeat(weight, len(labels))
        fit = fit_logistic_regression(features, both, num_classes=3, sample_weight=of_each)
        chosen.append(fit.regularization)
    assert chosen[0] > chosen[1]


def watched(monkeypatch):
    """Values of C in the order in which they are fitted."""
    tried, solve = [], LogisticProblem.solve

    def noted(problem, regularization, **options):
        tried.append(regularization)
        return solve(problem, regularization, **options)

    monkeypatch.setattr(LogisticProblem, "solve", noted)
    return tried


def test_the_search_goes_down_where_up_is_clearly_worse(monkeypatch):
    tried = watched(monkeypatch)
    noisy, labels = blobs(150, 40, distance=0.15)
    found = fit_logistic_regression(noisy, labels, num_classes=3, few=0)
    assert found.regularization == 1.0
    # The second power starts where the first one ended; last comes the fit on all rows.
    assert tried == [10.0, 30.0, 3.0, 1.0, 1.0, 3.0, 1.0]


def test_the_search_goes_up_where_that_helps(monkeypatch):
    monkeypatch.setattr(map_fitting, "SPREAD_POWERS", (1.0,))
    tried = watched(monkeypatch)
    features, labels = blobs(300, 5, distance=4.0)
    chosen = fit_logistic_regression(features, labels, num_classes=3).regularization
    assert chosen > 10.0
    assert tried[:-1] == sorted(tried[:-1])
    assert tried[-1] == chosen


@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_what_the_whole_grid_has(monkeypatch, seed):
    features, labels = blobs(200, 30, distance=0.5, seed=seed)
    found = fit_logistic_regression(features, labels, num_classes=3, seed=seed)
    monkeypatch.setattr(map_fitting, "CLEARLY_WORSE", np.inf)
    monkeypatch.setattr(map_fitting, "PATIENCE", 99)
    whole = fit_logistic_regression(features, labels, num_classes=3, seed=seed)
    assert found.regularization == whole.regularization
    assert found.spread_power == whole.spread_power
