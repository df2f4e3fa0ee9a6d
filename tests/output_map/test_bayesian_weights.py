"""bayesian_weights and the counts below it: tables worked out by hand."""

import numpy as np
import pytest
from checks.tiny_models import random_scores

from keras_reprogram import bayesian_weights
from keras_reprogram.output_map.label_counts import label_counts, num_top_labels, observed_counts

METHODS = ["bayesian", "bayesian_plus"]


def weigh(method, scores, labels, num_classes=2, **options):
    return bayesian_weights(
        method,
        num_classes=num_classes,
        scores=np.asarray(scores, float),
        labels=np.asarray(labels),
        **options,
    )


# Label 3 answers class 0 twice and class 1 three times; label 1 answers class 0 once, and label 0
# class 1 once.
FIRST = np.eye(4)[[3, 3, 1, 3, 3, 3, 0]], [0, 0, 0, 1, 1, 1, 1]


def test_counts_by_hand():
    # Rows: 1 / (1 + 1), 1 / (1 + 1), nothing, and 2 / (5 + 1) with 3 / (5 + 1). Columns add up
    # to 5/6 and 1.
    expected = [[0, 0.5], [0.6, 0], [0, 0], [0.4, 0.5]]
    np.testing.assert_allclose(weigh("bayesian", *FIRST), expected, atol=1e-12)


def test_smoothing_by_hand():
    # Without it a label that came first once says as much as one that always did.
    found = weigh("bayesian", *FIRST, smoothing=0.0)
    np.testing.assert_allclose(found[:, 0], [0, 1 / 1.4, 0, 0.4 / 1.4], atol=1e-12)
    np.testing.assert_allclose(found[:, 1], [1 / 1.6, 0, 0, 0.6 / 1.6], atol=1e-12)


def test_top_scores_by_hand():
    scores = [[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.2, 0.7, 0.1], [0.8, 0.1, 0.1]]
    # Two classes: k = 1. Sums .6 + .5 for (0, 0), .8 for (0, 1), .7 for (1, 1); rows 2.9 and 1.7.
    one, other = 0.8 / 2.9, 0.7 / 1.7
    expected = [[1, one / (one + other)], [0, other / (one + other)], [0, 0]]
    found = weigh("bayesian_plus", scores, [0, 0, 1, 1])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_two_highest_scores_by_hand():
    # 14 classes: k = int(2.1) = 2.
    found = weigh("bayesian_plus", [[0.6, 0.3, 0.1]], [4], num_classes=14)
    shares = np.array([0.6 / 1.6, 0.3 / 1.3, 0])
    np.testing.assert_allclose(found[:, 4], shares / shares.sum(), atol=1e-12)


@pytest.mark.parametrize(
    ("num_classes", "expected"), [(2, 1), (6, 1), (7, 1), (10, 1), (14, 2), (20, 3), (100, 15)]
)
def test_number_of_highest_scores_is_the_published_one_but_never_zero(num_classes, expected):
    assert num_top_labels(num_classes, 1000) == expected
    assert num_top_labels(num_classes, 2) == min(expected, 2)


def test_labels_that_share_the_last_score_are_all_added_up():
    scores = np.array([[0.4, 0.4, 0.2], [0.1, 0.45, 0.45]])
    found = label_counts(scores, np.array([0, 1]), num_classes=2, top=1)
    np.testing.assert_array_equal(found.counts, [[0.4, 0], [0.4, 0.45], [0, 0.45]])
    np.testing.assert_array_equal(found.score_sums, scores.T)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_classes", [2, 3, 6, 12, 30])
def test_columns_are_weights_that_add_up_to_one(method, num_classes):
    scores = random_scores(90, 2, labels=12)
    weights = weigh(method, scores, np.arange(90) % num_classes, num_classes)
    assert weights.shape == (12, num_classes)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=0), 1)


@pytest.mark.parametrize("method", METHODS)
def test_a_class_that_weighs_nothing_gets_even_weights(method):
    scores, labels = random_scores(20)[:, 0], np.arange(20) % 2
    weight = (labels == 0).astype(float)
    weights = weigh(method, scores, labels, sample_weight=weight)
    np.testing.assert_allclose(weights[:, 1], 1 / 6)
    assert np.ptp(weights[:, 0]) > 0.01


@pytest.mark.parametrize("method", METHODS)
def test_answers_without_any_score_are_even(method):
    weights = weigh(method, np.zeros((4, 3)), [0, 0, 1, 1], smoothing=0.0)
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=0), 1)


@pytest.mark.parametrize("method", METHODS)
def test_weights_count_as_repeated_images_and_views_like_images(method):
    scores, labels = random_scores(30, 3), np.arange(30) % 3
    weight = np.random.default_rng(1).integers(0, 4, 30)
    repeated = weigh(method, np.repeat(scores, weight, axis=0), np.repeat(labels, weight), 3)
    found = weigh(method, scores, labels, 3, sample_weight=weight)
    np.testing.assert_allclose(found, repeated, atol=1e-12)
    flat = weigh(method, scores.reshape(90, -1), np.repeat(labels, 3), 3)
    np.testing.assert_allclose(weigh(method, scores, labels, 3), flat, atol=1e-12)
    assert np.abs(found - flat).max() > 0.01


@pytest.mark.parametrize("top", [None, 1, 3])
@pytest.mark.parametrize("form", ["integers", "column", "one-hot"])
@pytest.mark.parametrize("weighted", [False, True])
def test_counts_in_a_graph_are_those_of_stored_answers(top, form, weighted):
    scores, labels = random_scores(30, 2), np.arange(30) % 4
    scores[:5, 0] = 1 / 6  # ties
    weight = np.linspace(0, 2, 30) if weighted else None
    forms = {"integers": labels, "column": labels[:, None], "one-hot": np.eye(4)[labels]}
    expected = label_counts(scores, labels, num_classes=4, sample_weight=weight, top=top)
    found = observed_counts(scores, forms[form], weight, num_classes=4, top=top)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


WRONG = [
    ({"method": "blm"}, "`method` must be one of.*Received: method='blm'"),
    ({"smoothing": -1.0}, "`smoothing` must be at least 0. Received: -1.0"),
    ({"scores": np.full((3, 4), -2.0)}, "smallest -2.0. Take the softmax of logits"),
    ({"scores": np.full((3, 4), np.nan)}, "finite and >= 0"),
    ({"scores": np.ones((0, 4)), "labels": np.ones(0, int)}, r"at least one image.*\(0, 4\)"),
    ({"scores": np.ones((2, 4))}, r"with n labels.*shape \(2, 4\), labels of shape \(3,\)"),
    ({"scores": np.ones(3)}, r"must be \(n, S\).*shape \(3,\)"),
    ({"labels": np.array([0, 1, 2])}, r"`labels` must lie in \[0, 2\).*0 to 2"),
    ({"labels": np.array([0, 1, -1])}, r"labels from -1 to 1"),
    ({"sample_weight": np.ones(2)}, r"`sample_weight` must be \(3,\).*shape \(2,\)"),
    ({"sample_weight": -np.ones(3)}, "finite numbers >= 0.*smallest -1.0"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_arguments_are_refused(options, message):
    facts = {"method": "bayesian", "scores": np.ones((3, 4)), "labels": np.array([0, 1, 0])}
    facts |= {"num_classes": 2} | options
    with pytest.raises(ValueError, match=message):
        bayesian_weights(facts.pop("method"), **facts)
