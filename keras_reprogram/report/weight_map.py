"""A linear map's weights as a picture: which source label speaks for or against which class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keras_reprogram.report.figure_style import QUIET, new_figure, shorten, styled
from keras_reprogram.report.weight_checks import checked_weights


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
