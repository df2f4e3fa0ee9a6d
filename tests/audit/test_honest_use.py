"""What measures cost honest users."""

import numpy as np
import pytest

from keras_reprogram.audit import expected_calibration_error, honest_use, tempered, top_label
from keras_reprogram.audit.honest_use import own_labels

SCORES = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8], [0.5, 0.3, 0.2]])


def test_answers_that_are_right_as_often_as_they_say_have_no_error() -> None:
    confidence = np.repeat([0.25, 0.75], 400)
    right = np.concatenate([np.arange(400) < 100, np.arange(400) < 300])
    assert expected_calibration_error(confidence, right) == pytest.approx(0.0)
    assert expected_calibration_error(confidence, ~right) == pytest.approx(0.5)


def test_a_measure_keeps_the_labels_and_costs_certainty() -> None:
    labels = np.array([0, 1, 2, 2])
    plain = honest_use(
        SCORES, "probabilities", tempered(1.0).apply(SCORES, "probabilities"), labels
    )
    certain = honest_use(
        SCORES, "probabilities", top_label().apply(SCORES, "probabilities"), labels
    )
    assert plain.accuracy == certain.accuracy == 0.75
    assert plain.moved == pytest.approx(0.0, abs=1e-6)
    # The mean of 1 - largest score.
    assert certain.moved == pytest.approx(np.mean([0.3, 0.6, 0.2, 0.5]))
    assert certain.calibration_error == pytest.approx(0.25)


def test_without_labels_the_answers_themselves_are_the_truth() -> None:
    use = honest_use(SCORES, "probabilities", top_label().apply(SCORES, "probabilities"), None)
    assert (use.labelled, use.accuracy, use.calibration_error) == (False, 1.0, None)


def test_own_classes_are_found_by_name_or_in_order() -> None:
    labels = np.array([0, 1, 1])
    assert own_labels(labels, ("Cat", "dog"), ("dog", "bird", "cat"), 3).tolist() == [2, 0, 0]
    assert own_labels(labels, ("a", "b"), None, 2).tolist() == [0, 1, 1]
    assert own_labels(labels, ("a", "stop"), ("go", "stop"), 2).tolist() == [0, 1, 1]
    for names, source_names, count in (
        (("a", "b"), ("x", "y", "z"), 3),
        (("b", "other"), ("a", "b"), 2),
    ):
        with pytest.raises(ValueError, match="data of the source's own task"):
            own_labels(labels, names, source_names, count)
