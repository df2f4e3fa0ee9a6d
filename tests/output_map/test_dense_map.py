"""DenseMap: scikit-learn's classifier on standardised log-scores."""

import numpy as np
import pytest
from checks.check_output_map import as_array, fitted
from checks.tiny_models import random_scores
from sklearn.linear_model import LogisticRegression

from keras_reprogram import DenseMap


def labelled(views=2, num_classes=3):
    scores = random_scores(80, views)
    return scores, scores[:, 0, :num_classes].argmax(axis=1)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_affine_map_is_scikit_learns(num_classes):
    """Any solver's kernel and bias are used as they are, on the features that it was given."""
    scores, labels = labelled(num_classes=num_classes)
    seen = []

    class Solution:
        def __init__(self, features, labels, weight):
            seen.append((features, weight))
            self.model = LogisticRegression(C=10, max_iter=1000).fit(features, labels)
            coef, intercept = self.model.coef_, self.model.intercept_
            if num_classes == 2:
                coef, intercept = np.vstack([0 * coef, coef]), np.append(0, intercept)
            self.kernel, self.bias = coef.T, intercept

    output_map = DenseMap(num_classes)
    weight = np.arange(80.0)
    solution = output_map.fit_answers(scores, labels, solver=Solution, sample_weight=weight)
    features, given = seen[0]
    np.testing.assert_array_equal(given, weight)
    np.testing.assert_allclose(
        as_array(output_map(scores)), solution.model.predict_proba(features), atol=1e-5
    )


def test_features_are_standardised_centred_log_scores():
    scores = random_scores(50, 2)
    output_map = DenseMap(2)
    output_map.adapt(scores)
    logs = np.log(scores + 1e-7)
    logs = (logs - logs.mean(axis=-1, keepdims=True)).reshape(50, -1)
    expected = (logs - logs.mean(axis=0)) / logs.std(axis=0)
    np.testing.assert_allclose(as_array(output_map.features(scores)), expected, atol=1e-3)


def test_a_score_that_hardly_moves_is_not_blown_up():
    scores = np.full((50, 1, 4), 0.25, "float32")
    scores[:, 0, 0] += np.linspace(0, 1e-4, 50)
    scores[:, 0, 1:] = (1 - scores[:, 0, :1]) / 3
    output_map = DenseMap(2)
    output_map.adapt(scores)
    np.testing.assert_allclose(as_array(output_map.std), 0.05)
    assert np.abs(as_array(output_map.features(scores))).max() < 0.01


@pytest.mark.parametrize(("step", "epsilon"), [(0.0, 1e-7), (1 / 256, 1 / 512), (1e-9, 1e-7)])
def test_epsilon_is_half_the_scores_step(step, epsilon):
    output_map = DenseMap(2)
    output_map.attach("probabilities", step)
    assert output_map.epsilon == pytest.approx(epsilon)
    scores = np.zeros((2, 1, 3), "float32")
    scores[0] = [1.0, 0.0, -1e-9]
    output_map.adapt(scores)
    logs = np.log([1 + epsilon, epsilon, epsilon])
    # The second answer is all zeros: centred, it is nothing but zeros.
    expected = (logs - logs.mean()) / 2
    np.testing.assert_allclose(as_array(output_map.mean), expected, rtol=1e-4)


def test_logits_give_the_same_features_as_their_softmax():
    scores = random_scores(20, 2) * 0.9 + 0.1 / 6
    features = []
    for kind, answers in (("probabilities", scores), ("logits", np.log(scores) - 5.0)):
        output_map = DenseMap(3)
        output_map.attach(kind, 0.0)
        output_map.adapt(answers)
        features.append(as_array(output_map.features(answers)))
    np.testing.assert_allclose(features[0], features[1], atol=1e-3)


def test_not_ready_before_it_saw_answers():
    scores, labels = labelled()
    output_map = DenseMap(3)
    assert not output_map.ready
    # Keras users call a layer to look at its shapes; it answers evenly.
    np.testing.assert_allclose(as_array(output_map(scores)), 1 / 3, atol=1e-6)
    assert not output_map.ready
    output_map.adapt(scores)
    assert output_map.ready
    np.testing.assert_allclose(as_array(output_map(scores)), 1 / 3, atol=1e-6)
    fitted(output_map, scores, labels)
    assert (as_array(output_map(scores)).argmax(axis=1) == labels).mean() > 0.9


def test_standardisation_is_not_trained():
    output_map = fitted(DenseMap(3), *labelled())
    assert [v.name for v in output_map.trainable_variables] == ["kernel", "bias"]
    assert [v.name for v in output_map.non_trainable_variables] == ["mean", "std"]


def test_all_views_are_read():
    scores, _ = labelled(views=3)
    labels = scores[:, 2, :3].argmax(axis=1)
    output_map = fitted(DenseMap(3), scores, labels)
    assert (as_array(output_map(scores)).argmax(axis=1) == labels).mean() > 0.9
