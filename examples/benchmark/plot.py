"""Accuracy over the queries paid for training, one panel a source-target pair."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from csv_rows import Row
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from methods import METHODS
from runs import NO_SOURCE
from table import rows_of

from keras_reprogram.report.figure_style import COLORS, MARKERS, new_figure, styled

COLUMNS = 4
OURS = ("ours_1", "ours_8", "ours_32")
# Methods that come in two maps share a colour; the frequency map is filled.
LOOKS = {
    "ours_8_to_1": (0, "o", False),
    "joint_1": (5, "*", False),
    "joint_8": (5, "*", True),
    "all_8": (5, "P", True),
    "linear_head": (6, "X", True),
    "map_frequency": (2, "^", True),
    "map_dense": (2, "s", True),
    "views_8": (2, "o", False),
    "views_32": (2, "o", True),
    "zeroth_order": (3, "D", True),
    "bar_random": (1, "v", False),
    "bar_frequency": (1, "v", True),
    "ar_random": (4, "P", False),
    "ar_frequency": (4, "P", True),
}


@styled
def draw_panels(rows: Sequence[Row]) -> Figure:
    """Draws mean test accuracies over mean training queries, on a logarithmic axis.

    Args:
        rows: as `read_rows` gives them, at least one with a source.

    Returns:
        A `Figure`: `ours` is a line over its budgets, the rest are points, no source is a level
        line.

    Raises:
        ValueError: if no row has a source.
    """
    pairs = list(dict.fromkeys((r.source, r.target) for r in rows if r.source != NO_SOURCE))
    if not pairs:
        raise ValueError(
            "Expected at least one run with a source. Received: none. Run other methods first."
        )
    columns = min(COLUMNS, len(pairs))
    height = math.ceil(len(pairs) / columns)
    names = "; ".join(f"{source} on {target}" for source, target in pairs)
    figure = new_figure(
        max(5.0, 3.1 * columns), 2.6 * height + 1.2, f"Accuracy over training queries: {names}."
    )
    panels = figure.subplots(height, columns, squeeze=False, sharex=True).ravel()
    for axes, (source, target) in zip(panels, pairs, strict=False):
        _draw_pair(axes, rows, source, target)
    for axes in panels[len(pairs) :]:
        axes.remove()
    for number, axes in enumerate(panels[: len(pairs)]):
        if number % columns == 0:
            axes.set_ylabel("test accuracy")
        if number + columns >= len(pairs):
            axes.set_xlabel("training queries")
            axes.tick_params(labelbottom=True)
    _draw_legend(figure, panels[: len(pairs)], 2 + columns)
    return figure


def _draw_legend(figure: Figure, panels: Sequence[Axes], columns: int) -> None:
    """One legend for all panels: some methods are in some of them only."""
    seen = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            seen.setdefault(label, handle)
    figure.legend(seen.values(), seen.keys(), loc="outside lower center", ncols=columns)


def _draw_pair(axes: Axes, rows: Sequence[Row], source: str, target: str) -> None:
    axes.set_title(f"{source} → {target}")
    line = [point for name in OURS if (point := _mean(rows, source, target, name))]
    if line:
        x, y = zip(*line, strict=True)
        axes.plot(x, y, label="ours", color=COLORS[0], marker=MARKERS[0])
    for name in METHODS:
        point = _mean(rows, source, target, name)
        if point is None or name in OURS:
            continue
        if name not in LOOKS:
            axes.axhline(point[1], label=name, color=COLORS[5], linestyle="--")
            continue
        number, marker, filled = LOOKS[name]
        face = COLORS[number] if filled else "none"
        axes.plot(
            *point, label=name, color=COLORS[number], marker=marker, ls="", markerfacecolor=face
        )
    axes.set_xscale("log")
    axes.grid(True)


def _mean(rows: Sequence[Row], source: str, target: str, method: str) -> tuple[float, float] | None:
    found = rows_of(rows, source, target, method)
    found = [row for row in found if row.test_accuracy is not None]
    if not found:
        return None
    queries = np.mean([row.queries_training or 0 for row in found])
    return float(queries), float(np.mean([row.test_accuracy for row in found]))
