"""ScaledProgram: the contract, AutoVP's formula, the scale's gradient and limits, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from checks import check_program as checks
from checks.tiny_models import random_images
from litert_answers import litert_answer

from keras_reprogram import ProgramLayer
from keras_reprogram.program import ScaledProgram

RANGE = (-1.0, 1.0)
COLOUR, SOURCE, WIDE = (5, 4, 3), (8, 8, 3), (6, 10, 3)
LAYERS = {
    "own size": ({}, COLOUR, SOURCE),
    "grey, wide": ({"initial_scale": 1.4}, (4, 4, 1), WIDE),
    "large image": ({"initial_scale": 0.7}, (20, 12, 3), SOURCE),
    "larger than the canvas": ({"image_size": (6, 6), "initial_scale": 2.5}, COLOUR, SOURCE),
}


def layer(name="own size", **more):
    options, target, source = LAYERS[name]
    return ScaledProgram(target, source, **{"source_range": RANGE} | options | more)


@pytest.mark.parametrize("name", LAYERS)
def test_contract(name):
    """All but `check_live_coordinates`, which looks at one scale only; see below."""
    program, images = layer(name), random_images(3, LAYERS[name][1])
    checks.set_weights(program, 0.1)
    checks.check_shape(program, images, LAYERS[name][2])
    checks.check_range(program, images, RANGE)
    checks.check_flat_value(program)
    checks.check_candidates(program, images)
    checks.check_one_trace(program, LAYERS[name][1])


@pytest.mark.parametrize("name", LAYERS)
def test_config_round_trip(name):
    program = layer(name)
    checks.set_weights(program, 0.2)
    again = checks.check_config_round_trip(program)
    images = random_images(2, LAYERS[name][1])
    np.testing.assert_array_equal(again(images), program(images))
    assert again.scale == program.scale


def test_at_scale_one_it_is_the_padded_sigmoid_program():
    program, plain = layer(), ProgramLayer(COLOUR, SOURCE, source_range=RANGE, squash="sigmoid")
    weights = np.random.default_rng(0).normal(0, 1, SOURCE)
    program.program_weights.assign(weights)
    plain.program_weights.assign(weights[None])
    images = random_images(2, COLOUR)
    np.testing.assert_allclose(program(images), plain(images), atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 1.3, 1.9])
def test_formula_pixel_by_pixel(scale):
    """Each canvas pixel looks up the image where the scaling about the middle came from."""
    program = layer(initial_scale=1.0)
    program.scale_change.assign([scale - 1.0])
    weights = np.random.default_rng(0).normal(0, 1, SOURCE)
    program.program_weights.assign(weights)
    image = random_images(1, COLOUR)[0]
    expected = -1 + 2 * scaled_by_hand(image / 255, scale, 1 / (1 + np.exp(-weights)))
    found = checks.as_array(program(image[None]))[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def scaled_by_hand(image, scale, around):
    """Bilinear look-up in the image on an empty canvas; `around` fills what it leaves."""
    height, width = COLOUR[:2]
    top, left = (8 - height) // 2, (8 - width) // 2
    result = np.zeros(SOURCE)
    for row in range(8):
        for column in range(8):
            y = (row - 3.5) / scale + 3.5 - top
            x = (column - 3.5) / scale + 3.5 - left
            covered, pixel = 0.0, np.zeros(3)
            for i in range(height):
                for j in range(width):
                    share = max(0, 1 - abs(i - y)) * max(0, 1 - abs(j - x))
                    covered, pixel = covered + share, pixel + share * image[i, j]
            result[row, column] = pixel + (1 - covered) * around[row, column]
    return result


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_of_the_scale_equals_finite_differences(name):
    program = layer(name)
    checks.set_weights(program, 0.7)
    # Off the kinks of the bilinear kernel, which lie where samples meet pixels.
    program.scale_change.assign([0.137])
    images = random_images(2, LAYERS[name][1])
    mix = np.random.default_rng(3).normal(0, 1, (2, 1, *LAYERS[name][2])).astype("float32")

    def total():
        return tf.reduce_sum(mix * program(images))

    with tf.GradientTape() as tape:
        value = total()
    gradient = float(tape.gradient(value, program.scale_change.value)[0])
    step, sides = 2e-3, []
    for sign in (1, -1):
        program.scale_change.assign([0.137 + sign * step])
        sides.append(float(total()))
    slope = (sides[0] - sides[1]) / (2 * step)
    assert abs(slope) > 0.1, "the scale changes nothing"
    np.testing.assert_allclose(gradient, slope, rtol=0.02)


def test_live_is_what_some_scale_leaves_free():
    """All but the middle of an odd canvas, which the image covers however small it is."""
    odd = (9, 9, 3)
    program = ScaledProgram(COLOUR, odd, source_range=RANGE, image_size=9)
    images, reached = random_images(1, COLOUR), np.zeros(odd, bool)
    for scale in (0.1, 0.4, 1.0):
        program.scale_change.assign([scale - 1.0])
        program.program_weights.assign(np.zeros(odd))
        before = checks.as_array(program(images))
        program.program_weights.assign(np.ones(odd))
        reached |= np.abs(checks.as_array(program(images)) - before)[0, 0] > 1e-6
    live = program.live_coordinates()
    np.testing.assert_array_equal(live[:-1].reshape(odd), reached)
    assert live.sum() == 3 * 80 + 1


def test_training_keeps_the_scale_in_its_limits():
    program = layer(initial_scale=1.0)
    optimizer = keras.optimizers.SGD(1.0)
    for gradient, expected in ((1e6, 0.1), (-1e6, 5.0)):
        optimizer.apply([tf.constant([gradient])], [program.scale_change])
        assert program.scale == pytest.approx(expected)


def test_litert_builtins_equal_keras(tmp_path):
    program = layer("grey, wide")
    checks.set_weights(program, 0.5)
    images = random_images(3, (4, 4, 1))
    found = litert_answer(program, images, tmp_path)
    np.testing.assert_allclose(found, checks.as_array(program(images)), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial_scale": 9}, r"must lie in \[0.1, 5.0\]. Received: initial_scale=9"),
        ({"initial_scale": 0}, "`initial_scale` must be a number greater than 0"),
        ({"image_size": 9}, "`image_size` must not exceed the source's image"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        layer(**options)
