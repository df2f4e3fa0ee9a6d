import io

import numpy as np
import pytest

from keras_reprogram.report import (
    draw_accuracy_over_queries,
    draw_confusion_matrix,
    draw_label_map,
    draw_training_curves,
)


def draw(figure):
    """Renders the figure, which runs layout and text; gives the PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=50)
    return buffer.getvalue()


def tick_names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


class TestLabelMap:
    def test_shows_the_strongest_labels_first(self):
        weights = np.array([[0.1, 0.0], [0.6, 0.0], [0.3, 1.0], [-2.0, 0.0]])
        figure = draw_label_map(weights, ["cat", "dog", "cow", "hen"], ["zero", "one"], top=2)
        zero, one = figure.axes
        assert [axes.get_title(loc="left") for axes in (zero, one)] == ["zero", "one"]
        assert tick_names(zero.yaxis) == ["dog", "cow"]
        assert [bar.get_width() for bar in zero.patches] == [0.6, 0.3]
        assert tick_names(one.yaxis) == ["cow"]
        assert draw(figure).startswith(b"\x89PNG")

    def test_a_class_without_a_label_says_so(self):
        figure = draw_label_map(np.array([[0.0, 1.0]]), None, ["none", "some"])
        assert [text.get_text() for text in figure.axes[0].texts] == ["no label"]
        assert tick_names(figure.axes[1].yaxis) == ["label 0"]

    def test_a_thousand_labels_and_43_classes_make_43_panels(self):
        weights = np.random.default_rng(0).uniform(size=(1000, 43))
        figure = draw_label_map(weights, None, [f"class {i}" for i in range(43)])
        assert len(figure.axes) == 43
        assert all(len(axes.patches) == 5 for axes in figure.axes)

    @pytest.mark.parametrize(
        "weights, labels, top, message",
        [
            (np.ones((3, 3)), None, 5, "Transpose"),
            (np.ones((3, 2)), ["a", "b"], 5, "2,"),
            (np.full((3, 2), np.nan), None, 5, "NaN or infinity in 6"),
            (np.ones((3, 2)), None, 0, "top=0"),
        ],
    )
    def test_bad_weights(self, weights, labels, top, message):
        with pytest.raises(ValueError, match=message):
            draw_label_map(weights, labels, ["x", "y"], top)


class TestConfusionMatrix:
    def test_writes_counts_and_colours_shares(self):
        figure = draw_confusion_matrix([[30, 10], [0, 5]], ["benign", "malignant"])
        axes = figure.axes[0]
        np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0.0, 1.0]])
        assert {text.get_text() for text in axes.texts} == {"30", "10", "5"}
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
        assert tick_names(axes.yaxis) == ["benign", "malignant"]
        assert "35 of 45" in figure.get_label()

    def test_a_class_without_examples_stays_white(self):
        shares = draw_confusion_matrix([[0, 0], [1, 3]], "ab").axes[0].images[0].get_array()
        np.testing.assert_allclose(shares, [[0, 0], [0.25, 0.75]])

    def test_names_are_never_read_as_formulas(self):
        figure = draw_confusion_matrix(np.eye(2, dtype=int), [r"$\bad{", "50 $ note $"])
        assert draw(figure).startswith(b"\x89PNG")

    @pytest.mark.parametrize(
        "matrix", [[[1, 2, 3], [4, 5, 6]], [[0.5, 0.5], [0, 1]], [[1, -1], [0, 1]]]
    )
    def test_bad_matrices(self, matrix):
        with pytest.raises(ValueError, match="Received:"):
            draw_confusion_matrix(matrix, ["a", "b"])


class TestAccuracyOverQueries:
    def test_each_method_is_a_line_in_order_of_queries(self):
        figure = draw_accuracy_over_queries(
            {"map only": [(1000, 0.76)], "8 views": [(800, 0.9), (400, 0.8)]}
        )
        axes = figure.axes[0]
        assert [line.get_label() for line in axes.lines] == ["map only", "8 views"]
        np.testing.assert_allclose(axes.lines[1].get_xydata(), [[400, 0.8], [800, 0.9]])
        assert axes.get_xscale() == "linear"
        assert len({line.get_marker() for line in axes.lines}) == 2
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [
            "map only",
            "8 views",
        ]

    @pytest.mark.parametrize(
        "queries, scale", [((100, 1999), "linear"), ((100, 2001), "log"), ((0, 10, 900), "symlog")]
    )
    def test_scale_follows_the_range(self, queries, scale):
        figure = draw_accuracy_over_queries({"x": [(count, 0.5) for count in queries]})
        assert figure.axes[0].get_xscale() == scale
        assert draw(figure).startswith(b"\x89PNG")

    def test_a_method_without_queries_is_a_level_line(self):
        figure = draw_accuracy_over_queries({"SVM": [(0, 0.97)], "x": [(10, 0.2), (900, 0.5)]})
        axes = figure.axes[0]
        assert axes.get_xscale() == "log"
        assert list(axes.lines[0].get_ydata()) == [0.97, 0.97]

    @pytest.mark.parametrize("curves", [{}, {"x": []}, {"x": [(-1, 0.5)]}, {"x": [(1, 94.5)]}])
    def test_bad_curves(self, curves):
        with pytest.raises(ValueError, match="Received:"):
            draw_accuracy_over_queries(curves)


class TestTrainingCurves:
    def test_validation_is_drawn_beside_training(self):
        history = {
            "loss": [3, 2, 1, 0.5],
            "queries_used": [1, 2, 3, 4],
            "val_loss": [3.1, 2.1, 1.1, 0.9],
            "val_only": [1, 2, 3, 4],
        }
        figure = draw_training_curves(history)
        assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "queries used", "only"]
        loss = figure.axes[0]
        assert [line.get_label() for line in loss.lines] == ["training", "validation"]
        assert list(loss.lines[1].get_ydata()) == history["val_loss"]
        assert all(axes.get_xlabel() == "epoch" for axes in figure.axes)

    def test_validation_every_second_epoch_lies_at_its_epochs(self):
        figure = draw_training_curves({"loss": [5, 4, 3, 2, 1], "val_loss": [4.1, 2.1]})
        assert list(figure.axes[0].lines[1].get_xdata()) == [2, 4]

    def test_a_diverged_run_and_a_single_epoch_are_drawn(self):
        assert draw(draw_training_curves({"loss": [1.0, float("nan")], "accuracy": [0.5]}))

    @pytest.mark.parametrize("history", [{}, {"loss": []}])
    def test_an_empty_history_is_refused(self, history):
        with pytest.raises(ValueError, match="at least one metric"):
            draw_training_curves(history)


def test_price_of_views_is_drawn_over_queries_of_a_prediction():
    figure = draw_accuracy_over_queries({"chosen": [(1, 0.8), (2, 0.9)]}, of="a prediction")
    assert figure.axes[0].get_xlabel() == "image queries for a prediction"
