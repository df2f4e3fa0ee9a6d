"""Every program through the same checks: a new program is one more row."""

import keras
import numpy as np
import pytest
from checks import check_program as checks
from checks.tiny_models import random_images

from keras_reprogram import Placement, ProgramLayer, View, draw_views

RANGE = (-1.0, 1.0)
GREY, COLOUR, SOURCE, WIDE = (4, 4, 1), (5, 4, 3), (8, 8, 3), (6, 10, 3)

# Options and target and source shape of a `ProgramLayer`.
LAYERS = {
    "center": ({}, COLOUR, SOURCE),
    "subtract": ({"operation": "subtract"}, COLOUR, SOURCE),
    "multiply": ({"operation": "multiply", "strength": 0.5}, COLOUR, SOURCE),
    "grid": ({"grid": 3}, COLOUR, SOURCE),
    "fine grid": ({"grid": 8, "image_size": (8, 2)}, COLOUR, SOURCE),
    "unmasked": ({"masked": False, "placement": "full"}, COLOUR, SOURCE),
    "nothing free": ({"placement": "full"}, COLOUR, SOURCE),
    "grey to colour": ({}, GREY, SOURCE),
    "colour to grey": ({}, COLOUR, (8, 8, 1)),
    "two to three channels": ({}, (4, 4, 2), SOURCE),
    "not square": ({}, COLOUR, WIDE),
    "not square grid": ({"grid": 4}, COLOUR, WIDE),
    "enlarged": ({"image_size": (6, 7)}, COLOUR, SOURCE),
    "views": ({"placement": "views", "num_views": 3}, COLOUR, SOURCE),
    "views grid": ({"placement": "views", "num_views": 3, "grid": 3}, GREY, SOURCE),
    "per view": ({"placement": "views", "num_views": 3, "per_view": True}, COLOUR, SOURCE),
    "per view grid": (
        {"placement": "views", "num_views": 3, "per_view": True, "grid": 3},
        COLOUR,
        SOURCE,
    ),
    "equal views": ({"num_views": 2, "per_view": True}, COLOUR, SOURCE),
    "placement": ({"placement": Placement([View(0, 0, 3, 8), View(5, 1, 2, 2)])}, COLOUR, SOURCE),
    "low rank": ({"rank": 2}, COLOUR, SOURCE),
    "low rank full": ({"rank": 3, "masked": False, "placement": "full"}, COLOUR, SOURCE),
    "low rank grid": ({"rank": 2, "grid": 4}, COLOUR, WIDE),
    "low rank per view": (
        {"placement": "views", "num_views": 3, "per_view": True, "rank": 1},
        GREY,
        WIDE,
    ),
    "low rank to grey": ({"rank": 1, "image_size": (8, 5)}, COLOUR, (8, 8, 1)),
    "regularised": ({"regularizer": 1e-3}, COLOUR, SOURCE),
}


def layer(name, **more):
    options, target, source = LAYERS[name]
    facts = {"source_range": RANGE, "target_range": (0, 255)}
    return ProgramLayer(target, source, **facts | options | more)


@pytest.mark.parametrize("name", LAYERS)
def test_program_layer_keeps_the_contract(name):
    _, target, source = LAYERS[name]
    checks.check_program(layer(name), target, source, RANGE)


@pytest.mark.parametrize("name", LAYERS)
def test_config_round_trip(name):
    program = layer(name)
    checks.set_weights(program, 0.3)
    program.trainable = name != "center"
    again = checks.check_config_round_trip(program)
    images = random_images(2, program.target_shape)
    np.testing.assert_array_equal(again(images), program(images))
    assert again.trainable is program.trainable
    assert again.num_views == program.num_views
    assert len(again.losses) == len(program.losses) == (name == "regularised")


@pytest.mark.fast_cases(25)
@pytest.mark.parametrize("operation", ["add", "subtract", "multiply"])
@pytest.mark.parametrize("name", LAYERS)
def test_zero_program_is_the_placed_image(name, operation):
    program = layer(name, operation=operation)
    images = random_images(2, program.target_shape)
    found = checks.as_array(program(images))
    for index, view in enumerate(program.placement.views):
        expected = placed_by_hand(images, view, program)
        np.testing.assert_allclose(found[:, index], expected, atol=1e-5)


def placed_by_hand(images, view, program):
    """Slow and plain: resize each image, paste it on the background."""
    height, width, channels = program.source_shape
    matrix, offset = view.colours(program.target_shape[2], channels)
    pixels = images / 255 @ matrix + offset
    size = (view.height, view.width)
    resized = keras.ops.image.resize(pixels, size, "bilinear", antialias=True)
    canvas = np.broadcast_to(
        view.background_pixels(program.source_shape), (len(images), height, width, channels)
    ).copy()
    rows, columns = slice(view.top, view.top + size[0]), slice(view.left, view.left + size[1])
    canvas[:, rows, columns] = resized
    return RANGE[0] + (RANGE[1] - RANGE[0]) * canvas


def test_the_last_test_sees_shrunk_enlarged_and_equal_images():
    sizes = {
        (np.sign(view.height - layer(name).target_shape[0]))
        for name in LAYERS
        for view in layer(name).placement.views
    }
    assert sizes == {-1, 0, 1}


class Recolouring(keras.layers.Layer):
    """A program of somebody else: a gain a channel and a bias, random while training."""

    target_shape = COLOUR

    def build(self, input_shape):
        self.gain = self.add_weight(shape=(3,), initializer="ones", name="gain")
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")
        self.dropout = keras.layers.Dropout(0.5, seed=0)

    def call(self, images, training=False):
        pixels = images / 127.5 - 1.0
        joined = self.dropout(pixels * self.gain + self.bias, training=training)
        padded = keras.ops.pad(joined, ((0, 0), (0, 3), (0, 4), (0, 0)))
        return keras.ops.clip(padded, *RANGE)[:, None]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1, *SOURCE)


def test_any_layer_is_a_program():
    program = Recolouring()
    program.build((None, *COLOUR))
    checks.check_program(program, COLOUR, SOURCE, RANGE)
    assert program.live_coordinates().tolist() == [True] * 4


def test_layer_without_weights_is_a_program():
    program = ProgramLayer(COLOUR, SOURCE, source_range=RANGE)
    program.trainable = False
    images = random_images(2, COLOUR)
    assert checks.flat_value(program).shape == (0,)
    assert program(images).shape == (2, 1, *SOURCE)


def test_views_of_a_pool_are_the_pools():
    pool = draw_views(COLOUR, SOURCE, 5, seed=3)
    chosen = Placement([pool.views[4], pool.views[1]])
    images = random_images(2, COLOUR)
    options = {"source_range": RANGE, "target_range": (0, 255)}
    few = ProgramLayer(COLOUR, SOURCE, placement=chosen, **options)
    many = ProgramLayer(COLOUR, SOURCE, placement="views", num_views=5, seed=3, **options)
    np.testing.assert_array_equal(few(images), checks.as_array(many(images))[:, [4, 1]])
