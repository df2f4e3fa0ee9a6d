"""ProgramLayer: the papers' formula, masks, regulariser, and messages for wrong arguments."""

import warnings

import keras
import numpy as np
import pytest
from checks.check_program import as_array, set_weights
from checks.tiny_models import random_images

from keras_reprogram import Placement, ProgramLayer, View

TARGET, SOURCE = (4, 4, 3), (8, 8, 3)


def layer(target=TARGET, source=SOURCE, **options):
    return ProgramLayer(target, source, **{"source_range": (0, 1)} | options)


FORMULAS = {
    "add": lambda x, p: x + p / 2,
    "subtract": lambda x, p: x - p / 2,
    "multiply": lambda x, p: x * (1 + p),
}


@pytest.mark.parametrize("operation", FORMULAS)
@pytest.mark.parametrize("source_range", [(0, 1), (-1, 1), (0, 255)])
def test_source_image_is_the_papers(operation, source_range):
    """One unit of P is half of the range, so that strength 1 reaches every value from mid-grey."""
    program = layer(operation=operation, source_range=source_range, strength=0.4)
    set_weights(program, 2.0)
    images = random_images(2, TARGET)
    x = np.full((2, *SOURCE), 0.5)
    x[:, 2:6, 2:6] = images / 255
    mask = np.ones((8, 8, 1))
    mask[2:6, 2:6] = 0
    p = 0.4 * np.tanh(as_array(program.program_weights)[0] * mask)
    joined = np.clip(FORMULAS[operation](x, p), 0, 1)
    expected = source_range[0] + (source_range[1] - source_range[0]) * joined
    np.testing.assert_allclose(as_array(program(images))[:, 0], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(program.program_images()[0], p, atol=1e-6)


def test_strength_one_reaches_both_ends_of_the_range():
    program = layer()
    for sign, expected in ((1, 1), (-1, 0)):
        program.program_weights.assign(np.full(program.program_weights.shape, 50.0 * sign))
        free = as_array(program(random_images(1, TARGET)))[0, 0, 0, 0]
        np.testing.assert_allclose(free, expected, atol=1e-6)


def test_image_itself_is_untouched_under_the_mask():
    program = layer()
    images = random_images(2, TARGET)
    before = as_array(program(images))
    set_weights(program, 10.0)
    after = as_array(program(images))
    np.testing.assert_array_equal(before[:, :, 2:6, 2:6], after[:, :, 2:6, 2:6])
    assert np.abs(after - before)[:, :, :2].min() > 0


def test_masks_differ_from_view_to_view():
    placement = Placement([View(0, 0, 4, 4), View(4, 4, 4, 4)])
    program = layer(placement=placement)
    set_weights(program, 10.0)
    images = random_images(1, TARGET)
    found = as_array(program(images))[0]
    expected = images[0] / 255
    np.testing.assert_allclose(found[0, :4, :4], expected, atol=1e-6)
    np.testing.assert_allclose(found[1, 4:, 4:], expected, atol=1e-6)
    assert np.abs(found[1, :4, :4] - 0.5).min() > 0.01
    assert program.live_coordinates().all(), "what one view covers, the other leaves free"


def test_one_program_or_one_a_view():
    assert layer(num_views=3).program_weights.shape == (1, 8, 8, 3)
    program = layer(num_views=3, per_view=True, grid=2)
    assert program.program_weights.shape == (3, 2, 2, 3)
    assert program.program_images().shape == (3, *SOURCE)


def test_grid_is_smooth_upsampling():
    program = layer(grid=2, masked=False)
    corners = np.zeros((1, 2, 2, 3))
    corners[0, :, 1] = 1.0
    program.program_weights.assign(corners)
    image = np.arctanh(program.program_images()[0])
    # Half-pixel centres: the two control points lie at pixels 1.5 and 5.5.
    ramp = np.clip((np.arange(8) - 1.5) / 4, 0, 1)
    np.testing.assert_allclose(image, np.broadcast_to(ramp[None, :, None], SOURCE), atol=1e-5)


def test_number_as_regularizer_is_lambda_times_squares():
    program = layer(regularizer=0.01)
    set_weights(program, 1.0)
    expected = 0.01 * np.square(as_array(program.program_weights)).sum()
    np.testing.assert_allclose(program.losses[0], expected, rtol=1e-5)
    l1 = layer(regularizer=keras.regularizers.L1(0.5))
    assert isinstance(l1.regularizer, keras.regularizers.L1)


def test_float32_whatever_the_global_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = layer()(random_images(1, TARGET))
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"


def test_integer_images_are_taken():
    pixels = random_images(2, TARGET).astype("uint8")
    np.testing.assert_array_equal(layer()(pixels), layer()(pixels.astype("float32")))


def test_target_range_is_what_images_come_in():
    images = random_images(2, TARGET)
    found = layer(target_range=(-1, 1))(images / 127.5 - 1)
    np.testing.assert_allclose(found, layer()(images), atol=1e-6)


def view_of(program):
    view = program.placement.views[0]
    return view.top, view.left, view.height, view.width


PLACES = [
    ({}, TARGET, SOURCE, (2, 2, 4, 4)),
    ({}, (3, 4, 3), SOURCE, (2, 2, 3, 4)),
    ({"placement": "full"}, TARGET, SOURCE, (0, 0, 8, 8)),
    ({"image_size": 6}, TARGET, SOURCE, (1, 1, 6, 6)),
    ({"image_size": (2, 8)}, TARGET, SOURCE, (3, 0, 2, 8)),
    ({}, (8, 8, 3), SOURCE, (0, 0, 8, 8)),
    ({}, TARGET, (6, 12, 3), (1, 4, 4, 4)),
]


@pytest.mark.parametrize(("options", "target", "source", "expected"), PLACES)
def test_where_the_image_goes(options, target, source, expected):
    assert view_of(layer(target, source, **options)) == expected


def test_oversized_image_is_shrunk_with_one_warning():
    with pytest.warns(UserWarning, match=r"\(20, 10\) is larger than.*shrunk to \(8, 4\)") as seen:
        program = layer((20, 10, 3))
    assert len(seen) == 1
    # It points at who built the layer, here the helper above.
    assert seen[0].filename == __file__
    assert view_of(program) == (0, 2, 8, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = ProgramLayer.from_config(program.get_config())
        # Its size was chosen by the user, so there is nothing to say.
        layer((20, 10, 3), image_size=(8, 4))
        layer((20, 10, 3), placement="full")
    assert view_of(again) == view_of(program)
    assert again.image_size == (8, 4)


def test_oversized_image_can_be_refused():
    with pytest.raises(ValueError, match=r'oversized="refuse".*Pass `image_size=\(8, 4\)`'):
        layer((20, 10, 3), oversized="refuse")
    assert view_of(layer(oversized="refuse")) == (2, 2, 4, 4)


VIEWS = Placement([View(0, 0, 4, 4), View(4, 4, 4, 4)])
WRONG = [
    ({"target": (4, 4)}, r"`target_shape` must be \(height, width, channels\).*images\[..., None"),
    ({"target": (4, 4, 0)}, r"Received: target_shape=\(4, 4, 0\)"),
    ({"target": (4, 4.5, 3)}, "three positive integers"),
    ({"target": 4}, "Received: target_shape=4"),
    ({"source": (None, None, 3)}, "`source_shape` must be"),
    ({"source_range": (1, 0)}, r"`source_range` must be \(low, high\).*Received.*\(1, 0\)"),
    ({"source_range": (0, 1, 2)}, "`source_range` must be"),
    ({"target_range": (0, float("nan"))}, "`target_range` must be"),
    ({"operation": "divide"}, "`operation` must be one of.*Received: operation='divide'"),
    ({"oversized": "crop"}, "`oversized` must be one of"),
    ({"placement": "centre"}, "`placement` must be one of.*Received: placement='centre'"),
    ({"grid": 0}, "`grid` must be a positive integer. Received: grid=0"),
    ({"grid": 2.5}, "`grid` must be a positive integer"),
    ({"strength": 0}, "`strength` must be a number greater than 0. Received: strength=0"),
    ({"strength": None}, "`strength` must be a number"),
    ({"strength": float("inf")}, "`strength` must be a number"),
    ({"num_views": 0}, "`num_views` must be a positive integer"),
    ({"num_views": 0, "placement": "views"}, "`num_views` must be a positive integer"),
    ({"num_views": 3, "placement": VIEWS}, "must match the placement's 2 views. Received.*3"),
    ({"image_size": 9}, r"must not exceed.*image_size=\(9, 9\).*Pass a smaller"),
    ({"image_size": (0, 4)}, r"`image_size` must be a positive integer or.*\(0, 4\)"),
    ({"image_size": (4, 4, 3)}, "`image_size` must be"),
    ({"placement": Placement([View(8, 0, 4, 4)])}, "must lie on the canvas of 8 pixels"),
    (
        {"placement": Placement([View(0, 0, 4, 4, colour_matrix=[[1.0]])])},
        r"`colour_matrix` of shape \(3, 3\).*Received: shapes \(1, 1\)",
    ),
    (
        {"placement": Placement([View(0, 0, 4, 4, background=np.full((2, 2, 1), 0.5))])},
        r"must have shape \(k, l, 3\)",
    ),
    (
        {"placement": Placement([View(0, 0, 4, 4, background=np.full((2, 2, 3), 2.0))])},
        r"values in \[0, 1\]",
    ),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        layer(**options)


@pytest.mark.parametrize("shape", [(1, 5, 4, 3), (1, 4, 4, 1), (4, 4, 3)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="expected (shape|ndim)"):
        layer()(np.zeros(shape, "float32"))


@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 32, 48), (1, 28, 28)])
def test_target_images_with_their_channels_first_are_named(shape):
    with pytest.raises(ValueError, match=r"seems to have its channels first.*np\.moveaxis"):
        ProgramLayer(shape, (64, 64, 3), source_range=(0, 255))


def test_signals_are_no_images_with_their_channels_first():
    assert ProgramLayer((1, 100, 12), (64, 128, 12), source_range=(0, 1)).target_shape[0] == 1
