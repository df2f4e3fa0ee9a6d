"""ScoreFunction: weights of rows and positions, and the mean of its estimate."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_reprogram import ScoreFunction, TextProgram, Vocabulary


def test_rewards_of_right_and_wrong_rows():
    weights = ScoreFunction().row_weights([0.5, 2.0], [1.0, 0.0])
    np.testing.assert_array_equal(weights, [-1, 1])
    np.testing.assert_array_equal(ScoreFunction("loss").row_weights([0.5, 2.0], [1, 0]), [0.5, 2])


def test_sample_weights_scale_rewards():
    weights = ScoreFunction().row_weights([0.5, 2.0], [1.0, 0.0], np.array([2.0, 0.5]))
    np.testing.assert_array_equal(weights, [-2, 0.5])


def test_the_baseline_is_the_mean_of_the_other_rows():
    found = ScoreFunction("loss", baseline="batch").row_weights([1.0, 2.0, 6.0], [1, 1, 1])
    np.testing.assert_allclose(found, [1 - 4, 2 - 3.5, 6 - 1.5])
    # A row that is alone has none.
    assert float(ScoreFunction("loss", "batch").row_weights([3.0], [1])[0]) == 3


def test_positions_that_count_grow_with_steps():
    estimator = ScoreFunction(growing_steps=10)
    counts = [int(keras.ops.sum(estimator.position_weights(4, step))) for step in range(0, 12)]
    assert counts == [1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4]
    assert np.asarray(ScoreFunction().position_weights(3, 0)).tolist() == [1, 1, 1]


def test_config_round_trip():
    estimator = ScoreFunction("loss", "batch", 7)
    text = json.dumps(keras.saving.serialize_keras_object(estimator))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert again.get_config() == estimator.get_config()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reward": "score"}, "`reward` must be one of"),
        ({"baseline": "mean"}, "`baseline` must be one of"),
        ({"growing_steps": -1}, "`growing_steps` must be"),
        ({"growing_steps": 1.5}, "`growing_steps` must be"),
    ],
)
def test_bad_options_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ScoreFunction(**options)


def test_estimate_is_refused():
    with pytest.raises(ValueError, match="Use it in `fit`"):
        ScoreFunction().estimate(None, None, None, None, None)


@pytest.mark.slow
@pytest.mark.parametrize("baseline", [None, "batch"])
def test_the_mean_estimate_is_the_gradient_of_the_expected_loss(baseline):
    """All 3^2 texts that two positions can draw, weighed by their probability."""
    program = TextProgram(Vocabulary(["b", "c"], 2), (2, 3), width=1, keeps_end=False)
    program.kernel.assign(np.random.default_rng(0).normal(0, 1, program.kernel.shape))
    losses = np.random.default_rng(1).uniform(0, 2, (3, 3)).astype("float32")
    numbers = np.array([[2, 3]])
    with tf.GradientTape() as tape:
        first, second = tf.unstack(tf.nn.softmax(program.token_scores(numbers))[0, 0])
        expected_loss = tf.einsum("a,b,ab->", first, second, losses)
    exact = tape.gradient(expected_loss, program.kernel.value)
    texts = np.array(list(itertools.product(range(3), repeat=2)))
    likely = np.array([first[a] * second[b] for a, b in texts])
    # 20,000 draws in proportion, in an order of their own.
    picked = np.random.default_rng(2).choice(len(texts), 20000, p=likely / likely.sum())
    drawn = keras.ops.one_hot(texts[picked], 3)[:, None]
    weights = ScoreFunction("loss", baseline).row_weights(losses[tuple(texts[picked].T)], None)
    with tf.GradientTape() as tape:
        many = np.repeat(numbers, len(picked), axis=0)
        likelihood = tf.reduce_sum(program.log_likelihood(many, drawn), axis=(1, 2))
        total = tf.reduce_mean(weights * likelihood)
    found = tape.gradient(total, program.kernel.value)
    np.testing.assert_allclose(found, exact, atol=0.02)
    assert np.abs(exact).max() > 0.1
