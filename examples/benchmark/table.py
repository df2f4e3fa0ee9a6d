"""The rows as a Markdown table: one line a source-target pair, one column a method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from csv_rows import QUICK, Row
from methods import METHODS
from runs import NO_SOURCE

METRICS = ("test_accuracy", "balanced_accuracy")


def markdown_table(rows: Sequence[Row], metric: str = "test_accuracy") -> str:
    """Mean and standard deviation over the seeds of every pair and method.

    Args:
        rows: as `read_rows` gives them; one mode only.
        metric: `"test_accuracy"` or `"balanced_accuracy"`.

    Returns:
        Markdown: the table, and under it what its cells rest on and what was cut.
    """
    methods = [name for name in METHODS if any(row.method == name for row in rows)]
    pairs = list(dict.fromkeys((r.source, r.target) for r in rows if r.source != NO_SOURCE))
    # Without a single run with a source there is still something to show.
    pairs = pairs or list(dict.fromkeys((row.source, row.target) for row in rows))
    header = ["source", "target", *methods]
    lines = ["| " + " | ".join(header) + " |", "| --- | --- |" + " ---: |" * len(methods)]
    seeds = len({row.seed for row in rows})
    for source, target in pairs:
        cells = [_cell(rows_of(rows, source, target, name), metric, seeds) for name in methods]
        lines.append("| " + " | ".join([source, target, *cells]) + " |")
    return "\n".join([*lines, "", *_remarks(rows, metric)])


def rows_of(rows: Sequence[Row], source: str, target: str, method: str) -> list[Row]:
    """The rows of one cell; methods without a source share theirs among sources.

    Args:
        rows: all rows.
        source: name of the source.
        target: name of the target.
        method: name of the method.
    """
    found = [row for row in rows if (row.target, row.method) == (target, method)]
    own = [row for row in found if row.source == source]
    return own or [row for row in found if row.source == NO_SOURCE]


def _cell(rows: Sequence[Row], metric: str, num_seeds: int) -> str:
    if not rows:
        return ""
    values = [value for row in rows if (value := getattr(row, metric)) is not None]
    if not values:
        return "n/a"
    text = f"{np.mean(values):.3f}".replace("0.", ".", 1)
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.3f}".replace("± 0.", "± .")
    return text if len(values) == num_seeds else f"{text} ({len(values)})"


def _remarks(rows: Sequence[Row], metric: str) -> list[str]:
    seeds = sorted({row.seed for row in rows})
    images = max(row.n_train for row in rows), max(row.n_test for row in rows)
    remarks = [
        f"{metric.replace('_', ' ')}, mean ± standard deviation over the seeds "
        f"{', '.join(map(str, seeds))}; at most {images[0]:,} training and {images[1]:,} test "
        "images. In brackets: the number of seeds so far, where it is smaller. n/a: fewer source "
        "labels than classes.",
    ]
    if any(row.mode.startswith(QUICK) for row in rows):
        remarks.append("Quick form: BAR with fewer queries, white-box training with fewer epochs.")
    for method in METHODS:
        notes = _notes(rows, method)
        if notes:
            remarks.append(f"{method}: {'; '.join(notes)}.")
    return [f"- {remark}" for remark in remarks]


def _notes(rows: Sequence[Row], method: str) -> list[str]:
    """What was cut or set; figures of single runs stay in the file."""
    notes = [row.notes for row in rows if row.method == method and row.test_accuracy is not None]
    return [note for note in dict.fromkeys(notes) if note and "validation accuracy" not in note]
