"""Readings of several views: kernels of the right shape, and the fit that they mean."""

import numpy as np
import pytest

from keras_reprogram.fitting import fit_logistic_regression
from keras_reprogram.fitting.view_selection import READINGS, solve_views

VIEWS, WIDTH, CLASSES = 3, 4, 3


def answers(count=90, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    known = 2.0 * np.eye(CLASSES, WIDTH)[labels]
    return random.normal(size=(count, VIEWS, WIDTH)) + known[:, None], labels


def solved(reading, views, labels):
    flat = views.reshape(len(views), -1)
    return solve_views(VIEWS, reading, flat, labels, None, num_classes=CLASSES)


def test_each_view_is_the_plain_fit():
    views, labels = answers()
    plain = fit_logistic_regression(views.reshape(90, -1), labels, num_classes=CLASSES)
    np.testing.assert_array_equal(solved("each view", views, labels).kernel, plain.kernel)


@pytest.mark.parametrize(
    ("reading", "read"),
    [("mean of the views", lambda v: v.mean(axis=1)), ("first view", lambda v: v[:, 0])],
)
def test_reading_equals_a_fit_on_what_is_read(reading, read):
    views, labels = answers()
    fit = solved(reading, views, labels)
    small = fit_logistic_regression(read(views), labels, num_classes=CLASSES)
    np.testing.assert_allclose(
        views.reshape(90, -1) @ fit.kernel + fit.bias,
        read(views) @ small.kernel + small.bias,
        atol=1e-4,
    )


def test_first_view_leaves_the_others_alone():
    kernel = solved("first view", *answers()).kernel
    assert not kernel[WIDTH:].any()
    assert kernel[:WIDTH].any()


def test_mean_wins_where_views_are_noisy_copies():
    views, labels = answers(count=60)
    more, more_labels = answers(count=600, seed=1)
    hits = {}
    for reading in READINGS:
        fit = solved(reading, views, labels)
        predicted = (more.reshape(600, -1) @ fit.kernel + fit.bias).argmax(axis=1)
        hits[reading] = (predicted == more_labels).mean()
    assert hits["mean of the views"] >= hits["each view"] > hits["first view"]


def test_unknown_reading_is_refused():
    with pytest.raises(ValueError, match="`reading` must be one of .*Received: reading='best'"):
        solved("best", *answers())
