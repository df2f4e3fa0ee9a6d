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
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer
from csv_rows import Key, Row, read_rows
from few_images_data import SIZES, TARGETS, Few, sources
from few_images_methods import METHODS, USUAL_METHODS, WITHOUT_SOURCE
from few_images_table import METRICS, markdown_table, mode_name
from resumable import do_missing, names_by_commas
from runs import NO_SOURCE

from keras_reprogram.report import classification_metrics

CSV_FILE = Path(__file__).with_suffix(".csv")
# Seconds of a run of which nothing is known yet, on two cores.
FIRST_GUESS = 60.0

# The name of a method, and the source, target, size and seed that it is measured with.
FewRun = tuple[str, Few]


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
        for seed in names_by_commas(seeds, None, "--seeds")
        for name in names_by_commas(source, choices, "--source")
        for target in names_by_commas(targets, TARGETS, "--targets")
        for size in names_by_commas(sizes, map(str, SIZES), "--sizes")
        for method in names_by_commas(methods, METHODS, "--methods")
    ]
    how = {"key": run_key, "execute": execute, "expected_seconds": _expected_seconds}
    if not table and not do_missing(runs, csv_file, minutes, **how):
        raise typer.Exit(130)
    rows = read_rows(csv_file)
    if not rows:
        raise typer.BadParameter(f"{csv_file} holds no rows yet.")
    for metric in METRICS:
        print(markdown_table(rows, metric), end="\n\n")


def run_key(run: FewRun) -> Key:
    """What tells one run from another, as `Row.key`.

    Args:
        run: method and draw.
    """
    method, few = run
    source = NO_SOURCE if method in WITHOUT_SOURCE else few.choice.name
    return (source, few.target, method, few.seed, mode_name(few.size))


def execute(run: FewRun) -> Row:
    """Does a run.

    Args:
        run: method and draw.

    Returns:
        Its row.
    """
    method, few = run
    data = few.data
    started = time.monotonic()
    outcome = METHODS[method](few)
    seconds = time.monotonic() - started
    metrics = classification_metrics(data.test_labels, outcome.probabilities, data.class_names)
    source, target, name, seed, mode = run_key(run)
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


def _expected_seconds(rows: Sequence[Row], run: FewRun) -> float:
    """The longest run of the same method, source and target; else a guess."""
    key = run_key(run)
    alike = [r.seconds or 0.0 for r in rows if (r.source, r.target, r.method) == key[:3]]
    return max(alike, default=FIRST_GUESS)


if __name__ == "__main__":
    sys.exit(typer.run(main))
