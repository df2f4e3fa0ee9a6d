import json
import warnings

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from keras_reprogram.report import ClassificationMetrics, classification_metrics


@pytest.fixture
def skewed():
    """Three classes, 60 : 25 : 5, with scores that are right more often than not."""
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [60, 25, 5])
    logits = rng.normal(size=(90, 3)) + 1.2 * np.eye(3)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_agrees_with_scikit_learn(skewed):
    labels, probabilities = skewed
    predicted = probabilities.argmax(axis=1)
    metrics = classification_metrics(labels, probabilities, ["a", "b", "c"])

    assert metrics.num_examples == 90
    assert metrics.accuracy == pytest.approx((predicted == labels).mean())
    assert metrics.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert metrics.auc == pytest.approx(
        roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    )
    for index, entry in enumerate(metrics.classes):
        truth, taken = labels == index, predicted == index
        assert entry.sensitivity == pytest.approx(recall_score(truth, taken))
        assert entry.specificity == pytest.approx(recall_score(~truth, ~taken))
        assert entry.auc == pytest.approx(roc_auc_score(truth, probabilities[:, index]))


def test_intervals_are_wilson_with_the_right_denominators(skewed):
    labels, probabilities = skewed
    metrics = classification_metrics(labels, probabilities, ["a", "b", "c"])
    matrix, rare = metrics.confusion_matrix, metrics.classes[2]

    def expected(successes, trials):
        return pytest.approx(
            tuple(binomtest(int(successes), trials).proportion_ci(method="wilson"))
        )

    assert metrics.accuracy_interval == expected(np.trace(matrix), 90)
    assert rare.sensitivity_interval == expected(matrix[2, 2], 5)
    assert rare.specificity_interval == expected(matrix[:2, :2].sum(), 85)


def test_confusion_matrix_has_true_classes_as_rows():
    probabilities = [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]
    metrics = classification_metrics([0, 0, 0, 1], probabilities, ["no", "yes"])
    assert metrics.confusion_matrix.tolist() == [[1, 2], [0, 1]]
    with pytest.raises(ValueError, match="read-only"):
        metrics.confusion_matrix[0, 0] = 5


def test_binary_auc_is_the_plain_one_of_the_second_class():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.45, 0.55], [0.2, 0.8]])
    metrics = classification_metrics([0, 0, 1, 1], probabilities, ["no", "yes"])
    # Of the four (no, yes) pairs, only (.6, .55) is in the wrong order.
    assert metrics.auc == 0.75
    assert metrics.classes[1].sensitivity == 1.0
    assert metrics.classes[1].specificity == metrics.classes[0].sensitivity == 0.5


def test_absent_class_is_named_and_left_out_of_every_mean():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = classification_metrics([0, 2, 2, 2], probabilities, ["cat", "cow", "dog"])
    cow = metrics.classes[1]
    assert metrics.absent_classes == ("cow",)
    assert (cow.support, cow.sensitivity, cow.sensitivity_interval, cow.auc) == (
        0,
        None,
        None,
        None,
    )
    assert cow.specificity == 0.75
    assert metrics.balanced_accuracy == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.auc == pytest.approx((metrics.classes[0].auc + metrics.classes[2].auc) / 2)


def test_a_single_class_leaves_auc_undefined_and_json_without_nan():
    metrics = classification_metrics([1, 1], [[0.2, 0.8], [0.7, 0.3]], ["no", "yes"])
    data = json.loads(json.dumps(metrics.to_dict(), allow_nan=False))
    assert data["auc"] is None
    assert data["classes"][1]["specificity"] is None
    assert data["classes"][1]["sensitivity"] == data["accuracy"] == 0.5
    assert data["absent_classes"] == ["no"]
    assert data["confusion_matrix"] == [[0, 0], [1, 1]]
    assert len(data["accuracy_interval"]) == len(data["classes"][1]["sensitivity_interval"]) == 2


def test_figures_survive_json():
    metrics = classification_metrics([1, 1], [[0.2, 0.8], [0.7, 0.3]], ["no", "yes"])
    again = ClassificationMetrics.from_dict(json.loads(json.dumps(metrics.to_dict())))
    assert again.classes == metrics.classes
    assert again.accuracy_interval == metrics.accuracy_interval
    assert again.absent_classes == ("no",)
    np.testing.assert_array_equal(again.confusion_matrix, metrics.confusion_matrix)
    assert again.to_dict() == metrics.to_dict()


def test_label_forms_agree(skewed):
    labels, probabilities = skewed
    names = ["a", "b", "c"]
    expected = classification_metrics(labels, probabilities, names).to_dict()
    forms = [labels[:, None], labels.astype("float32"), labels.tolist(), np.eye(3)[labels]]
    for form in forms:
        assert classification_metrics(form, probabilities, names).to_dict() == expected


def test_boolean_labels_are_a_binary_task():
    metrics = classification_metrics(np.array([True, False]), [[0, 1], [1, 0]], ["no", "yes"])
    assert metrics.accuracy == 1.0


HALF = [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize(
    "labels, probabilities, names, message",
    [
        ([0, 1, 1], HALF, "ab", r"shape \(2,\) or one-hot \(2, 2\).*shape \(3,\)"),
        ([0, 2], HALF, "ab", r"integer labels in \[0, 2\).*label 2 at index 1"),
        ([0, -1], HALF, "ab", "label -1 at index 1"),
        ([0, 0.5], HALF, "ab", "label 0.5 at index 1"),
        ([0, np.nan], HALF, "ab", "label nan at index 1"),
        ([[1, 0], [1, 1]], HALF, "ab", r"one-hot.*row 1 = \[1, 1\]"),
        ([[1, 0], [0.5, 0.5]], HALF, "ab", "one-hot"),
        ([[1, 0], [0, 0]], HALF, "ab", "multi-label rows, of several findings or none"),
        (["a", "b"], HALF, "ab", "numeric labels"),
        ([0, 1], [[0.5, 0.5], [np.nan, 1]], "ab", "NaN or infinity in 1 of 2 rows, first in row 1"),
        ([0, 1], [[3.0, -2.0], [0.5, 0.5]], "ab", "values from -2 to 3.*softmax"),
        ([0, 1], HALF, "abc", "one column a class name"),
        ([0, 1], [0.2, 0.8], "ab", "single sigmoid"),
        ([0, 1], [[1.0], [1.0]], "a", "at least two class names"),
        ([], np.empty((0, 2)), "ab", "at least one example"),
    ],
)
def test_bad_input_says_what_is_wrong(labels, probabilities, names, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(labels, probabilities, list(names))
