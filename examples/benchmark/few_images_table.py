"""The rows of few images as Markdown: one line a source, target and size, one column a method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from csv_rows import Row
from few_images_data import SIZES
from few_images_methods import METHODS
from runs import NO_SOURCE

METRICS = ("test_accuracy", "balanced_accuracy")


def mode_name(size: int) -> str:
    """What a row's `mode` says about the images.

    Args:
        size: images a class.
    """
    return f"{size} a class"


def markdown_table(rows: Sequence[Row], metric: str) -> str:
    """Mean and standard deviation over the seeds: a line a source, target and size.

    Args:
        rows: as `read_rows` gives them.
        metric: `"test_accuracy"` or `"balanced_accuracy"`.

    Returns:
        Markdown: the table, and what its cells rest on.
    """
    methods = [name for name in METHODS if any(row.method == name for row in rows)]
    lines = [
        "| " + " | ".join(["source", "target", "images a class", *methods]) + " |",
        "| --- | --- | ---: |" + " ---: |" * len(methods),
    ]
    names = dict.fromkeys(row.source for row in rows if row.source != NO_SOURCE)
    for name in names or [NO_SOURCE]:
        for target in dict.fromkeys(row.target for row in rows):
            for size in SIZES:
                found = [
                    row
                    for row in rows
                    if row.source in (name, NO_SOURCE)
                    and (row.target, row.mode) == (target, mode_name(size))
                ]
                if not any(row.source == name for row in found):
                    continue
                cells = [_cell(found, method, metric) for method in methods]
                lines.append("| " + " | ".join([name, target, str(size), *cells]) + " |")
    fewer = dict.fromkeys(f"{row.target}: {row.notes}" for row in rows if row.notes)
    return "\n".join(
        [
            *lines,
            "",
            f"- {metric.replace('_', ' ')}, mean ± standard deviation over the seeds, their number "
            f"in brackets; at most {max(row.n_test for row in rows):,} test images.",
            *(f"- {note}." for note in fewer),
        ]
    )


def _cell(rows: Sequence[Row], method: str, metric: str) -> str:
    values = [getattr(row, metric) for row in rows if row.method == method]
    if not values:
        return ""
    text = f"{np.mean(values):.3f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.3f}"
    return f"{text.replace('0.', '.')} ({len(values)})"
