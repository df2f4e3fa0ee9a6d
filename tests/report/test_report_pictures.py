import io
import sys

import matplotlib
import numpy as np
import pytest

from keras_reprogram.report import draw_program, draw_source_images

RNG = np.random.default_rng(0)


def rendered(figure):
    """The figure's pixels, (height, width, 4) in 0 to 255."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", dpi=50)
    width, height = (int(inches * 50) for inches in figure.get_size_inches())
    return np.frombuffer(buffer.getvalue(), "uint8").reshape(-1, width, 4)[:height]


def picture(axes):
    return np.asarray(axes.images[0].get_array())


def test_targets_stand_above_their_views():
    targets = RNG.uniform(0, 16, (3, 8, 8, 1))
    sources = RNG.uniform(-1, 1, (3, 2, 32, 32, 3))
    figure = draw_source_images(targets, sources, (-1, 1), ["four", "seven", "one"])
    assert len(figure.axes) == 9
    assert [axes.get_title() for axes in figure.axes[:3]] == ["four", "seven", "one"]
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["target", "view 1", "view 2"]
    np.testing.assert_allclose(picture(figure.axes[3 + 1]), (sources[1, 0] + 1) / 2)
    np.testing.assert_allclose(picture(figure.axes[6 + 2]), (sources[2, 1] + 1) / 2)
    assert np.ptp(rendered(figure)[..., :3]) > 200


def test_grey_targets_span_their_own_range_unless_told():
    targets = np.linspace(4, 12, 64).reshape(1, 8, 8, 1)
    sources = np.zeros((1, 1, 8, 8, 1))
    own = picture(draw_source_images(targets, sources, (0, 1)).axes[0])
    assert (own.min(), own.max(), own.shape) == (0.0, 1.0, (8, 8, 3))
    told = picture(draw_source_images(targets, sources, (0, 1), target_range=(0, 16)).axes[0])
    assert (told.min(), told.max()) == (0.25, 0.75)


def test_long_batches_and_many_views_are_cut_and_say_so():
    figure = draw_source_images(np.zeros((20, 4, 4, 3)), np.zeros((20, 8, 4, 4, 3)), (0, 255))
    assert len(figure.axes) == 12 * (1 + 4)
    assert figure.get_supxlabel() == "12 of 20 images, 4 of 8 views shown"


def test_a_faint_program_is_also_drawn_with_stretched_contrast():
    program = np.zeros((1, 4, 4, 3))
    program[0, 0, 0, 0], program[0, 3, 3, 2] = 0.1, -0.05
    figure = draw_program(program, (-1, 1))
    assert len(figure.axes) == 2
    assert figure.axes[1].get_ylabel() == "contrast\n× 10"
    assert picture(figure.axes[0])[0, 0, 0] == pytest.approx(0.55)
    assert picture(figure.axes[1])[0, 0, 0] == pytest.approx(1.0)
    assert picture(figure.axes[1])[3, 3, 2] == pytest.approx(0.25)


@pytest.mark.parametrize(
    "program", [np.full((1, 4, 4, 1), 127.5), RNG.uniform(0, 255, (1, 4, 4, 1))]
)
def test_zero_and_strong_programs_need_no_stretching(program):
    assert len(draw_program(program, (0, 255)).axes) == 1


def test_per_view_programs_are_titled():
    figure = draw_program(RNG.uniform(-1, 1, (3, 4, 4, 3)), (-1, 1))
    assert [axes.get_title() for axes in figure.axes] == ["view 1", "view 2", "view 3"]


def test_drawing_touches_no_global_state():
    before = dict(matplotlib.rcParams.copy())
    with matplotlib.rc_context({"axes.facecolor": "black", "text.color": "white"}):
        figure = draw_program(np.zeros((1, 4, 4, 3)), (-1, 1))
        assert figure.axes[0].get_facecolor() == (1.0, 1.0, 1.0, 1.0)
    assert dict(matplotlib.rcParams.copy()) == before
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


@pytest.mark.parametrize(
    "targets, sources, options, message",
    [
        ((2, 8, 8), (2, 1, 8, 8, 3), {}, r"target_images.*\(n, h, w, c\)"),
        ((2, 8, 8, 2), (2, 1, 8, 8, 3), {}, "1 or 3 channels"),
        ((2, 8, 8, 1), (2, 8, 8, 3), {}, "source_images"),
        ((2, 8, 8, 1), (3, 1, 8, 8, 3), {}, "2 targets, 3 sources"),
        ((2, 8, 8, 1), (2, 1, 8, 8, 3), {"titles": ["a"]}, "1 titles"),
        ((2, 8, 8, 1), (2, 1, 8, 8, 3), {"target_range": (5, 5)}, "target_range"),
        ((0, 8, 8, 1), (0, 1, 8, 8, 3), {}, "not empty"),
    ],
)
def test_wrong_shapes_are_named(targets, sources, options, message):
    with pytest.raises(ValueError, match=message):
        draw_source_images(np.zeros(targets), np.zeros(sources), (0, 1), **options)


def test_nan_and_empty_ranges_are_refused():
    with pytest.raises(ValueError, match="NaN or infinity in 1 values"):
        draw_program(np.array([[[[np.nan]]]]), (0, 1))
    with pytest.raises(ValueError, match="value_range"):
        draw_program(np.zeros((1, 2, 2, 1)), (1, 0))
