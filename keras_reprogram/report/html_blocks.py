"""Turns tables, figures and metrics into HTML, everything escaped."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure

from keras_reprogram.report.findings_metrics import FindingsMetrics
from keras_reprogram.report.metrics import ClassificationMetrics, Interval
from keras_reprogram.report.tables import (
    SPREAD_NOTE,
    ResultRow,
    TextTable,
    has_spread,
    is_numeric,
    table_cells,
)

DOTS_PER_INCH = 144
CSS_PIXELS_PER_INCH = 96
# Wider figures are scrolled sideways: shrunk to the page, their text is too small to read.
WIDEST_SHRUNK = 12.5


def paragraphs(text: str) -> str:
    """Plain text as HTML paragraphs; an empty line starts a new one."""
    blocks = (" ".join(block.split()) for block in text.replace("\r\n", "\n").split("\n\n"))
    return "".join(f"<p>{escape(block)}</p>\n" for block in blocks if block)


def results_block(rows: Sequence[ResultRow]) -> str:
    """Result rows as an HTML table."""
    heads, body = table_cells(rows)
    numeric = [is_numeric(head) for head in heads]
    note = f'<p class="note">{escape(SPREAD_NOTE)}</p>\n' if has_spread(rows) else ""
    return _table(heads, body, numeric) + note


def text_table_block(table: TextTable) -> str:
    """A table of words as an HTML table; the first cell of a row is its heading."""
    return _table(table.heads, table.rows, [False] * len(table.heads))


def figure_block(figure: Figure, fallback: str) -> str:
    """A figure as an embedded PNG with alt text."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DOTS_PER_INCH, facecolor=figure.get_facecolor())
    data = base64.b64encode(png.getvalue()).decode("ascii")
    width, height = (
        round(float(inches) * CSS_PIXELS_PER_INCH) for inches in figure.get_size_inches()
    )
    wide = ' class="wide"' if width > WIDEST_SHRUNK * CSS_PIXELS_PER_INCH else ""
    alt = escape(str(figure.get_label()) or fallback)
    return (
        f'<figure{wide} tabindex="0"><img src="data:image/png;base64,{data}" alt="{alt}" '
        f'width="{width}" height="{height}"></figure>\n'
    )


def metrics_block(metrics: ClassificationMetrics | FindingsMetrics) -> str:
    """Metrics as a list of overall figures and a table of classes, or of findings."""
    if isinstance(metrics, FindingsMetrics):
        return _findings_block(metrics)
    overall = {
        "examples": f"{metrics.num_examples:,}",
        "accuracy": _with_interval(metrics.accuracy, metrics.accuracy_interval),
        "balanced accuracy": _number(metrics.balanced_accuracy),
        "AUC": _number(metrics.auc),
    }
    if metrics.quadratic_kappa is not None:
        overall["quadratic weighted kappa"] = _number(metrics.quadratic_kappa)
    if metrics.absent_classes:
        overall["classes without an example"] = ", ".join(metrics.absent_classes)
    heads = ["class", "examples", "sensitivity", "specificity", "AUC"]
    body = [
        [
            entry.name,
            f"{entry.support:,}",
            _with_interval(entry.sensitivity, entry.sensitivity_interval),
            _with_interval(entry.specificity, entry.specificity_interval),
            _number(entry.auc),
        ]
        for entry in metrics.classes
    ]
    return details_block(overall) + _table(heads, body, [False, *[True] * 4]) + _INTERVALS


_INTERVALS = '<p class="note">In brackets: 95 % Wilson intervals.</p>\n'


def _findings_block(metrics: FindingsMetrics) -> str:
    overall = {
        "examples": f"{metrics.num_examples:,}",
        "mean AUC": _number(metrics.auc),
        "mean F1": _number(metrics.f1),
        "findings that are read right": _number(metrics.accuracy),
        "examples of which all are": _number(metrics.exact_matches),
        "examples without a finding": _number(metrics.without_finding),
    }
    heads = ["finding", "examples", "AUC", "F1", "precision", "sensitivity", "specificity",
             "threshold"]  # fmt: skip
    body = [
        [
            one.name,
            f"{one.support:,}",
            _number(one.auc),
            _number(one.f1),
            _number(one.precision),
            _with_interval(one.sensitivity, one.sensitivity_interval),
            _with_interval(one.specificity, one.specificity_interval),
            _number(one.threshold),
        ]
        for one in metrics.findings
    ]
    return details_block(overall) + _table(heads, body, [False, *[True] * 7]) + _INTERVALS


def details_block(details: Mapping[Any, Any]) -> str:
    """A dict as a list of names and values; a dict inside it becomes a list inside it."""
    items = "".join(
        f"<dt>{escape(str(name))}</dt><dd>{_value(value)}</dd>\n" for name, value in details.items()
    )
    return f"<dl>\n{items}</dl>\n"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return details_block(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(item) for item in value)
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.6g}" if isinstance(value, float) else escape(str(value))


def _table(heads: Sequence[str], body: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    marks = [' class="number"' if flag else "" for flag in numeric] + [""] * len(heads)
    head = "".join(
        f'<th scope="col"{mark}>{escape(cell)}</th>'
        for cell, mark in zip(heads, marks, strict=False)
    )
    lines = "".join(f"<tr>{_row(cells, marks)}</tr>\n" for cells in body)
    return (
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{lines}</tbody></table></div>\n"
    )


def _row(cells: Sequence[str], marks: Sequence[str]) -> str:
    first = f'<th scope="row">{escape(cells[0])}</th>'
    rest = zip(cells[1:], marks[1:], strict=False)
    return first + "".join(f"<td{mark}>{escape(cell)}</td>" for cell, mark in rest)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _with_interval(value: float | None, interval: Interval | None) -> str:
    if value is None or interval is None:
        return "-"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"
