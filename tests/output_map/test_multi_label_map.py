"""MultiLabelMap: the papers' mean, renormalised, whatever the mass."""

import numpy as np
import pytest
from checks.check_output_map import as_array, fitted
from checks.tiny_models import random_scores

from keras_reprogram import MultiLabelMap, assign_labels, bayesian_weights


def table_of(output_map):
    """Which source labels stand for which class."""
    weights = as_array(output_map.label_weights)
    return [np.flatnonzero(column).tolist() for column in weights.T]


@pytest.mark.parametrize("mass", [1.0, 1e-3, 1e-12, 1e-20])
def test_rows_sum_to_one_whatever_mass_the_classes_have(mass):
    """Nearly everything lies on a label that stands for no class; what is left is told apart."""
    output_map = MultiLabelMap(2, weights=[[1, 0], [0, 1], [0, 0]])
    scores = np.array([[[0.25 * mass, 0.75 * mass, 1 - mass]]], "float32")
    np.testing.assert_allclose(as_array(output_map(scores)), [[0.25, 0.75]], rtol=1e-4)


def test_no_mass_at_all_is_even():
    output_map = MultiLabelMap(2, weights=[[1, 0], [0, 1], [0, 0]])
    np.testing.assert_allclose(as_array(output_map(np.array([[[0.0, 0.0, 1.0]]]))), [[0.5, 0.5]])


def test_mean_over_labels_and_views_in_closed_form():
    output_map = MultiLabelMap(2, weights=[[0.5, 0], [0.5, 0], [0, 1], [0, 0]])
    scores = np.array([[[0.1, 0.3, 0.2, 0.4], [0.2, 0.0, 0.4, 0.4]]], "float32")
    # Class 0: means .2 and .1; class 1: .2 and .4. Means over views .15 and .3.
    np.testing.assert_allclose(as_array(output_map(scores)), [[1 / 3, 2 / 3]], rtol=1e-5)


def test_logits_are_read_as_probabilities():
    scores = random_scores(5, 2)
    by_kind = []
    for kind, answers in (("probabilities", scores), ("logits", np.log(scores) + 7.0)):
        output_map = MultiLabelMap(3, assignment="random")
        output_map.attach(kind, 0.0)
        by_kind.append(as_array(output_map(answers)))
    np.testing.assert_allclose(by_kind[0], by_kind[1], atol=1e-5)


def test_random_assignment_is_ready_at_once_and_stays():
    scores = random_scores(9)
    output_map = MultiLabelMap(3, labels_per_class=2, assignment="random", seed=7)
    output_map(scores)
    assert output_map.ready
    expected = assign_labels(
        "random", num_classes=3, num_source_labels=6, labels_per_class=2, seed=7
    )
    before = table_of(output_map)
    assert before == [sorted(row) for row in expected.tolist()]
    fitted(output_map, scores, np.arange(9) % 3)
    assert table_of(output_map) == before


def test_frequency_assignment_waits_for_answers():
    scores = np.eye(6, dtype="float32")[[4, 4, 1, 1, 0, 0]][:, None]
    output_map = MultiLabelMap(3)
    output_map(scores)
    assert not output_map.ready
    fitted(output_map, scores, np.array([0, 0, 1, 1, 2, 2]))
    assert output_map.ready
    assert table_of(output_map) == [[4], [1], [0]]


def test_given_matrix_is_used_as_it_is():
    matrix = np.random.default_rng(0).uniform(size=(6, 2)).astype("float32")
    output_map = MultiLabelMap(2, weights=matrix)
    scores = random_scores(4, 3)
    mass = (scores @ matrix).mean(axis=1)
    expected = mass / mass.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(as_array(output_map(scores)), expected, rtol=1e-4)
    assert output_map.trainable_variables == []


def test_own_table_takes_the_mean_of_each_row():
    output_map = MultiLabelMap(2, assignment="self-defined", label_table=[[3], [0, 2]])
    assert not output_map.trains
    scores = np.array([[[0.4, 0.2, 0.0, 0.4]]], "float32")
    # Class 0: .4; class 1: the mean of .4 and .0.
    np.testing.assert_allclose(as_array(output_map(scores)), [[2 / 3, 1 / 3]], rtol=1e-5)
    before = as_array(output_map.label_weights)
    fitted(output_map, scores.repeat(2, axis=0), np.array([0, 1]))
    np.testing.assert_array_equal(as_array(output_map.label_weights), before)


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
@pytest.mark.parametrize("assignment", ["bayesian", "bayesian_plus"])
def test_bayesian_map_holds_the_weights_of_the_function(assignment, kind):
    scores, labels = random_scores(40, 2), np.arange(40) % 3
    weight = np.linspace(0.1, 2, 40)
    expected = bayesian_weights(
        assignment, num_classes=3, scores=scores, labels=labels, sample_weight=weight
    )
    output_map = MultiLabelMap(3, assignment=assignment)
    output_map.attach(kind, 0.0)
    answers = np.log(scores + 1e-30) + 3 if kind == "logits" else scores
    fitted(output_map, answers, labels, sample_weight=weight)
    np.testing.assert_allclose(as_array(output_map.label_weights), expected, atol=1e-5)


