"""Charts by class: label maps, weight maps and the confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_reprogram.report.figure_style import BLUE, QUIET, new_figure, shorten, styled


@styled
def draw_label_map(
    weights: Any,
    source_labels: Sequence[str] | None,
    class_names: Sequence[str],
    top: int = 5,
) -> Figure:
    """Draws which source labels stand for which class, the strongest first.

    Args:
        weights: `(S, classes)`: how much each source label speaks for each class. Weights
            of 0 or less speak for none and are not drawn.
        source_labels: S names, or None to number them.
        class_names: One name a class.
        top: Most labels shown a class.

    Returns:
        A `Figure` with one small bar chart a class, all on one scale.

    Raises:
        ValueError: If shapes disagree, a weight is not finite, or `top` is below 1.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.report import draw_label_map

        figure = draw_label_map(np.eye(3)[:, :2], ["cat", "dog", "cow"], ["zero", "one"])
        assert figure.axes[0].get_title(loc="left") == "zero"
        ```
    """
    table, names = checked_weights(weights, source_labels, class_names)
    if top < 1:
        raise ValueError(f"Expected `top` of at least 1. Received: top={top}. Pass 5, say.")
    # Long names need wide panels, so fewer fit side by side.
    columns = min(len(class_names), 4 if max(len(name) for name in names) <= 14 else 3)
    rows = math.ceil(len(class_names) / columns)
    bars = min(top, max(1, int((table > 0).sum(axis=0).max())))
    height = rows * (0.42 + 0.17 * bars) + 0.35
    description = f"The strongest source labels for each of {len(class_names)} classes."
    figure = new_figure(max(11.0 / max(columns, 3) * columns, 4.5), height, description)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, class_name, column in zip(panels, class_names, table.T, strict=False):
        _draw_labels(axes, shorten(class_name, 30), column, names, bars)
    for axes in panels[len(class_names) :]:
        axes.remove()
    for axes in panels[max(0, len(class_names) - columns) : len(class_names)]:
        axes.tick_params(axis="x", labelbottom=True)
    figure.supxlabel("weight of the source label", fontsize=9)
    return figure


@styled
def draw_confusion_matrix(matrix: Any, class_names: Sequence[str]) -> Figure:
    """Draws a confusion matrix: counts as text, shares of the true class as colour.

    Args:
        matrix: Counts `(classes, classes)`, rows = true, columns = predicted.
        class_names: One name a class.

    Returns:
        A `Figure`; counts are written up to 60 classes, zeros never.

    Raises:
        ValueError: If the matrix is not square with one row a name, or not counts.

    Example:
        ```python
        from keras_reprogram.report import draw_confusion_matrix

        figure = draw_confusion_matrix([[9, 1], [0, 10]], ["benign", "malignant"])
        assert figure.axes[0].get_ylabel() == "true class"
        ```
    """
    counts = _checked_counts(matrix, len(class_names))
    size = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(0.42 * size, 2.2), 12.5)
    description = (
        f"Confusion matrix of {size} classes; {int(np.trace(counts)):,} of "
        f"{int(counts.sum()):,} examples are on the diagonal."
    )
    figure = new_figure(side + 2.3, side + 1.3, description)
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    _name_both_axes(axes, class_names, _fit(size, 9.0, 6.5), cell=side / size)
    if size <= 60:
        _write_counts(axes, counts, shares, fontsize=_fit(size, 9.0, 6.0))
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, aspect=30, pad=0.02)
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return figure


def _draw_labels(
    axes: Axes, title: str, column: np.ndarray, names: Sequence[str], bars: int
) -> None:
    strongest = [int(i) for i in np.argsort(-column, kind="stable")[:bars] if column[i] > 0]
    axes.barh(range(len(strongest)), column[strongest], height=0.72, color=BLUE)
    axes.set_yticks(range(len(strongest)), [shorten(names[i], 30) for i in strongest], fontsize=8)
    # The same number of places everywhere keeps bars equally thick.
    axes.set_ylim(bars - 0.5, -0.5)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=7, colors=QUIET)
    axes.locator_params(axis="x", nbins=4)
    if not strongest:
        axes.text(0.02, 0.5, "no label", transform=axes.transAxes, color=QUIET, va="center")


def _name_both_axes(axes: Axes, class_names: Sequence[str], fontsize: float, cell: float) -> None:
    names = [shorten(name, 22) for name in class_names]
    ticks = range(len(names))
    # A letter is about 0.6 font sizes wide; 72 points are an inch.
    steep = max(len(name) for name in names) * 0.6 * fontsize / 72 > 0.9 * cell
    axes.set_xticks(ticks, names, rotation=90 if steep else 0, fontsize=fontsize)
    axes.set_yticks(ticks, names, fontsize=fontsize)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    # White lines between the cells, drawn as a grid of minor ticks.
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=_fit(len(names), 1.5, 0.4))
    axes.tick_params(which="minor", length=0)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray, fontsize: float) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        color = "white" if shares[row, column] > 0.55 else "#1f2933"
        text = f"{int(counts[row, column])}"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=fontsize)


def _fit(size: int, largest: float, smallest: float) -> float:
    """Shrinks from `largest` at 10 classes to `smallest` at 45."""
    return float(np.interp(size, (10, 45), (largest, smallest)))


def _checked_counts(matrix: Any, num_classes: int) -> np.ndarray:
    counts = np.asarray(matrix, dtype="float64")
    if num_classes == 0 or counts.shape != (num_classes, num_classes):
        raise ValueError(
            "Expected a square matrix with one row and one column a class name. Received: shape "
            f"{counts.shape} with {num_classes} class names. Name every class."
        )
    if not (np.isfinite(counts).all() and (counts >= 0).all() and (counts % 1 == 0).all()):
        raise ValueError(
            "Expected counts: whole numbers of 0 or more. Received: values from "
            f"{counts.min()} to {counts.max()}. Pass counts, not shares: colour shows the shares."
        )
    return counts


@styled
def draw_weight_map(
    weights: Any,
    source_labels: Sequence[str] | None,
    class_names: Sequence[str],
    most: int = 48,
) -> Figure:
    """Draws weights as a heat map: red speaks for a class, blue against it.

    Labels are sorted by the class that they speak for most, so that a map that is nearly one to
    one looks like a diagonal.

    Args:
        weights: `(S, classes)`, any finite numbers.
        source_labels: S names, or None to number them.
        class_names: One name a class.
        most: Most labels shown: those with the largest weights, for or against.

    Returns:
        A `Figure` with one row a label and one column a class, on a scale around 0.

    Raises:
        ValueError: If shapes disagree, a weight is not finite, or `most` is below 1.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.report import draw_weight_map

        figure = draw_weight_map(np.eye(3)[:, :2], ["cat", "dog", "cow"], ["zero", "one"])
        assert figure.axes[0].get_xlabel() == "class"
        ```
    """
    table, names = checked_weights(weights, source_labels, class_names)
    if most < 1:
        raise ValueError(f"Expected `most` of at least 1. Received: most={most}. Pass 48, say.")
    shown = _strongest_in_order(table, most)
    description = f"Weights of {len(shown)} source labels for each of {len(class_names)} classes."
    width = 3.4 + min(max(0.42 * len(class_names), 2.0), 12.0)
    figure = new_figure(width, 1.3 + 0.17 * len(shown), description)
    axes = figure.subplots()
    # A map that was never fitted is all zeros.
    reach = float(np.abs(table).max()) or 1.0
    picture = axes.imshow(table[shown], cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    _name_axes(axes, [names[row] for row in shown], class_names)
    bar = figure.colorbar(picture, ax=axes, aspect=30, pad=0.02)
    bar.set_label("weight")
    bar.outline.set_visible(False)
    if len(shown) < len(table):
        note = f"{len(shown)} of {len(table):,} source labels shown, those of the largest weights"
        figure.supxlabel(note, fontsize=8, color=QUIET)
    return figure


def _strongest_in_order(table: np.ndarray, most: int) -> np.ndarray:
    strongest = np.argsort(-np.abs(table).max(axis=1), kind="stable")[:most]
    best = table[strongest].argmax(axis=1)
    return strongest[np.lexsort((-table[strongest, best], best))]


def _name_axes(axes: Axes, labels: Sequence[str], class_names: Sequence[str]) -> None:
    names = [shorten(name, 22) for name in class_names]
    steep = max(len(name) for name in names) > 4
    axes.set_xticks(range(len(names)), names, rotation=90 if steep else 0, fontsize=8)
    axes.set_yticks(range(len(labels)), [shorten(label, 30) for label in labels], fontsize=7)
    axes.set(xlabel="class", ylabel="source label")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def checked_weights(
    weights: Any, source_labels: Sequence[str] | None, class_names: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Weights as a float64 table, and the names of its rows."""
    table = np.asarray(weights, dtype="float64")
    labels = table.shape[:1] if source_labels is None else (len(source_labels),)
    if table.size == 0 or table.shape != (*labels, len(class_names)):
        raise ValueError(
            "Expected `weights` of shape (source labels, classes), not empty. Received: shape "
            f"{table.shape} with {labels} source labels and {len(class_names)} class names. "
            "Transpose it if classes come first."
        )
    if not np.isfinite(table).all():
        raise ValueError(
            "Expected finite weights. Received: NaN or infinity in "
            f"{int((~np.isfinite(table)).sum())} places. Check the map that was fitted."
        )
    names = [f"label {i}" for i in range(len(table))] if source_labels is None else source_labels
    return table, [str(name) for name in names]
