"""Where a source's knowledge pays: photographs and lesions with 10, 50 and 200 images a class.

    export KERAS_REPROGRAM_DATA=... KERAS_HOME=...   # data sets; weights where there is no network
    python examples/benchmark/few_images.py --minutes 20   # as many times as needed
    python examples/benchmark/few_images.py --table

A source of which only scores are seen stands beside two models of the target images alone and
beside the linear head that only the owner of the source can fit. Each run is one row of a CSV file,
written as soon as it is done; runs that are there are not done again. The sizes of a seed share the
source's answers, so `seconds` is what was spent, not what a run alone would take.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer
from csv_rows import Key, Row, append_row, read_rows
from few_images_data import SIZES, TARGETS, Few, sources
from few_images_methods import METHODS, USUAL_METHODS, WITHOUT_SOURCE
from few_images_table import METRICS, markdown_table, mode_name
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from runs import NO_SOURCE

from keras_reprogram.report import classification_metrics

CSV_FILE = Path(__file__).with_suffix(".csv")
# Seconds of a run of which nothing is known yet, on two cores.
FIRST_GUESS = 60.0


def main(
    source: Annotated[
        str, typer.Option(help=f"Names by commas: {','.join(sources())}.")
    ] = "mobilenet_025_128",
    targets: Annotated[str, typer.Option(help=f"Names by commas: {','.join(TARGETS)}.")] = "",
    methods: Annotated[
        str, typer.Option(help=f"Names by commas, of {','.join(METHODS)}.")
    ] = ",".join(USUAL_METHODS),
    sizes: Annotated[str, typer.Option(help="Images a class, by commas.")] = ",".join(
        map(str, SIZES)
    ),
    seeds: Annotated[str, typer.Option(help="Numbers by commas.")] = "0,1,2",
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Start no run that would not end in this time.")
    ] = None,
    csv_file: Annotated[
        Path, typer.Option("--csv", help="Where rows are kept and looked for.")
    ] = CSV_FILE,
    table: Annotated[
        bool, typer.Option("--table", help="Only print the tables of the file's rows.")
    ] = False,
) -> None:
    """Measures what few images of a class reach; tables go to stdout, progress to stderr."""
    choices = sources()
    runs = [
        (method, Few(choices[name], target, int(size), int(seed)))
        for seed in _names(seeds, None, "--seeds")
        for name in _names(source, choices, "--source")
        for target in _names(targets, TARGETS, "--targets")
        for size in _names(sizes, map(str, SIZES), "--sizes")
        for method in _names(methods, METHODS, "--methods")
    ]
    if not table and not _do(runs, csv_file, minutes):
        raise typer.Exit(130)
    rows = read_rows(csv_file)
    if not rows:
        raise typer.BadParameter(f"{csv_file} holds no rows yet.")
    for metric in METRICS:
        print(markdown_table(rows, metric), end="\n\n")


def run_key(method: str, few: Few) -> Key:
    """What tells one run from another, as `Row.key`.

    Args:
        method: its name.
        few: source, target, size and seed.
    """
    source = NO_SOURCE if method in WITHOUT_SOURCE else few.choice.name
    return (source, few.target, method, few.seed, mode_name(few.size))


def execute(method: str, few: Few) -> Row:
    """Does a run.

    Args:
        method: its name.
        few: source, target, size and seed.

    Returns:
        Its row.
    """
    data = few.data
    started = time.monotonic()
    outcome = METHODS[method](few)
    seconds = time.monotonic() - started
    metrics = classification_metrics(data.test_labels, outcome.probabilities, data.class_names)
    source, target, name, seed, mode = run_key(method, few)
    return Row(
        source,
        target,
        name,
        seed,
        mode,
        len(data.train_labels),
        len(data.test_labels),
        views=outcome.views,
        queries_training=outcome.queries_training,
        queries_per_prediction=outcome.views,
        validation_accuracy=outcome.validation_accuracy,
        test_accuracy=metrics.accuracy,
        balanced_accuracy=metrics.balanced_accuracy,
        seconds=seconds,
        choices=outcome.choices,
        notes=outcome.notes,
    )


def _do(runs: Sequence[tuple[str, Few]], path: Path, minutes: float | None) -> bool:
    """Does the runs that have no row yet; `False` if Ctrl-C ended it."""
    rows = read_rows(path)
    console, started = Console(stderr=True), time.monotonic()
    shown = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*shown, console=console) as progress:
        bar = progress.add_task("", total=len(runs))
        for method, few in runs:
            key = run_key(method, few)
            if key in {row.key for row in rows}:
                progress.advance(bar)
                continue
            left = float("inf") if minutes is None else 60 * minutes + started - time.monotonic()
            if _expected_seconds(rows, key) > left:
                console.print("The next run would not fit the time. Run again to go on.")
                break
            progress.update(bar, description=" ".join(map(str, key)))
            try:
                row = execute(method, few)
            except KeyboardInterrupt:
                console.print(f"Interrupted; {path} keeps what was done.", soft_wrap=True)
                return False
            except (ValueError, OSError) as error:
                # A data set or a file that is not there; the message says what to do.
                console.print(f"Error in {key}: {error}", soft_wrap=True, markup=False)
                raise typer.Exit(1) from error
            append_row(path, row)
            rows.append(row)
            progress.advance(bar)
            figure = f"{row.test_accuracy:.3f} test, {row.validation_accuracy:.3f} validation"
            console.print(" ".join(map(str, key)), figure, f"{row.seconds:.0f} s", soft_wrap=True)
    return True


def _expected_seconds(rows: Sequence[Row], key: Key) -> float:
    """The longest run of the same method, source and target; else a guess."""
    alike = [r.seconds or 0.0 for r in rows if (r.source, r.target, r.method) == key[:3]]
    return max(alike, default=FIRST_GUESS)


def _names(given: str, known: Iterable[str] | None, option: str) -> list[str]:
    """The names of an option; all known ones if none are given."""
    names = [name.strip() for name in given.split(",") if name.strip()]
    if known is None:
        wrong, expected = [name for name in names if not name.isdigit()], "whole numbers"
    else:
        every = list(known)
        names = names or every
        wrong, expected = [name for name in names if name not in every], ", ".join(every)
    if wrong:
        raise typer.BadParameter(
            f"Expected {expected}. Received: {', '.join(wrong)}.", param_hint=option
        )
    return names


if __name__ == "__main__":
    sys.exit(typer.run(main))
