import io

import numpy as np
import pytest

from keras_reprogram.report import draw_program, draw_weight_map


def rows_of(figure):
    return [label.get_text() for label in figure.axes[0].yaxis.get_ticklabels()]


def test_labels_follow_the_classes_they_speak_for():
    weights = np.array([[0.1, 0.9], [0.8, -0.2], [0.2, 0.4], [0.3, 0.1]])
    figure = draw_weight_map(weights, ["cat", "dog", "cow", "hen"], ["zero", "one"])

    assert rows_of(figure) == ["dog", "hen", "cat", "cow"]
    shown = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(shown, weights[[1, 3, 0, 2]])
    assert figure.axes[0].images[0].get_clim() == (-0.9, 0.9)


def test_weights_against_a_class_count_among_the_largest():
    weights = np.zeros((1000, 2))
    weights[700, 1], weights[5, 0], weights[6, 0] = -3.0, 2.0, 1.0
    figure = draw_weight_map(weights, None, ["zero", "one"], most=2)

    assert sorted(rows_of(figure)) == ["label 5", "label 700"]
    assert figure.get_supxlabel().startswith("2 of 1,000 source labels")


def test_a_map_that_was_never_fitted_can_be_drawn():
    figure = draw_weight_map(np.zeros((3, 2)), None, ["zero", "a class with a long name"])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    assert buffer.getvalue().startswith(b"\x89PNG")
    # On a scale without a middle, zero would have the colour of the largest weight against.
    assert figure.axes[0].images[0].get_clim() == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("weights", "labels", "most", "message"),
    [
        (np.ones((3, 3)), None, 5, "Transpose"),
        (np.ones((3, 2)), ["a", "b"], 5, "2,"),
        (np.full((3, 2), np.inf), None, 5, "NaN or infinity in 6"),
        (np.ones((3, 2)), None, 0, "most=0"),
    ],
)
def test_bad_weights(weights, labels, most, message):
    with pytest.raises(ValueError, match=message):
        draw_weight_map(weights, labels, ["x", "y"], most)


def test_names_beside_a_single_program_are_inside_the_picture():
    figure = draw_program(np.full((1, 32, 32, 3), 0.1), (-1, 1))
    figure.savefig(io.BytesIO(), format="png", dpi=144)
    assert min(axes.yaxis.label.get_window_extent().x0 for axes in figure.axes) >= 0
