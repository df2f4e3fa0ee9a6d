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
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer
from csv_rows import read_rows
from methods import METHODS, ON_REQUEST, USUAL_METHODS
from plot import draw_panels
from resumable import do_missing, names_by_commas
from runs import execute, expected_seconds, mode_name, plan
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
        str, typer.Option(help=f"Names by commas; default: all but {', '.join(ON_REQUEST)}.")
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
        bool, typer.Option("--table", help="Only print the table of the file's rows, of --methods.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the file's rows into FILE.")
    ] = None,
) -> None:
    """Measures accuracy per query; the table goes to stdout, progress to stderr."""
    mode = mode_name(quick, images)
    path = csv_file or HERE / f"accuracy_per_query{'_quick' if quick else ''}.csv"
    seed_names = names_by_commas(seeds or (QUICK_SEEDS if quick else "0,1,2"), None, "--seeds")
    if not table:
        choices = source_choices(moderation)
        wanted = sources or (QUICK_SOURCES if quick else "")
        runs = plan(
            [choices[name] for name in names_by_commas(wanted, choices, "--sources")],
            names_by_commas(targets or (QUICK_TARGETS if quick else ""), TARGETS, "--targets"),
            names_by_commas(methods or ",".join(USUAL_METHODS), METHODS, "--methods"),
            [int(seed) for seed in seed_names],
            quick=quick,
            limit=images,
        )
        how = {"execute": execute, "expected_seconds": expected_seconds}
        if not do_missing(runs, path, minutes, key=lambda run: run.key, **how):
            raise typer.Exit(130)
    shown = names_by_commas(methods if table else "", METHODS, "--methods")
    rows = [row for row in read_rows(path) if row.mode == mode and row.method in shown]
    if not rows:
        raise typer.BadParameter(f"{path} holds no rows of the {mode} form, of these methods, yet.")
    for metric in METRICS:
        print(markdown_table(rows, metric), end="\n\n")
    if plot is not None:
        draw_panels(rows).savefig(plot, dpi=110)


if __name__ == "__main__":
    sys.exit(typer.run(main))
