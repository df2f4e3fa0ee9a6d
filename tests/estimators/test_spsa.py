"""SPSA: its formula by hand, its falling width, and momentum that is Keras's own."""

import json

import keras
import numpy as np
import pytest
from checks import check_gradient_estimator as checks

from keras_reprogram import SPSA, spsa_learning_rate


def recorded(estimator, step=0):
    """The estimate in that step, and what it asked."""
    asked = []

    def losses(candidates):
        asked.append(np.asarray(candidates))
        return checks.smooth_losses(candidates)

    generator = keras.random.SeedGenerator(0)
    generator.state.assign([0, step])
    value = checks.point()
    clean = checks.smooth_losses(value[None, None])[0]
    found = np.asarray(estimator.estimate(losses, value, clean, checks.LIVE, generator))
    return found, asked[0]


@pytest.mark.parametrize("per_image", [False, True])
def test_estimate_is_the_papers_formula(per_image):
    number, width = 4, 0.05
    found, asked = recorded(SPSA(number, width, per_image=per_image))
    ahead, behind = asked[:number], asked[number:]
    np.testing.assert_allclose((ahead + behind) / 2, np.broadcast_to(checks.point(), ahead.shape))
    directions = (ahead - behind)[..., checks.LIVE] / (2 * width)
    assert np.abs(directions).min() > 0.499
    assert np.abs(directions).max() < 1.001
    assert 0.3 < (directions > 0).mean() < 0.7
    rise = np.asarray(checks.smooth_losses(ahead)) - np.asarray(checks.smooth_losses(behind))
    if not per_image:
        rise = rise.mean(axis=1, keepdims=True)
    expected = (rise[..., None] / (2 * width * directions)).mean(axis=(0, 1))
    np.testing.assert_allclose(found[checks.LIVE], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("decay", [0.0, 0.2, 1.0])
def test_width_falls_with_the_step(decay):
    for step in (0, 1, 7):
        _, asked = recorded(SPSA(200, 0.1, decay), step)
        widest = np.abs(asked[:200] - asked[200:]).max() / 2
        assert widest == pytest.approx(0.1 / (step + 1) ** decay, rel=0.01)


def test_nesterov_momentum_of_keras_is_the_gradient_correction():
    """BlackVIP: `m = b m + g`, then `w -= a (g + b m)`."""
    rate, momentum = 0.05, 0.9
    random = np.random.default_rng(0)
    weights = keras.Variable(random.normal(size=5).astype("float32"))
    by_hand, look_ahead = keras.ops.convert_to_numpy(weights).astype("float64"), np.zeros(5)
    optimizer = keras.optimizers.SGD(rate, momentum=momentum, nesterov=True)
    for _ in range(20):
        gradient = random.normal(size=5)
        look_ahead = momentum * look_ahead + gradient
        by_hand = by_hand - rate * (gradient + momentum * look_ahead)
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [weights])
        np.testing.assert_allclose(weights, by_hand, rtol=1e-4, atol=1e-5)


def test_learning_rate_falls_as_spall_says():
    rate = spsa_learning_rate(a=0.3, offset=2.0, alpha=0.5)
    for step in (0, 1, 10):
        assert float(rate(step)) == pytest.approx(0.3 / (step + 2) ** 0.5, rel=1e-5)


def test_learning_rate_is_saved_with_its_optimizer():
    optimizer = keras.optimizers.SGD(spsa_learning_rate(0.3, 2.0, 0.5), 0.9, nesterov=True)
    text = json.dumps(keras.saving.serialize_keras_object(optimizer))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert again.get_config() == optimizer.get_config()
    assert float(again.learning_rate) == pytest.approx(0.3 / 2**0.5)


WRONG = [
    (SPSA, {"num_directions": 0}, "`num_directions` must be a positive integer"),
    (SPSA, {"smoothing": -1.0}, "`smoothing` must be a number greater than 0"),
    (SPSA, {"decay": -0.1}, "`decay` must be at least 0. Received: -0.1"),
    (SPSA, {"clip": -2}, "`clip` must be .*Received: -2"),
    (SPSA, {"differences": "x"}, "`differences` must be one of"),
    (spsa_learning_rate, {"a": 0}, "`a` must be a number greater than 0"),
    (spsa_learning_rate, {"offset": 0.0}, "`offset` must be a number greater than 0"),
    (spsa_learning_rate, {"alpha": -1}, "`alpha` must be at least 0. Received: -1"),
]


@pytest.mark.parametrize(("function", "options", "message"), WRONG)
def test_wrong_arguments_are_refused(function, options, message):
    with pytest.raises(ValueError, match=message):
        function(**options)
