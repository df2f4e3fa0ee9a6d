"""Curves: accuracy over paid queries, and metrics over epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from keras_reprogram.report.figure_style import COLORS, MARKERS, new_figure, shorten, styled

# Beyond this ratio of most to fewest queries a linear axis crowds the cheap methods.
LOG_RATIO = 20
LINE_STYLES = ("-", "--", ":")


@styled
def draw_accuracy_over_queries(
    curves: Mapping[str, Sequence[tuple[int, float]]], *, of: str = "training"
) -> Figure:
    """Draws what accuracy each method buys with how many image queries.

    Args:
        curves: Points `(queries, accuracy)` of each method, in any order; queries 0 or
            more, accuracy in [0, 1]. Every method needs at least one point. A method that
            never asks, such as a no-source baseline, is drawn as a level line.
        of: what the queries are for, written at the axis: `"training"`, or `"a prediction"` for
            the price of views (`ViewSelection.curve`).

    Returns:
        A `Figure` with one line and one marker a method; the x axis is logarithmic where
        the counts span more than a factor of 20.

    Raises:
        ValueError: If there is no curve, a curve has no point, or a point is out of range.

    Example:
        ```python
        from keras_reprogram.report import draw_accuracy_over_queries

        figure = draw_accuracy_over_queries({"map only": [(1000, 0.76), (8000, 0.95)]})
        assert figure.axes[0].get_xlabel() == "image queries for training"
        ```
    """
    lines = {method: _checked_points(method, points) for method, points in curves.items()}
    if not lines:
        raise ValueError(
            "Expected at least one curve. Received: an empty mapping. Pass "
            "{method: [(queries, accuracy), ...]}."
        )
    ends = "; ".join(
        f"{name}: {end[1]:.3f} after {end[0]:,.0f}" for name, (*_, end) in lines.items()
    )
    figure = new_figure(7.2, 4.2, f"Accuracy over image queries. {ends}.")
    axes = figure.subplots()
    for number, (method, points) in enumerate(lines.items()):
        _draw_method(axes, number, shorten(method, 40), points)
    paid = [points for points in lines.values() if points[-1][0] > 0]
    _scale_queries(axes, [queries for points in paid for queries, _ in points])
    axes.set(xlabel=f"image queries for {of}", ylabel="accuracy")
    axes.grid(True)
    figure.legend(loc="outside lower center", ncols=min(len(lines), 2))
    return figure


@styled
def draw_training_curves(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draws a Keras history, one panel a metric, training beside validation.

    Args:
        history: `History.history`: the values of each metric, one an epoch; `val_` marks
            validation. With `validation_freq=k` the validation values are k times fewer.

    Returns:
        A `Figure` with one panel a metric; NaN leaves a gap.

    Raises:
        ValueError: If no metric has a value.

    Example:
        ```python
        from keras_reprogram.report import draw_training_curves

        figure = draw_training_curves({"loss": [2.0, 1.5], "val_loss": [2.1, 1.8]})
        assert len(figure.axes) == 1
        ```
    """
    values = {str(name): np.asarray(series, "float64").ravel() for name, series in history.items()}
    values = {name: series for name, series in values.items() if series.size}
    if not values:
        raise ValueError(
            "Expected at least one metric with values. Received: "
            f"history with keys {sorted(history)}. Pass model.fit(...).history."
        )
    metrics = list(dict.fromkeys(name.removeprefix("val_") for name in values))
    columns = 2 if len(metrics) in (2, 4) else min(len(metrics), 3)
    rows = math.ceil(len(metrics) / columns)
    description = f"Training curves over the epochs: {', '.join(metrics)}."
    figure = new_figure(3.6 * columns if columns > 1 else 5.5, 2.9 * rows, description)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, metric in zip(panels, metrics, strict=False):
        _draw_metric(axes, metric, values)
    for axes in panels[len(metrics) :]:
        axes.remove()
    return figure


def _draw_method(
    axes: Axes, number: int, label: str, points: Sequence[tuple[float, float]]
) -> None:
    look = _line(number)
    if points[-1][0] > 0:
        axes.plot(*zip(*points, strict=True), label=label, **look)
    else:
        axes.axhline(max(a for _, a in points), label=label, color=look["color"], linestyle="--")


def _draw_metric(axes: Axes, metric: str, values: Mapping[str, np.ndarray]) -> None:
    training, validation = values.get(metric), values.get(f"val_{metric}")
    if training is not None:
        axes.plot(np.arange(1, len(training) + 1), training, label="training", **_line(0, training))
    if validation is not None:
        stride = 1 if training is None else max(1, len(training) // len(validation))
        epochs = stride * np.arange(1, len(validation) + 1)
        axes.plot(epochs, validation, label="validation", **_line(1, validation))
        axes.legend()
    axes.set(xlabel="epoch", ylabel=shorten(metric.replace("_", " "), 32))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain_number))
    axes.grid(True)


def _line(number: int, series: np.ndarray | None = None) -> dict[str, Any]:
    marker = MARKERS[number % len(MARKERS)]
    return {
        "color": COLORS[number % len(COLORS)],
        "linestyle": LINE_STYLES[number // len(COLORS) % len(LINE_STYLES)],
        # Markers on a long run would hide its line.
        "marker": marker if series is None or len(series) <= 30 else "",
    }


def _plain_number(value: float, _: int | None = None) -> str:
    return f"{value:,.8g}"


def _scale_queries(axes: Axes, queries: Sequence[float]) -> None:
    positive = [count for count in queries if count > 0]
    if positive and max(positive) > LOG_RATIO * min(positive):
        if len(positive) == len(queries):
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=min(positive), linscale=0.4)
    axes.xaxis.set_major_formatter(FuncFormatter(_plain_number))


def _checked_points(method: str, points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    ordered = sorted((float(queries), float(accuracy)) for queries, accuracy in points)
    if not ordered or not all(0 <= q < math.inf and 0.0 <= a <= 1.0 for q, a in ordered):
        raise ValueError(
            "Expected at least one point (queries, accuracy) with queries >= 0 and accuracy in "
            f"[0, 1]. Received: {list(points)[:5]} for {method!r}. Leave out methods without a "
            "measurement."
        )
    return ordered
