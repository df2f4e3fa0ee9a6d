"""Greedy choice of views: exact leave-one-out errors, informative views first."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from keras_reprogram.fitting import view_selection
from keras_reprogram.fitting.view_selection import ViewPool

CLASSES = 3


def pool_with(informative, count=60, views=5, noise=1.0, seed=0):
    """Features of which some views know one class each."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    features = random.normal(0, noise, size=(count, views, 4))
    for view, known in informative.items():
        features[:, view, 0] += 3.0 * (labels == known)
    return ViewPool(features, labels, CLASSES)


def test_error_is_that_of_leaving_each_image_out(monkeypatch):
    monkeypatch.setattr(view_selection, "_PENALTIES", (1e-2,))
    pool = pool_with({1: 0}, count=20)
    features = pool.features[:, [1, 2]].reshape(20, -1)
    targets = np.eye(CLASSES)[pool.labels]
    targets = targets - targets.mean(axis=0)
    penalty = 1e-2 * 20 * np.mean(np.sum(features**2, axis=1))
    residuals = []
    for row in range(20):
        others = np.arange(20) != row
        ridge = Ridge(penalty, fit_intercept=False).fit(features[others], targets[others])
        residuals.append(targets[row] - ridge.predict(features[row : row + 1])[0])
    assert pool.error((1, 2)) == pytest.approx(np.mean(np.square(residuals)), rel=1e-6)


def test_views_that_know_something_come_first_and_complete_each_other():
    order = pool_with({3: 0, 4: 0, 1: 1}).choose(3)
    # View 4 knows what view 3 knows: the other class is worth more than seeing it twice.
    assert 1 in order.views[:2]
    assert set(order.views[:2]) & {3, 4}
    assert order.errors[0] > order.errors[1]
    assert order.accuracies[1] > order.accuracies[0] > 1 / CLASSES


def test_choice_among_some_views():
    pool = pool_with({3: 0, 1: 1})
    assert set(pool.choose(2, among=(0, 2)).views) == {0, 2}
    assert pool.choose(2).errors[-1] == pytest.approx(pool.error(pool.choose(2).views))


@pytest.mark.parametrize("num_views", [0, 6])
def test_choice_beyond_the_pool_is_refused(num_views):
    with pytest.raises(ValueError, match=f"the pool's 5 views. Received: num_views={num_views}"):
        pool_with({}).choose(num_views)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((4, 2)), np.zeros(4, int), r"\(n, views, d\).*Received: shapes \(4, 2\)"),
        (np.zeros((4, 2, 3)), np.zeros(5, int), "n labels"),
        (np.zeros((1, 2, 3)), np.zeros(1, int), "at least 2 images"),
        (np.full((4, 2, 3), np.nan), np.zeros(4, int), "must be finite"),
    ],
)
def test_wrong_features_are_refused(features, labels, message):
    with pytest.raises(ValueError, match=message):
        ViewPool(features, labels, 2)


def test_weighted_error_is_that_of_leaving_each_weighted_image_out(monkeypatch):
    monkeypatch.setattr(view_selection, "_PENALTIES", (1e-2,))
    plain = pool_with({1: 0}, count=20)
    weight = np.random.default_rng(2).uniform(0, 3, 20)
    pool = ViewPool(plain.features, plain.labels, CLASSES, weight)
    share = weight / weight.mean()
    features = pool.features[:, [1, 2]].reshape(20, -1)
    targets = np.eye(CLASSES)[pool.labels]
    targets = targets - np.average(targets, axis=0, weights=weight)
    penalty = 1e-2 * 20 * np.mean(share * np.sum(features**2, axis=1))
    errors = []
    for row in range(20):
        others = np.arange(20) != row
        ridge = Ridge(penalty, fit_intercept=False)
        ridge.fit(features[others], targets[others], sample_weight=share[others])
        found = ridge.predict(features[row : row + 1])[0]
        errors.append(np.mean(np.square(targets[row] - found)))
    assert pool.error((1, 2)) == pytest.approx(np.average(errors, weights=weight), rel=1e-6)
    assert pool.error((1, 2)) != pytest.approx(plain.error((1, 2)), rel=1e-3)


def test_views_are_chosen_for_the_images_that_count():
    plain = pool_with({3: 0, 4: 1})
    for left_out, view in ((1, 3), (0, 4)):
        weight = np.where(plain.labels == left_out, 0.01, 1.0)
        assert ViewPool(plain.features, plain.labels, CLASSES, weight).choose(1).views == (view,)


def test_equal_weights_and_images_left_out():
    plain = pool_with({3: 0, 1: 1})
    equal = ViewPool(plain.features, plain.labels, CLASSES, np.full(60, 7.0))
    assert equal.error((1, 3)) == pytest.approx(plain.error((1, 3)))
    some = np.arange(60) >= 20
    left = ViewPool(plain.features, plain.labels, CLASSES, some.astype(float))
    alone = ViewPool(plain.features[some], plain.labels[some], CLASSES)
    assert left.choose(2) == alone.choose(2)


@pytest.mark.parametrize("weight", [np.ones(3), -np.ones(4), np.array([1.0, 0, 0, 0])])
def test_wrong_weights_are_refused(weight):
    with pytest.raises(ValueError, match=r"must be \(4,\), non-negative, and above 0 for 2 images"):
        ViewPool(np.zeros((4, 2, 3)), np.zeros(4, int), 2, weight)
