"""assign_labels: examples small enough to check by hand."""

import numpy as np
import pytest
from checks.tiny_models import random_scores

from keras_reprogram import assign_labels


def assign(scores, labels, num_classes=2, **options):
    scores = np.asarray(scores, float)
    return assign_labels(
        "frequency",
        num_classes=num_classes,
        num_source_labels=scores.shape[-1],
        scores=scores,
        labels=np.asarray(labels),
        **options,
    ).tolist()


def first_places(*labels, num_labels=4):
    return np.eye(num_labels)[list(labels)]


# Label 3 answers class 0 twice and class 1 three times; label 1 answers class 0 once.
COUNTED = (first_places(3, 3, 1, 3, 3, 3, 0), [0, 0, 0, 1, 1, 1, 1])


def test_frequency_by_hand():
    assert assign(*COUNTED) == [[1], [3]]


def test_several_labels_a_class_by_hand():
    # After 3 -> 1, the labels 1 -> 0 and 0 -> 1 follow; class 0 takes what is left over.
    assert assign(*COUNTED, labels_per_class=2) == [[1, 2], [3, 0]]


def test_ties_are_decided_by_the_mean_score():
    scores = [[0.6, 0.3, 0.1], [0.6, 0.1, 0.3]]
    # Label 0 comes first in both classes: class 0 takes it, for the lower position; then class 1
    # has no first place left, and label 2 has its larger score.
    assert assign(scores, [0, 1]) == [[0], [2]]
    assert assign([[0.5, 0.4, 0.1], [0.8, 0.1, 0.1]], [0, 1]) == [[1], [0]]


def test_counts_come_before_scores():
    scores = [[0.40, 0.35, 0.25], [0.40, 0.35, 0.25], [0.05, 0.95, 0.0], [0.1, 0.2, 0.7]]
    # Label 1 has the larger mean in class 0, label 0 the larger count.
    assert assign(scores, [0, 0, 0, 1]) == [[0], [2]]


def test_weights_count_as_repeated_images():
    scores, labels = random_scores(30)[:, 0], np.arange(30) % 3
    weight = np.random.default_rng(1).integers(0, 4, 30)
    repeated = assign(np.repeat(scores, weight, axis=0), np.repeat(labels, weight), 3)
    assert assign(scores, labels, 3, sample_weight=weight) == repeated
    assert assign(scores, labels, 3) != repeated


def test_small_differences_of_weights_are_not_outvoted_by_scores():
    scores = [[0.51, 0.49, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert assign(scores, [0, 0, 1], sample_weight=[1.1, 1.0, 1.0]) == [[0], [2]]


def test_views_count_like_images():
    scores = random_scores(20, 3)
    labels = np.arange(20) % 2
    flat = assign(scores.reshape(60, -1), np.repeat(labels, 3))
    assert assign(scores, labels) == flat
    weight = np.arange(20.0)
    flat = assign(scores.reshape(60, -1), np.repeat(labels, 3), sample_weight=np.repeat(weight, 3))
    assert assign(scores, labels, sample_weight=weight) == flat


@pytest.mark.parametrize("method", ["random", "frequency"])
@pytest.mark.parametrize(("num_classes", "per_class"), [(2, 1), (3, 4), (4, 3), (12, 1)])
def test_each_class_gets_its_own_labels(method, num_classes, per_class):
    table = assign_labels(
        method,
        num_classes=num_classes,
        num_source_labels=12,
        labels_per_class=per_class,
        scores=random_scores(40, labels=12),
        labels=np.arange(40) % num_classes,
    )
    assert table.shape == (num_classes, per_class)
    assert len(np.unique(table)) == table.size
    assert 0 <= table.min() <= table.max() < 12


def test_random_depends_on_the_seed_alone():
    tables = [
        assign_labels("random", num_classes=3, num_source_labels=40, seed=seed).tolist()
        for seed in (0, 0, 1)
    ]
    assert tables[0] == tables[1] != tables[2]


def test_wrong_arguments_are_refused():
    facts = {"num_classes": 2, "num_source_labels": 4}
    with pytest.raises(ValueError, match="`method` must be one of.*Received: method='bayes'"):
        assign_labels("bayes", **facts)
    with pytest.raises(ValueError, match="pass `scores=` and `labels=`"):
        assign_labels("frequency", **facts)
    with pytest.raises(ValueError, match=r"must be \(n, 4\).*shape \(7, 3\), 7 labels"):
        assign_labels("frequency", **facts, scores=np.ones((7, 3)), labels=np.zeros(7, int))
    with pytest.raises(ValueError, match=r"with n labels.*shape \(7, 4\), 6 labels"):
        assign_labels("frequency", **facts, scores=np.ones((7, 4)), labels=np.zeros(6, int))
