"""Do views that are chosen from a pool read more than views drawn at random?

    export KERAS_REPROGRAM_DATA=...   # the data sets
    python examples/benchmark/chosen_views.py --minutes 30   # as many times as needed
    python examples/benchmark/chosen_views.py --table

A pool of 48 views is asked once a pair and seed. `select_views` chooses 1, 2 and 4 of them from the
answers to its pilot images alone; beside them stand as many drawn from the same pool, the mean of
five draws. Both fit their map on all training images. A row is one way and number of views, written
as soon as it is done.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from csv_rows import FULL, Key, Row, read_rows
from resumable import do_missing, names_by_commas
from sources import source_choices
from targets import draw_target
from task import Task, accuracy

from keras_reprogram import DenseMap, ReprogrammedModel
from keras_reprogram.opaque.view_choice import pool_answers
from keras_reprogram.program import Placement

CSV_FILE = Path(__file__).with_suffix(".csv")
POOL_SIZE, NUM_DRAWS = 48, 5
NUMBERS = (1, 2, 4)
BATCH_SIZE = 256
WAYS = ("chosen", "drawn")
# The sources of few scores: there the number of views matters.
PAIRS = (
    ("traffic_signs", "digits"),
    ("cifar10", "digits"),
    ("traffic_signs", "mnist"),
    ("cifar10", "mnist"),
    ("traffic_signs", "cifar10"),
    ("cifar10", "gtsrb"),
)
# Seconds of a run of which nothing is known yet, on two cores.
FIRST_GUESS = 60.0


@dataclass(frozen=True)
class Reading:
    """One run: a way and a number of views, on a pair with a seed."""

    source: str
    target: str
    way: str
    num_views: int
    seed: int

    @property
    def key(self) -> Key:
        """As `Row.key` of the row that it will become."""
        return (self.source, self.target, f"{self.way}_{self.num_views}", self.seed, FULL)


class Pool:
    """All answers of a pair and seed, and what may be known of them.

    Args:
        source: name.
        target: name.
        seed: of images, views and draws.
    """

    def __init__(self, source: str, target: str, seed: int) -> None:
        self.data = draw_target(source, target, seed)
        self.task = Task(source_choices()[source], self.data, seed)
        model = self.model(max(NUMBERS))
        x, y = self.data.train_images, self.data.train_labels
        # The order of all four begins with the choices of one and two.
        self.selection = model.select_views(
            x, y, pool_size=POOL_SIZE, num_views=max(NUMBERS), style="bold", verbose=0
        )
        pool = self.selection.pool
        self.train = pool_answers(model, pool, x, BATCH_SIZE)
        self.test = pool_answers(model, pool, self.data.test_images, BATCH_SIZE)

    def model(self, num_views: int) -> ReprogrammedModel:
        """An untrained model with so many views."""
        source = self.task.choice.opaque()
        program = self.task.plain_program(source, num_views, style="bold")
        output_map = DenseMap(self.task.num_classes)
        return ReprogrammedModel(program, source, output_map, seed=self.task.seed)

    def read(self, views: Sequence[int]) -> float:
        """Test accuracy of a map on some views of the pool.

        Args:
            views: their positions.
        """
        model = self.model(len(views))
        model.use_placement(Placement([self.selection.pool.views[view] for view in views]))
        labels = self.data.train_labels
        model.fit_output_map(y=labels, scores=self.train[:, views], verbose=0)
        return accuracy(np.asarray(model.output_map(self.test[:, views])), self.data.test_labels)


@lru_cache(maxsize=1)
def asked_pool(source: str, target: str, seed: int) -> Pool:
    """The pool that all runs of a pair and seed share."""
    return Pool(source, target, seed)


def execute(run: Reading) -> Row:
    """Does a run.

    Args:
        run: which.

    Returns:
        Its row.
    """
    started = time.monotonic()
    pool = asked_pool(run.source, run.target, run.seed)
    num_train, pilot = len(pool.train), 0
    if run.way == "chosen":
        draws = [list(pool.selection.order.views[: run.num_views])]
        pilot = len(pool.selection.pilot)
    else:
        rng = np.random.default_rng([run.seed, run.num_views])
        draws = [
            list(map(int, rng.choice(POOL_SIZE, run.num_views, replace=False)))
            for _ in range(NUM_DRAWS)
        ]
    accuracies = [pool.read(views) for views in draws]
    source, target, method, seed, mode = run.key
    return Row(
        source,
        target,
        method,
        seed,
        mode,
        num_train,
        len(pool.test),
        views=run.num_views,
        # Answers of the pilot are used again.
        queries_training=pilot * POOL_SIZE + (num_train - pilot) * run.num_views,
        queries_per_prediction=run.num_views,
        test_accuracy=float(np.mean(accuracies)),
        seconds=time.monotonic() - started,
        choices=";".join(
            f"{'+'.join(map(str, v))}:{a:.3f}" for v, a in zip(draws, accuracies, strict=True)
        ),
    )


def markdown_table(rows: Sequence[Row]) -> str:
    """A line a pair, a column a way and number; the mean over the pairs last.

    Args:
        rows: as `read_rows` gives them.

    Returns:
        Markdown.
    """
    methods = [f"{way}_{number}" for number in NUMBERS for way in reversed(WAYS)]
    titles = ["source", "target", *(name.replace("_", " ") for name in methods)]
    lines = ["| " + " | ".join(titles) + " |", "| --- | --- |" + " ---: |" * len(methods)]
    means = []
    for pair in dict.fromkeys((row.source, row.target) for row in rows):
        found = {
            name: [
                row.test_accuracy or 0.0
                for row in rows
                if (row.source, row.target, row.method) == (*pair, name)
            ]
            for name in methods
        }
        cells = [_cell(found[name]) for name in methods]
        lines.append("| " + " | ".join([*pair, *cells]) + " |")
        if all(found.values()):
            means.append([np.mean(found[name]) for name in methods])
    if means:
        cells = [f"**{mean:.3f}**".replace("0.", ".", 1) for mean in np.mean(means, axis=0)]
        lines.append("| " + " | ".join(["mean", "", *cells]) + " |")
    seeds = len({row.seed for row in rows})
    return "\n".join(
        [
            *lines,
            "",
            f"- Test accuracy, mean ± standard deviation over {seeds} seeds; `drawn` is the mean "
            f"of {NUM_DRAWS} draws from the same pool of {POOL_SIZE} views.",
        ]
    )


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    text = f"{np.mean(values):.3f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.3f}"
    return text.replace("0.", ".")


def _expected_seconds(rows: Sequence[Row], run: Reading) -> float:
    alike = [row.seconds or 0.0 for row in rows if row.source == run.source]
    return max(alike, default=FIRST_GUESS)


def main(
    seeds: Annotated[str, typer.Option(help="Numbers by commas.")] = "0,1,2",
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Start no run that would not end in this time.")
    ] = None,
    csv_file: Annotated[
        Path, typer.Option("--csv", help="Where rows are kept and looked for.")
    ] = CSV_FILE,
    table: Annotated[
        bool, typer.Option("--table", help="Only print the table of the file's rows.")
    ] = False,
) -> None:
    """Measures what chosen and drawn views reach; the table goes to stdout, progress to stderr."""
    runs = [
        Reading(*pair, way, number, int(seed))
        for seed in names_by_commas(seeds, None, "--seeds")
        for pair in PAIRS
        for number in NUMBERS
        for way in WAYS
    ]
    how = {"key": lambda run: run.key, "execute": execute, "expected_seconds": _expected_seconds}
    if not table and not do_missing(runs, csv_file, minutes, **how):
        raise typer.Exit(130)
    rows = read_rows(csv_file)
    if not rows:
        raise typer.BadParameter(f"{csv_file} holds no rows yet.")
    print(markdown_table(rows))


if __name__ == "__main__":
    sys.exit(typer.run(main))
