"""SampleMaskProgram: the contract, the network's published size, SMM's formula, files."""

import numpy as np
import pytest
from checks import check_program as checks
from checks.tiny_models import random_images
from litert_answers import litert_answer

from keras_reprogram import ProgramLayer
from keras_reprogram.program import SampleMaskProgram
from keras_reprogram.program.sample_mask_program import mask_generator

# No pixel near 0: the check of candidates compares relative to a pixel's value.
RANGE = (10.0, 20.0)
COLOUR, SOURCE, WIDE = (5, 4, 3), (8, 8, 3), (9, 11, 1)
LAYERS = {
    "square": ({"patch_size": 4, "filters": (4, 3)}, COLOUR, SOURCE),
    "a rest beside the patches": ({"patch_size": 4, "filters": (2, 3)}, (4, 4, 1), WIDE),
    "no patches": ({"patch_size": 1, "filters": (2,)}, COLOUR, SOURCE),
}


def layer(name="square", **more):
    options, target, source = LAYERS[name]
    return SampleMaskProgram(target, source, **{"source_range": RANGE} | options | more)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", LAYERS)
def test_contract(name):
    """All but `check_live_coordinates`, which sets all weights alike: ReLU then hides some."""
    program, images = layer(name), random_images(3, LAYERS[name][1])
    checks.set_weights(program, 0.1)
    checks.check_shape(program, images, LAYERS[name][2])
    checks.check_range(program, images, RANGE)
    checks.check_flat_value(program)
    checks.check_candidates(program, images)
    checks.check_one_trace(program, LAYERS[name][1])


def test_config_round_trip():
    program = layer("a rest beside the patches")
    checks.set_weights(program, 0.3)
    again = checks.check_config_round_trip(program)
    images = random_images(2, (4, 4, 1))
    np.testing.assert_array_equal(again(images), program(images))


@pytest.mark.parametrize(
    ("filters", "expected"), [((8, 16, 32, 64), 26_499), ((8, 16, 32, 64, 128), 102_339)]
)
def test_network_has_the_published_number_of_weights(filters, expected):
    """Table 4 of Cai et al. 2024."""
    network = mask_generator((32, 32, 3), filters=filters)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == expected
    assert network.output_shape == (None, 4, 4, 3)


def test_zero_pattern_is_the_resized_image():
    program = layer()
    images = random_images(2, COLOUR)
    plain = ProgramLayer(COLOUR, SOURCE, source_range=RANGE, placement="full")
    np.testing.assert_allclose(program(images), plain(images), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_source_image_is_the_papers(name):
    """`r(x) + delta * mask(r(x))`, the mask constant on patches (eq. 4, sec. 3.3)."""
    program = layer(name, strength=0.5)
    program.program_weights.assign(np.random.default_rng(1).normal(0, 5, LAYERS[name][2]))
    images = random_images(2, LAYERS[name][1])
    plain = ProgramLayer(LAYERS[name][1], LAYERS[name][2], source_range=(-1, 1), placement="full")
    resized = checks.as_array(plain(images))[:, 0]
    small = checks.as_array(program.mask_generator(resized, training=False))
    patch, (height, width) = program.patch_size, resized.shape[1:3]
    mask = np.zeros_like(resized)
    for row in range(height):
        for column in range(width):
            i = min(row // patch, height // patch - 1)
            j = min(column // patch, width // patch - 1)
            mask[:, row, column] = small[:, i, j]
    np.testing.assert_allclose(program.masks(images), mask, atol=1e-5)
    pattern = 0.5 * checks.as_array(program.program_weights) * mask
    assert np.abs(pattern).max() > 0.01, "the pattern changes nothing"
    expected = 15 + 5 * np.clip(resized + pattern, -1, 1)
    np.testing.assert_allclose(checks.as_array(program(images))[:, 0], expected, rtol=1e-4)


def test_masks_differ_from_image_to_image():
    masks = layer("no patches").masks(random_images(2, COLOUR))
    assert np.abs(masks[0] - masks[1]).max() > 0.01


def test_batch_statistics_are_learned_in_training_only():
    program = layer()
    moving = [v for v in program.non_trainable_variables if "moving" in v.path]
    assert len(moving) == 4
    before = [checks.as_array(v).copy() for v in moving]
    program(random_images(4, COLOUR))
    for variable, value in zip(moving, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    program(random_images(4, COLOUR), training=True)
    assert any(
        np.abs(checks.as_array(v) - b).max() > 0 for v, b in zip(moving, before, strict=True)
    )


def test_seed_draws_the_network():
    weights = [layer(seed=seed).mask_generator.get_weights()[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0] - weights[2]).max() > 0


@pytest.mark.slow
def test_litert_builtins_equal_keras(tmp_path):
    program = layer("a rest beside the patches")
    program.program_weights.assign(np.random.default_rng(1).normal(0, 1, WIDE))
    images = random_images(3, (4, 4, 1))
    found = litert_answer(program, images, tmp_path)
    np.testing.assert_allclose(found, checks.as_array(program(images)), atol=1e-4)


@pytest.mark.parametrize("patch_size", [3, 16, 0])
def test_wrong_patch_size(patch_size):
    with pytest.raises(ValueError, match=r"`patch_size` must be one of \[1, 2, 4\]"):
        layer(patch_size=patch_size)
