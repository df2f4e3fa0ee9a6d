"""Drawing views: from the seed alone, in range, the first ones kept."""

import json

import numpy as np
import pytest

from keras_reprogram import Placement, ProgramLayer, View, draw_views

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
