"""Drawing views: from the seed alone, in range, the first ones kept."""

import json

import numpy as np
import pytest

from keras_reprogram import Placement, ProgramLayer, View, draw_views
from keras_reprogram.program.views import suggested_style

SHAPES = [((4, 4, 1), (8, 8, 3)), ((5, 6, 3), (9, 7, 3)), ((5, 6, 3), (8, 8, 1))]


@pytest.mark.parametrize(("target", "source"), SHAPES)
def test_more_views_keep_the_first_ones(target, source):
    many = draw_views(target, source, 12, seed=5).views
    for count in (1, 2, 11):
        assert draw_views(target, source, count, seed=5).views == many[:count]
    assert len(set(many)) == 12


def test_view_zero_is_the_plain_image():
    first = {draw_views((4, 4, 1), (8, 8, 3), 2, seed=seed).views[0] for seed in range(3)}
    assert first == {View(0, 0, 8, 8, ((1.0, 1.0, 1.0),))}
    second = {draw_views((4, 4, 1), (8, 8, 3), 2, seed=seed).views[1] for seed in range(3)}
    assert len(second) == 3


@pytest.mark.parametrize(("target", "source"), SHAPES)
def test_drawn_views_stay_on_the_canvas_and_in_range(target, source):
    for view in draw_views(target, source, 60, seed=1).views:
        assert 0 <= view.top <= view.top + view.height <= source[0]
        assert 0 <= view.left <= view.left + view.width <= source[1]
        assert view.height >= 0.4 * source[0]
        assert view.width >= 0.4 * source[1]
        matrix, offset = view.colours(target[2], source[2])
        # The ends of a linear map of [0, 1]^c.
        lowest = offset + np.minimum(matrix, 0).sum(axis=0)
        highest = offset + np.maximum(matrix, 0).sum(axis=0)
        assert lowest.min() >= -1e-6
        assert highest.max() <= 1 + 1e-6
        assert (highest - lowest).min() >= 0.5 - 1e-6
        background = view.background_pixels(source)
        assert background.shape == source
        assert 0 <= background.min() <= background.max() <= 1


def test_placement_round_trip_through_json():
    placement = draw_views((4, 4, 1), (8, 8, 3), 4, seed=2)
    again = Placement.from_config(json.loads(json.dumps(placement.get_config())))
    assert again.views == placement.views


def test_views_compare_whatever_they_were_written_as():
    one = View(0, 0, 4, 4, [[1.0, 0.5, 0.0]], np.zeros(3), np.full((1, 1, 3), 0.5))
    assert one == View(0, 0, 4, 4, ((1.0, 0.5, 0.0),), (0.0, 0.0, 0.0), (((0.5, 0.5, 0.5),),))
    assert hash(one)


def test_colours_beyond_the_range_are_clipped():
    view = View(0, 0, 2, 2, colour_matrix=[[4.0]], colour_offset=[-1.0])
    program = ProgramLayer(
        (2, 2, 1), (2, 2, 1), source_range=(0, 1), target_range=(0, 1), placement=Placement([view])
    )
    pixels = np.array([[0.0, 0.25], [0.375, 1.0]]).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(np.ravel(program(pixels)), [0, 0, 0.5, 1], atol=1e-6)


def test_placement_without_views_is_refused():
    with pytest.raises(ValueError, match="at least one view"):
        Placement([])
    with pytest.raises(ValueError, match="`num_views` must be at least 1. Received: num_views=0"):
        draw_views((4, 4, 1), (8, 8, 3), 0)


@pytest.mark.parametrize(("target", "source"), SHAPES)
def test_gentle_views_cover_the_canvas_and_keep_colours(target, source):
    views = draw_views(target, source, 30, seed=1, style="gentle").views
    assert len(set(views)) > 20  # a small canvas has few places
    for view in views:
        assert view.top <= 0 <= view.top + view.height - source[0]
        assert view.left <= 0 <= view.left + view.width - source[1]
        assert view.height <= 1.6 * source[0]
        assert view.colour_matrix == views[0].colour_matrix
        assert not view.background
    assert sum(view.flipped for view in views) == 15


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("side", [32, 128, 224])
def test_no_gentle_view_is_paid_for_twice(seed, side):
    views = draw_views((32, 32, 3), (side, side, 3), 24, seed, style="gentle").views
    assert len(set(views)) == len(views)
    for view in views[2:]:
        assert max(view.height, view.width) >= 1.05 * side


def test_gentle_views_of_the_smallest_canvas():
    assert len(draw_views((1, 1, 3), (1, 1, 3), 8, style="gentle").views) == 8


def test_mixed_views_take_turns():
    mixed = draw_views(*SHAPES[1], 7, seed=1, style="mixed").views
    bold = draw_views(*SHAPES[1], 4, seed=1).views
    gentle = draw_views(*SHAPES[1], 4, seed=1, style="gentle").views
    assert mixed[1::2] == bold[1:]
    assert mixed[2::2] == gentle[1:]


def test_flipped_view_is_the_mirrored_image():
    views = [View(0, 0, 4, 4), View(0, 0, 4, 4, flipped=True)]
    program = ProgramLayer(
        (4, 4, 3), (4, 4, 3), source_range=(0, 1), target_range=(0, 1), placement=Placement(views)
    )
    image = np.random.default_rng(0).uniform(size=(1, 4, 4, 3)).astype("float32")
    plain, flipped = np.asarray(program(image))[0]
    np.testing.assert_allclose(flipped, plain[:, ::-1], atol=1e-6)


def test_zoomed_view_shows_the_middle_of_the_image():
    view = View(-2, -2, 8, 8)
    program = ProgramLayer(
        (4, 4, 1), (4, 4, 1), source_range=(0, 1), target_range=(0, 1), placement=Placement([view])
    )
    image = np.zeros((1, 4, 4, 1), "float32")
    image[0, 1:3, 1:3] = 1.0
    source_image = np.asarray(program(image))[0, 0, :, :, 0]
    assert source_image[1:3, 1:3].min() == 1.0
    assert source_image.sum() > image.sum()
    assert program.live_coordinates().sum() == 0


def test_unknown_style_is_refused():
    with pytest.raises(ValueError, match="`style` must be one of .*Received: style='wild'"):
        draw_views((4, 4, 1), (8, 8, 3), 2, style="wild")


def test_suggested_style_depends_on_colours_and_labels():
    assert suggested_style(3, 1000) == "gentle"
    assert suggested_style(1, 1000) == suggested_style(3, 43) == "bold"
