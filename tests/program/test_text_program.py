"""TextProgram: the contract of programs, the formula by hand, soft and drawn rows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import check_program as checks

from keras_reprogram import TextProgram, Vocabulary

pytestmark = pytest.mark.slow
WORDS = Vocabulary(["is", "a", "fox", "that"], length=5)
SOURCE = (7, 9)
NUMBERS = np.array([[2, 3, 4, 0, 0], [5, 1, 2, 3, 4], [3, 0, 0, 0, 0]])
PROGRAMS = {
    "trained": {},
    "views": {"num_views": 3, "width": 3},
    "published": {"keeps_end": False},
    "fixed": {"trained": False, "num_views": 4},
    "fixed context": {"trained": False, "width": 5},
}


def program_of(name):
    return TextProgram(WORDS, SOURCE, **PROGRAMS[name])


@pytest.mark.parametrize("name", PROGRAMS)
def test_contract(name):
    program = program_of(name)
    checks.set_weights(program, 0.1)
    checks.check_shape(program, NUMBERS, SOURCE)
    checks.check_range(program, NUMBERS, (0, 1))
    checks.check_flat_value(program)
    checks.check_candidates(program, NUMBERS)
    assert program.live_coordinates().all()
    assert bool(program.trainable_variables) is program.trained


@pytest.mark.parametrize("name", PROGRAMS)
def test_config_round_trip(name):
    program = program_of(name)
    again = checks.check_config_round_trip(program)
    np.testing.assert_array_equal(again(NUMBERS), program(NUMBERS))


@pytest.mark.parametrize("name", PROGRAMS)
def test_token_scores_by_hand(name):
    """Sum over the neighbours of each position, in plain loops."""
    program = program_of(name)
    kernel, bias = (checks.as_array(w) for w in (program.kernel, program.bias))
    found = checks.as_array(program.token_scores(NUMBERS))
    padded = np.pad(NUMBERS, ((0, 0), (0, 2)))
    for row, view, position in np.ndindex(*found.shape[:3]):
        expected = bias[view].copy()
        for place in range(program.width):
            neighbour = position + place - program.width // 2
            if 0 <= neighbour < SOURCE[0]:
                expected += kernel[place, padded[row, neighbour], view]
        if program.keeps_end and padded[row, position] == 0:
            assert found[row, view, position].argmax() == 0
        else:
            np.testing.assert_allclose(found[row, view, position], expected, atol=1e-6)
    rows = checks.as_array(program(NUMBERS))
    np.testing.assert_array_equal(rows.argmax(axis=-1), found.argmax(axis=-1))
    assert set(np.unique(rows)) == {0.0, 1.0}


def test_a_graph_of_any_number_of_rows():
    program = program_of("views")
    call = tf.function(program, input_signature=[tf.TensorSpec((None, 5))], autograph=False)
    for count in (1, 3):
        np.testing.assert_array_equal(
            call(NUMBERS[:count].astype("float32")), program(NUMBERS[:count])
        )


def test_more_views_keep_the_first_ones():
    few, many = (TextProgram(WORDS, SOURCE, trained=False, num_views=n) for n in (2, 5))
    np.testing.assert_array_equal(few(NUMBERS), checks.as_array(many(NUMBERS))[:, :2])


def test_fixed_remappings_of_width_one_have_no_context():
    tokens = checks.as_array(program_of("fixed")(NUMBERS)).argmax(axis=-1)
    # "is" and "a" and "fox" in two texts, at different places.
    np.testing.assert_array_equal(tokens[0, :, :3], tokens[1, :, 2:5])
    assert len(np.unique(tokens[0, :, 0])) > 1, "all views remap alike"


def test_training_rows_are_soft_and_harden_as_the_temperature_falls():
    program = TextProgram(WORDS, SOURCE, temperatures=(2.0, 0.01), temperature_steps=4)
    entropies, temperatures = [], []
    for _ in range(6):
        temperatures.append(float(program.temperature))
        rows = checks.as_array(program(NUMBERS, training=True))[:, 0, 0]
        np.testing.assert_allclose(rows.sum(axis=-1), 1, atol=1e-5)
        entropies.append(-(rows * np.log(rows + 1e-9)).sum(axis=-1).mean())
    np.testing.assert_allclose(temperatures, [2, 1.5025, 1.005, 0.5075, 0.01, 0.01], atol=1e-4)
    assert entropies[0] > 1.5 > 0.2 > entropies[-1]


def test_a_resumed_run_draws_what_the_other_one_would():
    one, other = (TextProgram(WORDS, SOURCE, seed=3) for _ in range(2))
    for _ in range(2):
        one(NUMBERS, training=True)
    other.set_weights(one.get_weights())
    np.testing.assert_array_equal(one(NUMBERS, training=True), other(NUMBERS, training=True))


@pytest.mark.parametrize("name", ["fixed", "trained"])
def test_programs_that_are_not_trained_stay_hard(name):
    program = program_of(name)
    program.trainable = False
    np.testing.assert_array_equal(program(NUMBERS, training=True), program(NUMBERS))


def test_gradients_of_soft_rows_reach_every_weight():
    program = TextProgram(Vocabulary(["b"], 3), (3, 4), num_views=2, keeps_end=False)
    numbers = np.array([[0, 1, 2], [2, 2, 1], [1, 0, 0], [2, 0, 1], [1, 1, 1], [0, 2, 2]])
    with tf.GradientTape() as tape:
        rows = program(numbers, training=True)
        total = tf.reduce_sum(rows * tf.random.stateless_uniform(rows.shape, (0, 0)))
    kernel, bias = tape.gradient(total, [program.kernel.value, program.bias.value])
    # A row of 3 tokens has no neighbours further than 2 away: all 5 places are in use.
    assert (np.abs(kernel) > 0).all()
    assert (np.abs(bias) > 0).all()


def test_draws_follow_the_probabilities_that_their_likelihood_says():
    program = TextProgram(WORDS, (5, 3), width=1)
    checks.set_weights(program, 1.0)
    numbers = np.repeat(NUMBERS[:1], 4000, axis=0)
    drawn = checks.as_array(program.draw(numbers, keras.random.SeedGenerator(0)))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    expected = np.exp(checks.as_array(program.token_scores(NUMBERS[:1]))[0, 0])
    expected /= expected.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(drawn.mean(axis=0)[0], expected, atol=0.04)
    likelihood = checks.as_array(program.log_likelihood(numbers, drawn))
    chosen = (drawn[:, 0] * expected).sum(axis=-1)
    np.testing.assert_allclose(np.exp(likelihood[:, 0]), chosen, rtol=1e-4)
    assert (likelihood[:, 0, 3:] == 0).all(), "an end that is kept is certain"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 4}, "`width` must be odd"),
        ({"width": 0}, "`width` must be a positive integer"),
        ({"num_views": 0}, "`num_views` must be a positive integer"),
        ({"temperatures": (0.1, 1.0)}, "the second not above the first"),
        ({"temperatures": (1.0, 0.0)}, "greater than 0"),
        ({"source_shape": (3, 9)}, "Pass `length=3`"),
        ({"source_shape": (7, 9, 3)}, r"must be \(tokens, vocabulary\)"),
        ({"vocabulary": ["is"]}, "must be a `Vocabulary`. Received: list"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        TextProgram(**{"vocabulary": WORDS, "source_shape": SOURCE} | options)
