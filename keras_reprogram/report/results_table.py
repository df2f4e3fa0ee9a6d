"""Results of several methods side by side: for the terminal, Markdown and JSON."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from keras_reprogram.report.result_row import ResultRow

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
        `balanced_accuracies` only where a row has them.

    Example:
        ```python
        from keras_reprogram.report import ResultRow, results_json

        assert results_json([ResultRow("map only", (0.5, 0.7))])[0]["mean"] == 0.6
        ```
    """
    return [_plain(row) for row in rows]


def _plain(row: ResultRow) -> dict[str, Any]:
    balanced = {"balanced_accuracies": list(row.balanced_accuracies)}
    return {
        "method": row.method,
        "accuracies": list(row.accuracies),
        "mean": row.mean,
        "spread": row.spread,
        "training_queries": row.training_queries,
        "queries_per_prediction": row.queries_per_prediction,
        "seconds": row.seconds,
        "note": row.note,
    } | (balanced if row.balanced_accuracies else {})


def table_cells(rows: Sequence[ResultRow]) -> tuple[list[str], list[list[str]]]:
    """Gives a table's headings and formatted cells, the same for every medium.

    Args:
        rows: The results.

    Returns:
        The headings, and one list of cells a row; the columns of balanced accuracy and of notes
        only if a row has one.

    Example:
        ```python
        from keras_reprogram.report.result_row import ResultRow
        from keras_reprogram.report.results_table import table_cells

        heads, body = table_cells([ResultRow("SVM on pixels", (0.97,))])
        assert body == [["SVM on pixels", ".970", "-", "-", "-"]]
        ```
    """
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
    if any(row.note for row in rows):
        heads.append("note")
        body = [[*cells, row.note] for cells, row in zip(body, rows, strict=True)]
    return heads, body


def is_numeric(head: str) -> bool:
    """Says whether a column holds figures, which align right.

    Args:
        head: The column's heading.

    Returns:
        True for accuracies, queries and seconds.

    Example:
        ```python
        from keras_reprogram.report.results_table import is_numeric

        assert is_numeric("seconds") and not is_numeric("method")
        ```
    """
    return head not in ("method", "note")


def has_spread(rows: Sequence[ResultRow]) -> bool:
    """Says whether any row was run with several seeds, so that ± needs explaining.

    Args:
        rows: The results.

    Returns:
        True if a row has more than one accuracy.

    Example:
        ```python
        from keras_reprogram.report import ResultRow
        from keras_reprogram.report.results_table import has_spread

        assert has_spread([ResultRow("map only", (0.75, 0.77))])
        ```
    """
    return any(row.spread is not None for row in rows)


def _accuracy_cell(row: ResultRow) -> str:
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
