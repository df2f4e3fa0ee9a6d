"""CoordinateWise: what it draws, with which chance, and what it then divides by."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_reprogram import CoordinateWise

SIZE = 8
LIVE = np.arange(SIZE) != 2
SLOPES = np.linspace(1, 3, SIZE).astype("float32")
MOVED = np.array([0, 0.5, 9, 0.1, 0, 2, 0, 0.4], "float32")


def losses(candidates):
    return keras.ops.sum(candidates * SLOPES, axis=-1)


def draws(estimator, value, count):
    """Estimates of a linear loss: `SLOPES / chance` where drawn, 0 elsewhere."""
    generator = keras.random.SeedGenerator(0)

    @tf.function
    def estimate():
        value_tensor = tf.constant(value)
        clean = losses(value_tensor[None])
        return estimator.estimate(losses, value_tensor, clean, LIVE, generator)

    return np.stack([estimate().numpy() for _ in range(count)])


@pytest.mark.slow
@pytest.mark.parametrize("value", [MOVED, np.zeros(SIZE, "float32")])
@pytest.mark.parametrize("importance", [True, False])
@pytest.mark.parametrize("number", [1, 3, 6])
def test_every_coordinate_is_drawn_with_the_chance_it_is_divided_by(value, importance, number):
    count = 600
    estimator = CoordinateWise(number, 0.1, importance=importance)
    found = draws(estimator, value, count)
    assert ((found != 0).sum(axis=1) == number).all(), "drawn twice, or not at all"
    assert (found[:, ~LIVE] == 0).all()
    chances = SLOPES[LIVE] / found[:, LIVE].max(axis=0)
    assert chances.sum() == pytest.approx(number, rel=0.01)
    assert chances.max() < 1.001
    uniform = number / LIVE.sum()
    assert chances.min() > 0.49 * uniform
    frequency = (found[:, LIVE] != 0).mean(axis=0)
    noise = np.sqrt(chances * (1 - np.minimum(chances, 1)) / count)
    assert (np.abs(frequency - chances) < 4.5 * noise + 1e-3).all()
    if importance and value is MOVED:
        # Coordinate 5 has moved farthest, 0 not at all.
        assert chances[4] > 1.1 * chances[0]
    else:
        np.testing.assert_allclose(chances, uniform, rtol=0.01)


def test_all_coordinates_give_the_gradient_itself():
    for number in (None, 100):
        found = draws(CoordinateWise(number, 0.1), MOVED, 1)[0]
        np.testing.assert_allclose(found, np.where(LIVE, SLOPES, 0), rtol=1e-3)


@pytest.mark.parametrize("two_sided", [True, False])
@pytest.mark.parametrize(("number", "drawn"), [(None, 7), (3, 3), (100, 7)])
def test_cost_follows_the_active_coordinates(two_sided, number, drawn):
    estimator = CoordinateWise(number, two_sided=two_sided)
    estimator.attach(LIVE)
    assert estimator.queries_per_image == drawn * (1 + two_sided)


def test_cost_of_all_coordinates_is_unknown_without_a_program():
    with pytest.raises(ValueError, match=r"known only once .*Received: num_coordinates=None"):
        _ = CoordinateWise().queries_per_image


def test_nothing_active_gives_nothing():
    value = np.zeros(3, "float32")
    found = CoordinateWise().estimate(
        losses, value, np.zeros(1, "float32"), np.zeros(3, bool), keras.random.SeedGenerator(0)
    )
    np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_coordinates": 0}, "`num_coordinates` must be a positive integer"),
        ({"smoothing": 0.0}, "`smoothing` must be a number greater than 0"),
        ({"differences": "labels"}, "`differences` must be one of.*Received: differences='labels'"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CoordinateWise(**options)
