"""Runs a table of a paper again: what no row of its CSV file holds yet, then the page of it all."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import benchmark_folder  # noqa: F401  The modules below need it.
import numpy as np
import typer
from csv_rows import read_rows
from epoch_bar import EpochBar
from reproduced_rows import ReproducedRow
from results_page import results_page
from resumable import do_missing, names_by_commas, progress_bars
from row_config import FORMS, HERE, PAPER
from row_methods import METHODS
from row_run import Run
from table_config import TableConfig, read_table

from keras_reprogram.report import classification_metrics

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
# Not under version control; see the README there.
CACHE = FOLDER.parents[1] / "saved_models" / "reproduce"
# Seconds of a run of which nothing is known yet.
FIRST_GUESS = 60.0


def reproduce(name: str) -> None:
    """The command line of a table.

    Args:
        name: of the table.
    """
    app = typer.Typer(add_completion=False)
    app.command(help=f"Runs {name} again; the page goes to stdout, progress to stderr.")(main)
    app(obj=name)


def main(
    context: typer.Context,
    form: Annotated[
        str,
        typer.Option(
            help='"here": sources and data that are at hand offline; "paper": the paper\'s own; '
            '"cut" and "tiny": a few images of the former, to test the machinery.'
        ),
    ] = HERE,
    rows: Annotated[str, typer.Option(help="Names by commas; empty for all.")] = "",
    seeds: Annotated[
        str, typer.Option(help="Numbers by commas; cross-validated rows take the first one.")
    ] = "0,1,2",
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Start no run that would not end in this time.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Where rows are kept and looked for.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Where the page is written; beside the CSV file.")
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="Folder of answers and trained programs, for later runs.")
    ] = CACHE,
    table: Annotated[
        bool, typer.Option("--table", help="Only write and print the page of the file's rows.")
    ] = False,
) -> None:
    """Runs what no row holds yet; `context.obj` is the name of the table."""
    name: str = context.obj
    forms = names_by_commas(form, FORMS, "--form")
    if len(forms) > 1:
        raise typer.BadParameter(f"Expected one form. Received: {form}.", param_hint="--form")
    (form,) = forms
    try:
        config = read_table(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    names = names_by_commas(rows, [row.name for row in config.rows[form]], "--rows")
    numbers = [int(seed) for seed in names_by_commas(seeds, None, "--seeds")]
    kept = RESULTS if form in (HERE, PAPER) else cache / form
    csv_file = csv_file or kept / f"{name}.csv"
    if not table and not _run(config, form, names, numbers, csv_file, minutes, cache):
        raise typer.Exit(130)
    try:
        page = results_page(config, read_rows(csv_file, ReproducedRow), form)
    except ValueError as error:
        raise typer.BadParameter(f"{csv_file}: {error}") from error
    markdown = markdown or csv_file.with_suffix(".md")
    markdown.parent.mkdir(parents=True, exist_ok=True)
    markdown.write_text(page, encoding="utf-8")
    print(page)


def _run(
    config: TableConfig,
    form: str,
    names: Sequence[str],
    seeds: Sequence[int],
    path: Path,
    minutes: float | None,
    cache: Path,
) -> bool:
    bars = progress_bars()
    runs = [
        Run(row, form, seed, fold, cache, lambda: [EpochBar(bars)])
        for row in config.rows[form]
        if row.name in names and not row.stored
        for seed in (seeds[:1] if row.folds else seeds)
        for fold in range(row.folds or 1)
    ]
    return do_missing(
        runs,
        path,
        minutes,
        key=lambda run: run.key,
        execute=execute,
        expected_seconds=_expected_seconds,
        kind=ReproducedRow,
        bars=bars,
    )


def execute(run: Run) -> ReproducedRow:
    """Does a run.

    Args:
        run: a line, a seed and a fold.

    Returns:
        Its row.
    """
    started, row = time.monotonic(), run.row
    outcome = METHODS[row.method](run)
    seconds, data = time.monotonic() - started, run.data
    probabilities = np.eye(run.num_classes)[outcome.predicted]
    metrics = classification_metrics(data.test_labels, probabilities, data.class_names)
    return ReproducedRow(
        *run.key[:2],
        row.target,
        row.source,
        row.method,
        *run.key[2:],
        len(data.train_labels),
        len(data.test_labels),
        resolution=outcome.resolution,
        epochs=outcome.epochs,
        validation_accuracy=outcome.validation_accuracy,
        test_accuracy=metrics.accuracy,
        balanced_accuracy=metrics.balanced_accuracy,
        train_accuracy=outcome.train_accuracy,
        seconds=seconds,
        choices=outcome.choices,
        notes=outcome.notes,
    )


def _expected_seconds(rows: Sequence[Any], run: Run) -> float:
    """The longest run of the same line; else a guess."""
    alike = [row.seconds or 0.0 for row in rows if row.key[:2] == run.key[:2]]
    return max(alike, default=FIRST_GUESS)
