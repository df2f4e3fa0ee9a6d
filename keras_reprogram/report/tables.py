"""Result tables of several methods: for the terminal, Markdown and JSON."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rich.table import Table
from rich.text import Text

# Longer names wrap in a terminal of 80 columns.
_WIDEST_NAME = 28
SPREAD_NOTE = "± is the standard deviation over seeds."


def results_table(rows: Sequence[ResultRow], title: str) -> Table:
    """Draws rows as a table for the terminal.

    Args:
        rows: The results, in the order in which they are shown.
        title: Title above the table.

    Returns:
        A `rich.table.Table`; names are shown as they are, never read as markup.

    Example:
        ```python
        from rich.console import Console
        from keras_reprogram.report import ResultRow, results_table

        Console().print(results_table([ResultRow("map only", (0.76,), 1000, 1, 2.0)], "digits"))
        ```
    """
    heads, body = table_cells(rows)
    table = Table(title=Text(title), caption=SPREAD_NOTE if has_spread(rows) else None)
    for position, head in enumerate(heads):
        # Names stay on one line; the heads of numbers take two.
        longest = max((len(cells[position]) for cells in body), default=0) if not position else 0
        table.add_column(
            head if not is_numeric(head) else "\n".join(head.rsplit(" ", 1)),
            justify="right" if is_numeric(head) else "left",
            min_width=min(longest, _WIDEST_NAME) or None,
        )
    for cells in body:
        table.add_row(*(Text(cell) for cell in cells))
    return table


def results_markdown(rows: Sequence[ResultRow]) -> str:
    """Writes rows as a GitHub-flavoured Markdown table.

    Args:
        rows: The results, in the order in which they are shown.

    Returns:
        The table's lines, ending with a newline.

    Example:
        ```python
        from keras_reprogram.report import ResultRow, results_markdown

        text = results_markdown([ResultRow("map only", (0.76,), 1000, 1, 2.0)])
        assert "| map only | .760 | 1,000 | 1 | 2.0 |" in text
        ```
    """
    heads, body = table_cells(rows)
    rules = ["---:" if is_numeric(head) else "---" for head in heads]
    escaped = [[_markdown_cell(cell) for cell in cells] for cells in body]
    lines = ["| " + " | ".join(cells) + " |" for cells in [heads, rules, *escaped]]
    if has_spread(rows):
        lines += ["", SPREAD_NOTE]
    return "\n".join(lines) + "\n"


def results_json(rows: Sequence[ResultRow]) -> list[dict[str, Any]]:
    """Gives rows as dicts that `json.dumps` takes.

    Args:
        rows: The results, in the order in which they are listed.

    Returns:
        One dict a row, unrounded, with `mean` and `spread` beside the row's own fields;
        `balanced_accuracies` and `figures` only where a row has them.

    Example:
        ```python
        from keras_reprogram.report import ResultRow, results_json

        assert results_json([ResultRow("map only", (0.5, 0.7))])[0]["mean"] == 0.6
        ```
    """
    return [_plain(row) for row in rows]


def _plain(row: ResultRow) -> dict[str, Any]:
    balanced = {"balanced_accuracies": list(row.balanced_accuracies)}
    figures = {"figures": {name: list(values) for name, values in row.figures.items()}}
    return (
        {
            "method": row.method,
            "accuracies": list(row.accuracies),
            "mean": row.mean,
            "spread": row.spread,
            "training_queries": row.training_queries,
            "queries_per_prediction": row.queries_per_prediction,
            "seconds": row.seconds,
            "note": row.note,
        }
        | (balanced if row.balanced_accuracies else {})
        | (figures if row.figures else {})
    )


def table_cells(rows: Sequence[ResultRow]) -> tuple[list[str], list[list[str]]]:
    """A table's headings and formatted cells, the same for every medium."""
    heads = ["method", "accuracy", "training queries", "queries per prediction", "seconds"]
    body = [
        [
            row.method,
            _accuracy_cell(row),
            _count_cell(row.training_queries),
            _count_cell(row.queries_per_prediction),
            _seconds_cell(row.seconds),
        ]
        for row in rows
    ]
    if any(row.balanced_accuracies for row in rows):
        heads.insert(2, "balanced accuracy")
        for cells, row in zip(body, rows, strict=True):
            cells.insert(2, "-" if row.balanced is None else _accuracy_cell(row.balanced))
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    for place, name in enumerate(names, start=1):
        heads.insert(place, name)
        for cells, row in zip(body, rows, strict=True):
            cells.insert(place, _accuracy_cell(row.figure(name)) if name in row.figures else "-")
    if any(row.note for row in rows):
        heads.append("note")
        body = [[*cells, row.note] for cells, row in zip(body, rows, strict=True)]
    return heads, body


def is_numeric(head: str) -> bool:
    """Whether a column holds figures, which align right."""
    return head not in ("method", "note")


def has_spread(rows: Sequence[ResultRow]) -> bool:
    """Whether any row was run with several seeds, so that ± needs explaining."""
    return any(row.spread is not None for row in rows)


