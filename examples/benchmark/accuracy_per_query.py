"""The benchmark: what accuracy each way of re-using a classifier buys with how many queries.

    export KERAS_REPROGRAM_DATA=... KERAS_HOME=...   # data sets; weights where there is no network
    python examples/benchmark/accuracy_per_query.py --quick
    python examples/benchmark/accuracy_per_query.py --minutes 60   # as many times as needed

Each run is one row of a CSV file, written as soon as it is done. Runs that are there are not done
again, so stop and start it as you like.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer
from csv_rows import Row, append_row, read_rows
from methods import METHODS, USUAL_METHODS
from plot import draw_panels
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from runs import Run, execute, expected_seconds, mode_name, plan
from sources import source_choices
from table import METRICS, markdown_table
from targets import TARGETS

HERE = Path(__file__).parent
QUICK_SOURCES, QUICK_TARGETS, QUICK_SEEDS = "traffic_signs,cifar10", "digits", "0"
MODERATION_FILE = "moderation_mobilenet_v2.keras"


def main(
    quick: Annotated[
        bool, typer.Option("--quick", help="A part that ends in ten minutes on two cores.")
    ] = False,
    sources: Annotated[str, typer.Option(help="Names by commas; default: all there are.")] = "",
    targets: Annotated[str, typer.Option(help=f"Names by commas: {','.join(TARGETS)}.")] = "",
    methods: Annotated[
        str, typer.Option(help="Names by commas; default: all but views_8 and views_32.")
    ] = "",
    seeds: Annotated[str, typer.Option(help="Numbers by commas; default: 0,1,2.")] = "",
    images: Annotated[
        int, typer.Option(min=50, max=1000, help="Most training and most test images.")
    ] = 1000,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Start no run that would not end in this time.")
    ] = None,
    moderation: Annotated[
        Path | None,
        typer.Option(
            envvar="KERAS_REPROGRAM_MODERATION",
            help="The moderation classifier's .keras file; without it that source is left out.",
        ),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Where rows are kept and looked for.")
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Only print the table of the file's rows.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the file's rows into FILE.")
    ] = None,
) -> None:
    """Measures accuracy per query; the table goes to stdout, progress to stderr."""
    mode = mode_name(quick, images)
    path = csv_file or HERE / f"accuracy_per_query{'_quick' if quick else ''}.csv"
    seed_names = _names(seeds or (QUICK_SEEDS if quick else "0,1,2"), None, "--seeds")
    if not table:
        choices = source_choices(moderation)
        runs = plan(
            [
                choices[n]
                for n in _names(sources or (QUICK_SOURCES if quick else ""), choices, "--sources")
            ],
            _names(targets or (QUICK_TARGETS if quick else ""), TARGETS, "--targets"),
            _names(methods or ",".join(USUAL_METHODS), METHODS, "--methods"),
            [int(seed) for seed in seed_names],
            quick=quick,
            limit=images,
        )
        if not _do(runs, path, minutes):
            raise typer.Exit(130)
    rows = [row for row in read_rows(path) if row.mode == mode]
    if not rows:
        raise typer.BadParameter(f"{path} holds no rows of the {mode} form yet.")
    for metric in METRICS:
        print(markdown_table(rows, metric), end="\n\n")
    if plot is not None:
        draw_panels(rows).savefig(plot, dpi=110)


def _do(runs: Sequence[Run], path: Path, minutes: float | None) -> bool:
    """Does the runs that have no row yet; `False` if Ctrl-C ended it."""
    rows = read_rows(path)
    done = {row.key for row in rows}
    missing = [run for run in runs if run.key not in done]
    console, started = Console(stderr=True), time.monotonic()
    shown = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*shown, console=console) as progress:
        bar = progress.add_task("", total=len(runs), completed=len(runs) - len(missing))
        for run in missing:
            left = float("inf") if minutes is None else 60 * minutes + started - time.monotonic()
            if expected_seconds(rows, run) > left:
                console.print("The next run would not fit the time. Run again to go on.")
                break
            progress.update(bar, description=" ".join(map(str, run.key[:4])))
            try:
                row = execute(run)
            except KeyboardInterrupt:
                console.print(f"Interrupted; {path} keeps what was done.", soft_wrap=True)
                return False
            except (ValueError, OSError) as error:
                # A data set or a file that is not there; the message says what to do.
                console.print(
                    f"Error in {' '.join(map(str, run.key))}: {error}", soft_wrap=True, markup=False
                )
                raise typer.Exit(1) from error
            append_row(path, row)
            rows.append(row)
            progress.advance(bar)
            console.print(_line(row), soft_wrap=True)
    return True


def _line(row: Row) -> str:
    name = f"{row.source:18} {row.target:9} {row.method:14} seed {row.seed}"
    if row.test_accuracy is None:
        return f"{name}  {row.notes}"
    queries = 0 if row.queries_training is None else row.queries_training
    return f"{name}  {row.test_accuracy:.3f}  {queries:7,} queries  {row.seconds:6.1f} s"


def _names(given: str, known: object, option: str) -> list[str]:
    """The names of an option, all known ones if none are given."""
    names = [name.strip() for name in given.split(",") if name.strip()]
    if known is None:
        wrong = [name for name in names if not name.isdigit()]
        expected = "whole numbers"
    else:
        names = names or list(known)
        wrong = [name for name in names if name not in known]
        expected = ", ".join(known)
    if wrong:
        raise typer.BadParameter(
            f"Expected {expected}. Received: {', '.join(wrong)}.", param_hint=option
        )
    return names


if __name__ == "__main__":
    sys.exit(typer.run(main))
