"""A table as Markdown: the paper's figure, ours, and what lies between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from asd_rows import read_rows as read_fold_rows
from benchmark_folder import FOLDER as BENCHMARK
from reproduced_rows import ReproducedRow
from row_config import HERE, PAPER, RowConfig
from row_sources import source_title
from table_config import TableConfig

NOT_RUN = "not run here"
_HEADINGS = {
    HERE: "With the sources and images at hand",
    PAPER: "With sources and data as near to the paper's as can be had",
}
_COLUMNS = ("row", "paper", "ours", "the paper's setting", "our setting", "differences", "why")
_STORED_FILE = BENCHMARK / "asd_cross_validation.csv"


def results_page(config: TableConfig, rows: Sequence[ReproducedRow], form: str = HERE) -> str:
    """The page of a table.

    Args:
        config: of the table.
        rows: what was run.
        form: what is shown: `"here"` and `"paper"` together, a cut by itself.

    Returns:
        Markdown.

    Raises:
        ValueError: for results of another target, source, method, size, rate or number of epochs
            than their line has now.
    """
    forms = (HERE, PAPER) if form in _HEADINGS else (form,)
    parts = [f"# {config.title}", config.paper]
    for shown in forms:
        if config.rows[shown]:
            parts += [f"## {_HEADINGS.get(shown, shown)}", _table(config.rows[shown], rows, shown)]
    parts.append("\n".join(f"- {remark}" for remark in (*_REMARKS, *config.remarks)))
    return "\n\n".join(parts) + "\n"


_REMARKS = (
    "Ours: test accuracy, mean ± standard deviation over the seeds (or folds), their number in "
    "brackets.",
    "Learning rate, epoch, number of views and regularisation are chosen on held-out training "
    "images; a run looks at the test images once, at its end. Lines that were added or changed "
    "after an earlier figure on the same test images say so. Many papers print the epoch that is "
    "best on the test.",
    "Where all images of fixed parts are taken and a map is fitted exactly, seeds draw the "
    "validation part alone: their spread is then nearly 0, and says nothing of other images.",
)


def _table(lines: Sequence[RowConfig], rows: Sequence[ReproducedRow], form: str) -> str:
    table = ["| " + " | ".join(_COLUMNS) + " |", "|" + " --- |" * len(_COLUMNS)]
    for line in lines:
        own = _rows_of(line, rows, form)
        figure = _stored(line) if line.stored else _figure(line, own)
        paper = f"{line.published} ({line.published_in})" if line.published else ""
        cells = [line.title, paper, figure, line.published_with, _setting(line, own)]
        table.append("| " + " | ".join([*cells, line.differences, line.why]) + " |")
    return "\n".join(table)


def _rows_of(line: RowConfig, rows: Sequence[ReproducedRow], form: str) -> list[ReproducedRow]:
    own = [row for row in rows if row.key[:2] == (line.name, form)]
    for row in own:
        expected, received = _compared(line, row)
        if expected != received:
            raise ValueError(
                f"Expected the results of {line.name!r} to be of {' / '.join(expected)}, as its "
                f"configuration says. Received: {' / '.join(received)}. Delete the line's results "
                "from the CSV file and run it again."
            )
    return own


def _compared(line: RowConfig, row: ReproducedRow) -> tuple[list[str], list[str]]:
    """What a line says of its runs, and what a row says: a changed line must not show old figures.

    What either of them leaves open is left out.
    """
    pairs = [(line.target, row.target), (line.source, row.source), (line.method, row.method)]
    if line.epochs and row.epochs:
        epochs = line.epochs * max(1, len(line.learning_rates))
        pairs.append((f"{epochs} epochs", f"{row.epochs} epochs"))
    side = line.options.get("image_size")
    if side and " on " in row.resolution:
        pairs.append((f"{side}x{side} px", f"{row.resolution.partition(' on ')[0]} px"))
    rate = _rate(row)
    if line.learning_rates and rate and rate not in [f"{each:g}" for each in line.learning_rates]:
        pairs.append((f"a rate of {line.learning_rates}", f"a rate of {rate}"))
    expected, received = zip(*pairs, strict=True)
    return list(expected), list(received)


def _rate(row: ReproducedRow) -> str:
    """The learning rate that was chosen; empty where there is none, or the paper's."""
    choices = dict(choice.split("=", 1) for choice in row.choices.split(";") if choice)
    return choices.get("rate", "").replace("the paper's", "")


def _figure(line: RowConfig, rows: Sequence[ReproducedRow]) -> str:
    if not rows:
        return NOT_RUN
    text = _spread([row.test_accuracy for row in rows if row.test_accuracy is not None])
    trained = [row.train_accuracy for row in rows if row.train_accuracy is not None]
    if line.with_train and trained:
        text = f"{_spread(trained)} / {text}"
    if line.balanced:
        text += f", balanced {_spread([row.balanced_accuracy or 0.0 for row in rows])}"
    return f"{text} ({len(rows)})"


def _setting(line: RowConfig, rows: Sequence[ReproducedRow]) -> str:
    source = source_title(line.source) if line.source != "none" or not line.stored else ""
    if not rows:
        return source
    row = rows[-1]
    epochs = f", {row.epochs} epochs" if row.epochs else ""
    rates = " or ".join(sorted({rate for rate in map(_rate, rows) if rate}))
    rate = f", rate {rates}".replace("0.", ".") if rates else ""
    return f"{source}; {row.n_train:,} + {row.n_test:,} images, {row.resolution} px{epochs}{rate}"


def _stored(line: RowConfig) -> str:
    """The figure of a line whose rows the benchmark has."""
    wanted = (line.stored["source"], line.stored["method"])
    rows = [
        row
        for row in read_fold_rows(_STORED_FILE)
        if row.key[:2] == wanted and row.key[3:5] == (line.folds, 0)
    ]
    if not rows:
        return NOT_RUN
    return f"{_spread([row.accuracy for row in rows])} ({len(rows)})"


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    if len(values) > 1:
        mean += f" ± {np.std(values, ddof=1):.3f}"
    return mean.replace("0.", ".")