OBSERVING = ["iterative", "bayesian", "bayesian_plus"]


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
@pytest.mark.parametrize("assignment", OBSERVING)
def test_observed_batches_assign_as_stored_answers_do(assignment, kind):
    """Four batches that pass by, with weights, are worth the same answers in one array."""
    old, scores = random_scores(60, 2, seed=1), random_scores(60, 2, seed=2)
    if kind == "logits":
        old, scores = np.log(old + 1e-9), np.log(scores + 1e-9)
    labels, weight = np.arange(60) % 3, np.linspace(0.5, 2, 60).astype("float32")
    followed, fresh = (MultiLabelMap(3, assignment=assignment) for _ in range(2))
    for output_map, answers in ((followed, old), (fresh, scores)):
        output_map.attach(kind, 0.0)
        fitted(output_map, answers, labels, sample_weight=weight)
    before = as_array(followed.label_weights)
    for rows in np.split(np.arange(60), 4):
        followed.observe(scores[rows], labels[rows], weight[rows])
    np.testing.assert_array_equal(as_array(followed.label_weights), before)
    followed.reassign()
    found = as_array(followed.label_weights)
    assert np.abs(found - before).max() > 0.01
    np.testing.assert_allclose(found, as_array(fresh.label_weights), atol=1e-5)
    # What was seen is used once.
    followed.reassign()
    np.testing.assert_array_equal(as_array(followed.label_weights), found)


@pytest.mark.parametrize("assignment", OBSERVING)
def test_a_class_that_was_not_shown_keeps_its_labels(assignment):
    output_map = MultiLabelMap(2, assignment=assignment)
    first = np.eye(4, dtype="float32")[:, None]
    fitted(output_map, first[[1, 1, 2, 2]], np.array([0, 0, 1, 1]))
    assert table_of(output_map) == [[1], [2]]
    # Only images of class 1 came, and label 1, which stands for class 0, answered most of them.
    output_map.observe(first[[1, 1, 3]], np.array([1, 1, 1]))
    output_map.reassign()
    assert table_of(output_map) == [[1], [3] if assignment == "iterative" else [1, 3]]


def test_maps_that_do_not_observe_are_left_alone():
    scores = random_scores(9)
    for assignment in ("random", "frequency"):
        output_map = fitted(MultiLabelMap(3, assignment=assignment), scores, np.arange(9) % 3)
        before = output_map.get_weights()
        assert not output_map.observes
        output_map.observe(scores[::-1], np.arange(9) % 3)
        output_map.reassign()
        output_map.forget_observed()
        assert len(before) == len(output_map.get_weights()) == 1
        np.testing.assert_array_equal(before[0], output_map.get_weights()[0])


def test_more_classes_than_labels_names_what_would_do():
    with pytest.raises(ValueError, match=r"3 classes with 4.*need 12.*Pass `labels_per_class=2`"):
        MultiLabelMap(3, labels_per_class=4).build((None, 1, 6))
    with pytest.raises(ValueError, match="7 classes with 1.*a source with 6. Use a `DenseMap`"):
        MultiLabelMap(7).build((None, 1, 6))


OWN = {"assignment": "self-defined"}
WRONG = [
    ({"assignment": "best"}, "`assignment` must be one of"),
    ({"weights": np.ones((6, 2))}, r"`weights` must have shape \(source labels, 3\).*\(6, 2\)"),
    ({"weights": np.ones(6)}, r"Received: shape \(6,\)"),
    ({"weights": -np.ones((6, 3))}, "non-negative.*smallest -1"),
    ({"weights": np.eye(6)[:, :3] * [1, 1, 0]}, "with some weight for every class"),
    ({"weights": np.full((6, 3), np.nan)}, "must be finite"),
    ({"assignment": "self-defined"}, "belong together.*label_table=None"),
    ({"label_table": [[0], [1], [2]]}, "belong together.*assignment='frequency'"),
    ({**OWN, "label_table": 3}, "must be a list of lists of whole numbers.*Received: 3"),
    ({**OWN, "label_table": [[0], [1], ["a"]]}, "list of lists of whole numbers"),
    ({**OWN, "label_table": [[0], [1], [2.5]]}, "list of lists of whole numbers"),
    ({**OWN, "label_table": [[0], [1]]}, r"a row for each of 3 classes.*lengths \[1, 1\]"),
    ({**OWN, "label_table": [[0], [], [1, 2]]}, r"one source label or more.*\[1, 0, 2\]"),
    ({**OWN, "label_table": [[0], [1], [2, 0]]}, r"twice.*more than once \[0\]"),
    ({**OWN, "label_table": [[0], [1], [-2]]}, "numbers >= 0.*smallest -2"),
    ({**OWN, "label_table": [[0], [1], [6]]}, r"labels in \[0, 6\).*Received: label 6"),
    ({**OWN, "label_table": [[0], [1], [2]], "weights": np.eye(6)[:, :3]}, "Received: both"),
    ({"assignment": "bayesian", "labels_per_class": 2}, "`labels_per_class` is for.*Received: 2"),
    ({"assignment": "iterative", "labels_per_class": 3}, "Pass `labels_per_class=2`"),
    ({"labels_per_class": 0}, "`labels_per_class` must be a positive integer"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MultiLabelMap(3, **options).build((None, 1, 6))


def test_matrix_of_another_source_is_refused():
    with pytest.raises(ValueError, match=r"each of the source's 6 labels. Received: shape \(5, 3"):
        MultiLabelMap(3, weights=np.ones((5, 3))).build((None, 1, 6))
