"""DenseMap: scikit-learn's classifier on standardised log-scores."""

import numpy as np
import pytest
import tensorflow as tf
from checks.check_output_map import as_array, fitted
from checks.tiny_models import random_scores
from sklearn.linear_model import LogisticRegression

from keras_reprogram import DenseMap
from keras_reprogram.output_map.output_map import smallest_score


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
    logs = np.log(scores)
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


@pytest.mark.parametrize(("step", "epsilon"), [(0.0, 1e-14), (1 / 256, 1 / 512), (1e-9, 5e-10)])
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
    assert [v.name for v in output_map.non_trainable_variables] == ["mean", "std", "epsilon"]


def test_all_views_are_read():
    scores, _ = labelled(views=3)
    labels = scores[:, 2, :3].argmax(axis=1)
    output_map = fitted(DenseMap(3), scores, labels)
    assert (as_array(output_map(scores)).argmax(axis=1) == labels).mean() > 0.9


def test_independent_scores_are_read_as_log_odds():
    scores = np.random.default_rng(0).uniform(0.01, 0.99, (60, 2, 5)).astype("float32")
    output_map = DenseMap(2)
    output_map.attach("independent", 0.0)
    output_map.adapt(scores)
    odds = np.log(scores / (1 - scores)).reshape(60, -1)
    expected = (odds - odds.mean(axis=0)) / odds.std(axis=0)
    np.testing.assert_allclose(as_array(output_map.features(scores)), expected, atol=1e-4)
    logits = DenseMap(2)
    logits.attach("independent_logits", 0.0)
    logits.adapt(odds.reshape(60, 2, 5))
    found = as_array(logits.features(odds.reshape(60, 2, 5)))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["independent", "independent_logits"])
@pytest.mark.parametrize("num_scores", [1, 8])
def test_what_all_independent_scores_say_together_is_kept(kind, num_scores):
    random = np.random.default_rng(0)
    level = random.normal(0, 2, 300)
    logits = level[:, None, None] + random.normal(0, 0.5, (300, 1, num_scores))
    scores = logits if kind == "independent_logits" else 1 / (1 + np.exp(-logits))
    labels = (level > 0).astype(int)
    output_map = DenseMap(2)
    output_map.attach(kind, 0.0)
    fitted(output_map, scores[:200].astype("float32"), labels[:200])
    found = as_array(output_map(scores[200:].astype("float32"))).argmax(axis=1)
    assert (found == labels[200:]).mean() > 0.87


def test_small_scores_of_a_float_source_are_told_apart():
    """The class stands in scores of 1e-9 and 1e-11, as a confident softmax gives them."""
    labels = np.arange(80) % 2
    scores = np.zeros((80, 1, 3), "float32")
    scores[:, 0, 0] = np.where(labels, 1e-9, 1e-11) * np.random.default_rng(0).uniform(1, 3, 80)
    scores[:, 0, 1] = np.random.default_rng(1).uniform(1e-3, 2e-3, 80)
    scores[:, 0, 2] = 1 - scores[:, 0, 1]
    output_map = fitted(DenseMap(2), scores, labels)
    assert (as_array(output_map(scores)).argmax(axis=1) == labels).all()


@pytest.mark.parametrize("score", [0.0, 1e-38, 1e-30, 1e-14, 1.0])
@pytest.mark.parametrize("kind", ["probabilities", "independent"])
def test_gradients_are_finite_at_any_score(score, kind):
    output_map = DenseMap(2)
    output_map.attach(kind, 0.0)
    output_map.adapt(random_scores(50, 1))
    output_map.kernel.assign(np.random.default_rng(0).normal(size=output_map.kernel.shape))
    scores = tf.Variable(np.full((1, 1, 6), score, "float32"))
    with tf.GradientTape() as tape:
        loss = -tf.math.log(output_map(scores)[0, 0])
    assert np.isfinite(as_array(loss)) and np.isfinite(as_array(tape.gradient(loss, scores))).all()