@dataclass(frozen=True)
class _Values:
    """A figure of each seed."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def mean_and_spread(values: Sequence[float]) -> str:
    """Shares as a table shows them: their mean, and of several the standard deviation."""
    return _accuracy_cell(_Values(tuple(values)))


def _accuracy_cell(row: ResultRow | _Values) -> str:
    mean = _short_fraction(row.mean)
    return mean if row.spread is None else f"{mean} ± {_short_fraction(row.spread)}"


def _short_fraction(value: float) -> str:
    text = f"{value:.3f}"
    return text[1:] if text.startswith("0.") else text


def _count_cell(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _seconds_cell(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    places = 2 if seconds < 1 else 1 if seconds < 100 else 0
    return f"{seconds:,.{places}f}"


def _markdown_cell(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


@dataclass(frozen=True)
class ResultRow:
    """Accuracy and cost of one method.

    Args:
        method: Name of the method.
        accuracies: Test accuracies in [0, 1], one a seed, at least one.
        training_queries: Image queries that training took, or None where no source is asked.
        queries_per_prediction: Image queries that one prediction takes, or None.
        seconds: Wall time of training, or None.
        note: A remark shown beside the figures.
        balanced_accuracies: Mean share of each class that was read right, in [0, 1], one a seed,
            for test images of which some classes have many more than others; else empty.
        figures: Further figures by name, such as AUC and F1 of findings or the kappa of grades,
            in [-1, 1], one a seed each. They stand before the accuracy.

    Raises:
        ValueError: If there is no accuracy, one is outside [0, 1], a cost is negative, or balanced
            accuracies are given for some seeds only.

    Example:
        ```python
        from keras_reprogram.report import ResultRow

        row = ResultRow("8 views", (0.94, 0.95, 0.96), 8000, 8, 12.5)
        assert abs(row.mean - 0.95) < 1e-9 and abs(row.spread - 0.01) < 1e-9
        ```
    """

    method: str
    accuracies: tuple[float, ...]
    training_queries: int | None = None
    queries_per_prediction: int | None = None
    seconds: float | None = None
    note: str = ""
    balanced_accuracies: tuple[float, ...] = ()
    figures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_shares("accuracies", bool(self.accuracies))
        self._check_shares(
            "balanced_accuracies", len(self.balanced_accuracies) in (0, len(self.accuracies))
        )
        object.__setattr__(self, "figures", self._checked_figures())
        for name, kind in (
            ("training_queries", int),
            ("queries_per_prediction", int),
            ("seconds", float),
        ):
            object.__setattr__(self, name, self._checked_cost(name, kind))

    def _check_shares(self, name: str, complete: bool) -> None:
        # NumPy scalars are taken in, so that json.dumps takes them out.
        shares = tuple(float(share) for share in getattr(self, name))
        if not complete or not all(0.0 <= share <= 1.0 for share in shares):
            raise ValueError(
                "Expected one accuracy in [0, 1] for each seed, at least one. Received: "
                f"{name}={shares} for method {self.method!r}. Divide percentages by 100."
            )
        object.__setattr__(self, name, shares)

    def _checked_figures(self) -> dict[str, tuple[float, ...]]:
        plain = {name: tuple(map(float, values)) for name, values in self.figures.items()}
        for name, values in plain.items():
            in_range = all(-1.0 <= value <= 1.0 for value in values)
            if len(values) != len(self.accuracies) or not in_range:
                raise ValueError(
                    "Expected one figure in [-1, 1] for each seed. Received: "
                    f"{name}={values} for method {self.method!r}."
                )
        return plain

    def _checked_cost(self, name: str, kind: type) -> Any:
        value = getattr(self, name)
        if value is None:
            return None
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(
                f"Expected `{name}` to be 0 or more. Received: {name}={value} for method "
                f"{self.method!r}. Pass None where the figure does not apply."
            )
        return kind(value)

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds."""
        return statistics.fmean(self.accuracies)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over the seeds, or None with a single seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def figure(self, name: str) -> _Values:
        """A further figure's values, with their mean and spread."""
        return _Values(self.figures[name])

    @property
    def balanced(self) -> ResultRow | None:
        """The same row with balanced accuracies in place of the others, or None without."""
        if not self.balanced_accuracies:
            return None
        return replace(self, accuracies=self.balanced_accuracies, balanced_accuracies=())


@dataclass(frozen=True)
class TextTable:
    """Headings and rows of plain text.

    Args:
        heads: One heading a column.
        rows: Rows of as many cells.

    Raises:
        ValueError: If a row has more or fewer cells than there are headings.

    Example:
        ```python
        from keras_reprogram.report import TextTable

        table = TextTable(("class", "source labels"), (("zero", "stop, yield"),))
        assert len(table.rows) == 1
        ```
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.heads):
                raise ValueError(
                    f"Expected {len(self.heads)} cells a row, one a heading. Received: "
                    f"{len(row)} in row {number}. Fill what is missing with empty text."
                )
