"""The constant matrices that resize, place and recolour."""

import keras
import numpy as np
import pytest

from keras_reprogram.program.canvas import (
    channel_matrix,
    free_pixels,
    largest_fit,
    placement_matrix,
    resize_matrix,
)

CLOSED_FORMS = [
    (1, 3, [[1], [1], [1]]),
    (3, 3, np.eye(3)),
    (2, 4, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]),
    # Triangles two pixels wide over four pixels, cut off at the border: 3/8, 3/8, 1/8 and so on.
    (4, 2, np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7),
]


@pytest.mark.parametrize(("before", "after", "expected"), CLOSED_FORMS)
def test_resize_matrix_in_closed_form(before, after, expected):
    np.testing.assert_allclose(resize_matrix(before, after), expected, atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(5, 12), (12, 5), (28, 32), (32, 31), (7, 1)])
def test_resize_matrix_is_antialiased_bilinear(before, after):
    line = np.random.default_rng(0).uniform(size=before).astype("float32")
    plane = line[:, None, None] * np.ones((1, 3, 1), "float32")
    expected = keras.ops.image.resize(plane, (after, 3), "bilinear", antialias=True)[:, 0, 0]
    np.testing.assert_allclose(resize_matrix(before, after) @ line, expected, atol=1e-5)


@pytest.mark.parametrize(("before", "after"), [(3, 50), (50, 3), (9, 10), (1, 1)])
def test_resize_matrix_averages(before, after):
    matrix = resize_matrix(before, after)
    assert matrix.shape == (after, before)
    assert matrix.dtype == np.float32
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    assert (matrix.sum(axis=0) > 0).all(), "a pixel is skipped"
    np.testing.assert_allclose(matrix[::-1, ::-1], matrix, atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(0, 4), (4, 0)])
def test_sizes_below_one_are_refused(before, after):
    with pytest.raises(ValueError, match="Sizes must be at least 1 pixel"):
        resize_matrix(before, after)


def test_placement_matrix_is_a_resize_on_an_empty_axis():
    matrix = placement_matrix(input_size=4, size=2, start=3, canvas_size=8)
    np.testing.assert_array_equal(matrix[3:5], resize_matrix(4, 2))
    assert matrix[:3].sum() == matrix[5:].sum() == 0


def test_placement_matrix_cuts_off_what_leaves_the_canvas():
    matrix = placement_matrix(input_size=4, size=8, start=-2, canvas_size=5)
    np.testing.assert_array_equal(matrix, resize_matrix(4, 8)[2:7])


def test_flipped_placement_matrix_mirrors_the_image_where_it_is():
    plain = placement_matrix(4, 4, 1, 8)
    flipped = placement_matrix(4, 4, 1, 8, flipped=True)
    np.testing.assert_array_equal(flipped[1:5], plain[1:5][::-1])
    assert flipped[:1].sum() == flipped[5:].sum() == 0


@pytest.mark.parametrize(("start", "size"), [(-2, 2), (8, 2)])
def test_image_beyond_the_canvas_is_refused(start, size):
    with pytest.raises(ValueError, match=f"canvas of 8 pixels. Received: start={start}"):
        placement_matrix(4, size, start, 8)


def test_free_pixels_are_those_around_the_image():
    assert free_pixels((3, 4), 1, 2, 1, 2).tolist() == [[1] * 4, [1, 1, 0, 0], [1] * 4]


FITS = [
    ((8, 8), (32, 32), (8, 8)),
    ((100, 50), (32, 32), (32, 16)),
    ((50, 100), (32, 32), (16, 32)),
    ((64, 64), (32, 16), (16, 16)),
    ((1000, 1), (32, 32), (32, 1)),
    ((33, 32), (32, 32), (32, 31)),
]


@pytest.mark.parametrize(("image", "canvas", "expected"), FITS)
def test_largest_fit_keeps_the_aspect(image, canvas, expected):
    assert largest_fit(image, canvas) == expected


CHANNELS = [
    (1, 3, [[1, 1, 1]]),
    (3, 3, np.eye(3)),
    (3, 1, [[0.299], [0.587], [0.114]]),
    (2, 3, np.full((2, 3), 0.5)),
    (4, 1, np.full((4, 1), 0.25)),
]


@pytest.mark.parametrize(("target", "source", "expected"), CHANNELS)
def test_channel_matrix(target, source, expected):
    matrix = channel_matrix(target, source)
    np.testing.assert_allclose(matrix, expected)
    np.testing.assert_allclose(matrix.sum(axis=0), 1, atol=1e-6)