FLOATS = np.random.default_rng(0).dirichlet(np.full(20, 0.05), 200).astype("float32")
ROUNDED = [
    (FLOATS, 1e-14),
    (np.round(FLOATS, 2), 0.005),
    (np.round(FLOATS, 4), 5e-5),
    (np.round(FLOATS, 6), 5e-7),
    (np.round(FLOATS * 256) / 256, 1 / 512),
    (np.round(FLOATS * 255) / 255, 1 / 510),
    (FLOATS.astype("float16"), 2.0**-25),
    (np.where(FLOATS >= 0.03, FLOATS, 0), FLOATS[FLOATS >= 0.03].min() / 2),
    (FLOATS[:2], 1e-14),  # too few to conclude anything from
]


@pytest.mark.parametrize(("scores", "epsilon"), ROUNDED)
def test_rounding_is_seen_in_the_answers(scores, epsilon):
    scores = np.asarray(scores, "float32")
    assert smallest_score(scores, 0.0) == pytest.approx(epsilon, rel=1e-3)
    assert smallest_score(scores, 0.1) == 0.05
    output_map = DenseMap(2)
    output_map.adapt(scores.reshape(-1, 2, 10))
    assert float(output_map.epsilon) == pytest.approx(epsilon, rel=1e-3)


def test_epsilon_follows_the_answers_of_another_fit_in_a_compiled_function():
    output_map = DenseMap(2)
    output_map.adapt(FLOATS[:, None])
    compiled = tf.function(output_map.features)
    compiled(FLOATS[:5, None])
    output_map.adapt(np.round(FLOATS[:, None], 2))
    expected = as_array(output_map.features(FLOATS[:5, None]))
    np.testing.assert_allclose(as_array(compiled(FLOATS[:5, None])), expected, atol=1e-5)


def test_what_a_map_reads_survives_its_config():
    output_map = DenseMap(2)
    output_map.attach("independent", 0.0)
    output_map.adapt(np.round(FLOATS[:, None], 2))
    again = DenseMap.from_config(output_map.get_config())
    again.build((None, 1, 20))
    again.set_weights(output_map.get_weights())
    again.attach("probabilities", 0.0)
    assert again.reads == "independent"
    found = as_array(again.features(FLOATS[:, None]))
    np.testing.assert_array_equal(found, as_array(output_map.features(FLOATS[:, None])))


@pytest.mark.parametrize("kind", ["probabilities", "independent"])
def test_maps_of_older_files_keep_their_epsilon_and_their_reading(kind):
    config = {"num_classes": 2, "name": "output_map", "trainable": True}
    output_map = DenseMap.from_config(config)
    output_map.attach(kind, 0.0)
    scores = FLOATS[:, None]
    output_map.adapt(scores)
    logs = np.log(scores + np.float32(1e-7))
    logs = (logs - logs.mean(axis=-1, keepdims=True)).reshape(200, -1)
    expected = (logs - logs.mean(axis=0)) / np.maximum(logs.std(axis=0), 0.05)
    np.testing.assert_allclose(as_array(output_map.features(scores)), expected, atol=1e-3)
    assert len(output_map.weights) == 4
    assert output_map.get_config() == config


def test_rounding_is_seen_in_the_answers_to_a_dozen_images():
    shares = np.random.default_rng(0).uniform(size=12)
    scores = np.stack([shares, 1 - shares], axis=1).reshape(12, 1, 2)
    scores[:2] = [[[0.001, 0.999]], [[0.012, 0.988]]]
    assert smallest_score(np.round(scores, 2), 0.0) == pytest.approx(0.005)
    # Of floats nothing is concluded, few or not.
    for seed in range(200):
        drawn = np.random.default_rng(seed).uniform(size=12) ** 8
        assert smallest_score(drawn.astype("float32"), 0.0) == 1e-14
