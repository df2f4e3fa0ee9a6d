"""Sigmoid and unsquashed programs, and programs on a frame, against the papers' formulas."""

import numpy as np
import pytest
from checks import check_program as checks
from checks.tiny_models import random_images

from keras_reprogram import ProgramLayer

TARGET, SOURCE, RANGE = (4, 4, 3), (8, 8, 3), (0.0, 1.0)
LAYERS = {
    "sigmoid": {"squash": "sigmoid"},
    "none": {"squash": "none", "strength": 0.45},
    "frame": {"squash": "none", "frame": 2, "placement": "full"},
    "frame grid": {"frame": 1, "grid": 4, "placement": "full"},
    "frame views": {"frame": 3, "placement": "views", "num_views": 2},
}


def layer(**options):
    return ProgramLayer(TARGET, SOURCE, **{"source_range": RANGE} | options)


@pytest.mark.parametrize("name", LAYERS)
def test_contract_and_config(name):
    program = layer(**LAYERS[name])
    checks.check_program(program, TARGET, SOURCE, RANGE)
    again = checks.check_config_round_trip(program)
    images = random_images(2, TARGET)
    np.testing.assert_array_equal(again(images), program(images))


def test_sigmoid_is_the_black_padding_of_the_paper():
    """`pad(x) + sigmoid(W) * M` with zeros around x (Chen et al. 2023)."""
    program = layer(squash="sigmoid")
    checks.set_weights(program, 2.0)
    images = random_images(2, TARGET)
    x, mask = np.zeros((2, *SOURCE)), np.ones((8, 8, 1))
    x[:, 2:6, 2:6] = images / 255
    mask[2:6, 2:6] = 0
    weights = checks.as_array(program.program_weights)[0]
    expected = x + mask / (1 + np.exp(-weights))
    np.testing.assert_allclose(checks.as_array(program(images))[:, 0], expected, atol=1e-5)


def test_prompt_is_added_to_the_frame_in_standard_deviations():
    """`x + P` where images are normalised by a standard deviation of .225 (Bahng et al. 2022)."""
    program = layer(squash="none", frame=2, placement="full", strength=0.45)
    checks.set_weights(program, 0.3)
    images = random_images(2, (4, 4, 3))
    x = checks.as_array(layer(placement="full")(images))[:, 0]
    weights = checks.as_array(program.program_weights)[0].copy()
    weights[2:6, 2:6] = 0
    expected = np.clip((x / 0.225 + weights) * 0.225, 0, 1)
    np.testing.assert_allclose(checks.as_array(program(images))[:, 0], expected, atol=1e-5)


def test_old_configs_without_the_options_mean_what_they_meant():
    config = layer().get_config()
    del config["squash"], config["frame"]
    again = ProgramLayer.from_config(config)
    assert (again.squash, again.frame) == ("tanh", None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"squash": "softsign"}, r"`squash` must be one of.*'softsign'"),
        ({"frame": 5}, "at most half of the canvas, 4 pixels. Received: frame=5"),
        ({"frame": 0}, "`frame` must be a positive integer"),
        ({"frame": 2, "masked": False}, "Received: both, frame=2. Leave one out"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        layer(**options)
