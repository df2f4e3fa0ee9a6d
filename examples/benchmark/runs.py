"""Which runs there are, how long one takes, and how it becomes a row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from csv_rows import FULL, QUICK, Key, Row
from methods import METHODS, NEEDS_ENOUGH_LABELS, WITHOUT_SOURCE
from sources import SourceChoice
from targets import MOST_IMAGES, draw_target, is_pair
from task import Outcome, Task

from keras_reprogram.report import classification_metrics

NO_SOURCE = "none"
# Seconds of a run of which nothing is known yet, on two cores.
FIRST_GUESS = 90.0


@dataclass(frozen=True)
class Run:
    """One run to do: a cell of the table with one seed."""

    choice: SourceChoice
    target: str
    method: str
    seed: int
    quick: bool = False
    limit: int = MOST_IMAGES

    @property
    def mode(self) -> str:
        """`"full"` or `"quick"`, with the number of images where it is not the usual one."""
        return mode_name(self.quick, self.limit)

    @property
    def source_name(self) -> str:
        """`"none"` for methods without a source, so that sources share their rows."""
        # Its tasks have fewer images, which makes them others.
        shared = self.method in WITHOUT_SOURCE and self.choice.name != "moderation"
        return NO_SOURCE if shared else self.choice.name

    @property
    def key(self) -> Key:
        """As `Row.key` of the row that it will become."""
        return (self.source_name, self.target, self.method, self.seed, self.mode)


def plan(
    choices: Sequence[SourceChoice],
    targets: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    *,
    quick: bool = False,
    limit: int = MOST_IMAGES,
) -> list[Run]:
    """All runs, one seed after the other, so that a broken-off benchmark covers every pair.

    Args:
        choices: sources.
        targets: names of targets.
        methods: names of methods.
        seeds: seeds.
        quick: whether expensive methods are cut short.
        limit: most training and most test images.

    Returns:
        The runs in the order in which they are done, none twice.
    """
    runs = [
        Run(choice, target, method, seed, quick, limit)
        for seed in seeds
        for choice in choices
        for target in targets
        if is_pair(choice, target)
        for method in methods
    ]
    return list({run.key: run for run in runs}.values())


def mode_name(quick: bool, limit: int) -> str:
    """What a row says about how much was asked for.

    Args:
        quick: whether expensive methods are cut short.
        limit: most training and most test images.
    """
    name = QUICK if quick else FULL
    return name if limit == MOST_IMAGES else f"{name}, {limit} images"


def execute(run: Run) -> Row:
    """Does a run.

    Args:
        run: which.

    Returns:
        Its row; without figures where the method cannot be had for the pair.
    """
    started = time.monotonic()
    data = draw_target(run.choice.name, run.target, run.seed, run.limit)
    task = Task(run.choice, data, run.seed, run.quick)
    facts = {"n_train": task.num_train, "n_test": len(data.test_labels), "mode": run.mode}
    facts |= {"source": run.source_name, "target": run.target, "method": run.method}
    if run.method in NEEDS_ENOUGH_LABELS:
        num_labels = run.choice.transparent().num_labels
        if not task.labels_per_class(num_labels):
            lack = f"n/a: {num_labels} source labels for {task.num_classes} classes"
            return Row(seed=run.seed, notes=lack, **facts)
    outcome = METHODS[run.method](task)
    return Row(seed=run.seed, **facts, **_figures(outcome, task, time.monotonic() - started))


def expected_seconds(rows: Sequence[Row], run: Run) -> float:
    """How long a run will take, going by the longest one like it.

    Args:
        rows: what has been done.
        run: what is to be done.

    Returns:
        Seconds: of the same method with the same source, else of the same method, else a guess.
    """
    timed = [row for row in rows if row.seconds is not None and row.method == run.method]
    same = [row for row in timed if row.source == run.source_name]
    return max((row.seconds or 0.0 for row in same or timed), default=FIRST_GUESS)


def _figures(outcome: Outcome, task: Task, seconds: float) -> dict:
    data = task.data
    metrics = classification_metrics(data.test_labels, outcome.probabilities, data.class_names)
    return {
        "views": outcome.views,
        "queries_training": outcome.queries_training,
        "queries_pilot": outcome.queries_pilot,
        "queries_per_prediction": outcome.views,
        "validation_accuracy": outcome.validation_accuracy,
        "test_accuracy": metrics.accuracy,
        "balanced_accuracy": metrics.balanced_accuracy,
        "seconds": seconds,
        "choices": outcome.choices,
        "notes": outcome.notes,
    }
