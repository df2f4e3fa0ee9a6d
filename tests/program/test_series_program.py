"""SeriesProgram: the contract, Voice2Series's formula by hand, views, refusals, files."""

import keras
import numpy as np
import pytest
from checks import check_program as checks
from checks.tiny_models import random_images
from litert_answers import litert_answer

from keras_reprogram import SeriesProgram, SeriesView, draw_series_views
from keras_reprogram.program import repeated_view
from keras_reprogram.program.canvas import resize_matrix
from keras_reprogram.program.series_views import taps

RANGE = (-1.0, 1.0)
THREE = (SeriesView(0, 5, 2, 9), SeriesView(3, 7, 3), SeriesView(10, 2, 1))
# The checks' series reach 255: a small factor keeps them from being clipped everywhere.
OWN = {"scale": 0.002}
LAYERS = {
    "plain": ({}, (5,), (31,)),
    "views": ({"views": THREE}, (5,), (31,)),
    "drawn": ({"num_views": 4, "seed": 3}, (5,), (31,)),
    "each view its own": ({"views": THREE, "per_view": True}, (5,), (31,)),
    "everywhere": ({"masked": False, "squash": "none", "strength": 0.1}, (5,), (31,)),
    "one channel": ({"regularizer": 0.1}, (5, 1), (31, 1)),
    "channels": ({"channels": "average"}, (5, 3), (31,)),
    "longer": ({"oversized": "resample"}, (50,), (31,)),
}


def layer(name="plain", **more):
    options, target, source = LAYERS[name]
    return SeriesProgram(target, source, **{"source_range": RANGE} | OWN | options | more)


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("name", LAYERS)
def test_contract(name):
    _, target, source = LAYERS[name]
    checks.check_program(layer(name), target, source, RANGE)


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("name", LAYERS)
def test_config_round_trip(name):
    program = layer(name)
    checks.set_weights(program, 0.3)
    again = checks.check_config_round_trip(program)
    series = random_images(2, program.target_shape)
    np.testing.assert_array_equal(again(series), program(series))
    assert again.views == program.views
    assert len(again.losses) == (name == "one channel")


def test_copies_and_weights_by_hand():
    program = layer("views", scale=0.5, squash="none", strength=0.2)
    series = np.random.default_rng(0).normal(0, 0.3, (2, 5)).astype("float32")
    checks.set_weights(program, 1.0)
    weights = checks.as_array(program.program_weights)[0]
    found = checks.as_array(program(series))
    for number, view in enumerate(THREE):
        expected = np.tile(0.2 * weights, (2, 1))
        for start in (view.start + copy * view.distance for copy in range(view.copies)):
            resampled = series @ resize_matrix(5, view.length).T
            expected[:, start : start + view.length] = 0.5 * resampled
        np.testing.assert_allclose(found[:, number], expected.clip(-1, 1), atol=1e-6)


def test_an_unknown_range_clips_nothing_and_another_one_is_filled_from_its_middle():
    series = np.full((1, 5), 30.0, "float32")
    assert float(keras.ops.max(layer(source_range=None, scale=1.0)(series))) == 30
    found = checks.as_array(layer(source_range=(0, 10), scale=1.0)(series[:1] / 60))
    assert found.min() == 5.0 and found.max() == 7.5


@pytest.mark.parametrize(("length", "size"), [(5, 5), (5, 23), (23, 5), (900, 7), (1, 4)])
def test_taps_are_the_rows_of_the_resize_matrix(length, size):
    places, weights, covered = taps([SeriesView(2, size)], length, size + 3)
    dense = np.zeros((size + 3, length))
    for place, weight in zip(places[:, 0], weights[:, 0], strict=True):
        dense[np.arange(size + 3), place] += weight
    np.testing.assert_allclose(dense[2:-1], resize_matrix(length, size), atol=1e-6)
    assert not dense[:2].any() and not dense[-1:].any()
    assert covered[0].tolist() == [0, 0, *[1] * size, 0]


def test_distances_of_the_paper():
    # SegZeroPadding1D of its code: all = 16000 // 96, step = floor(all / m), s * step * 96.
    view = repeated_view(96, 16_000, copies=10)
    assert list(view.starts) == [s * (16_000 // 96 // 10) * 96 for s in range(10)]
    with pytest.raises(ValueError, match="166 copies of 96 values fit into 16000 samples"):
        repeated_view(96, 16_000, copies=167)


@pytest.mark.parametrize(("length", "samples"), [(24, 16_000), (900, 16_000), (31, 31), (50, 31)])
def test_drawn_views_fit_and_differ(length, samples):
    views = draw_series_views(length, samples, 12, seed=1)
    assert len(set(views)) > 8
    assert all(view.end <= samples for view in views)
    assert draw_series_views(length, samples, 3, seed=1) == views[:3]
    assert draw_series_views(length, samples, 3, seed=2) != views[:3]


REFUSED = {
    "longer": ({"target_shape": (32,)}, "must not be longer than the 31 samples.*Received: 32"),
    "channels": ({"target_shape": (5, 3)}, 'several of .length, channels. with `channels="ave'),
    "image": ({"target_shape": (5, 3, 1)}, "`target_shape` .length,.. Received"),
    "wide": ({"source_shape": (31, 2)}, r"one row of samples.*Received: source_shape=\(31, 2\)"),
    "beyond": ({"views": [SeriesView(20, 12)]}, "ends at 32. Use fewer or shorter"),
    "count": ({"views": THREE, "num_views": 2}, "Received: 3 views, num_views=2"),
    "none": ({"views": []}, "one or more `SeriesView`"),
    "scale": ({"scale": 0}, "`scale` must be a number greater than 0"),
    "dropout": ({"dropout": 1}, r"`dropout` must lie in \[0, 1\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    options, said = REFUSED[case]
    shapes = {"target_shape": (5,), "source_shape": (31,)}
    with pytest.raises(ValueError, match=said):
        SeriesProgram(**shapes | {"source_range": RANGE} | options)


def test_views_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="must not overlap. Received: start=0, distance=3"):
        SeriesView(0, 4, 2, 3)
    with pytest.raises(ValueError, match="`copies` must be a positive integer"):
        SeriesView(0, 4, 0)


def test_dropout_is_of_training_alone():
    program = layer(dropout=0.5, strength=0.5)
    program.program_weights.assign(np.ones((1, 31)))
    series = np.zeros((1, 5), "float32")
    plain = checks.as_array(program(series))[0, 0, 30:]
    assert plain == pytest.approx(0.5 * np.tanh(1))
    left_out = layer("views", dropout=0.5, strength=0.1, squash="none")
    left_out.program_weights.assign(np.ones((1, 31)))
    found = checks.as_array(left_out(series, training=True))[0, 2]
    assert set(np.unique(found.round(4))) <= {0.0, np.float32(0.2)}
    assert 4 < (found > 0).sum() < 27


@pytest.mark.slow
@pytest.mark.parametrize("name", ["views", "one channel", "longer"])
def test_litert_gives_the_same_samples(name, tmp_path):
    program = layer(name)
    checks.set_weights(program, 0.3)
    series = random_images(3, program.target_shape)
    np.testing.assert_allclose(litert_answer(program, series, tmp_path), program(series), atol=1e-6)
