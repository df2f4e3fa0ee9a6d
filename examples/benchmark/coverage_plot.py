"""Draws what calibration keeps: coverage asked and found, and accuracy by the share answered.

    python examples/benchmark/coverage_plot.py

Reads none_of_these.csv, which `none_of_these.py` writes, and writes coverage.png; points are means
over seeds, bars their standard deviations.
"""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent
COVERAGES = (80, 90, 95)
SHARES = (50, 75, 90, 100)


def rows_by_target(path: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of the CSV file, a list a target."""
    rows = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            rows[row["target"]].append(row)
    return dict(rows)


def draw(rows: dict[str, list[dict[str, str]]]) -> Figure:
    """Two panels, a line a target."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    sets, answered = figure.subplots(1, 2)
    sets.plot([0.75, 1], [0.75, 1], color="grey", linewidth=0.8, linestyle="--")
    for target, runs in rows.items():
        _line(sets, target, runs, "coverage", COVERAGES)
        _line(answered, target, runs, "accuracy", SHARES)
    sets.set(xlabel="coverage asked for", ylabel="true class in the set (test images)")
    answered.set(xlabel="share of images answered, surest first", ylabel="accuracy of the answers")
    answered.legend(frameon=False)
    for axes in (sets, answered):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _line(axes: Axes, target: str, runs: list[dict[str, str]], name: str, at: tuple) -> None:
    values = np.array([[float(run[f"{name}_{percent}"]) for percent in at] for run in runs])
    places, spread = np.array(at) / 100, values.std(axis=0)
    axes.errorbar(places, values.mean(axis=0), spread, marker="o", capsize=3, label=target)


if __name__ == "__main__":
    figure = draw(rows_by_target(FOLDER / "none_of_these.csv"))
    figure.savefig(FOLDER / "coverage.png", dpi=110)
