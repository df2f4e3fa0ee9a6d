"""`train --calibrate`: holds training images out, and calibrates the trained model on them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from keras_reprogram.command_line.answers import ask
from keras_reprogram.command_line.console import Progress
from keras_reprogram.command_line.seed_run import SeedRun
from keras_reprogram.command_line.train_options import TrainOptions
from keras_reprogram.datasets import TargetData
from keras_reprogram.fitting.calibration import check_counts, group_numbers
from keras_reprogram.fitting.validation import split_validation


class HeldOut(NamedTuple):
    """Images that no fit sees: `(n, h, w, c)`, labels `(n,)`, and groups `(n,)` or `None`."""

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None


def hold_out(target: TargetData, options: TrainOptions, seed: int) -> tuple[TargetData, HeldOut]:
    """Divides the training images, groups kept together; refuses too few before any query."""
    images, labels, groups = target.train_images, target.train_labels, target.train_groups
    learned = np.arange(len(labels))
    if target.validation_rows is not None:
        # What the task holds out to choose by is no part of either.
        learned = np.flatnonzero(~target.validation_rows)
    of_learned = None if groups is None else groups[learned]
    _, held = split_validation(learned, labels[learned], options.calibrate or 0.0, seed, of_learned)
    held = learned[held]
    out = HeldOut(images[held], labels[held], None if groups is None else groups[held])
    num_classes, numbers = len(target.class_names), group_numbers(out.groups, len(out.labels))
    check_counts(
        out.labels, numbers, num_classes, options.coverage, options.class_wise, options.abstain
    )
    note = f"{len(held):,} training images are held out for the calibration."
    rest = target.with_training(np.setdiff1d(np.arange(len(labels)), held))
    return replace(rest, notes=(*target.notes, note)), out


def calibrate_run(run: SeedRun, held: HeldOut, options: TrainOptions, progress: Progress) -> None:
    """Calibrates the kept model, and notes what its sets are worth on the test images."""
    model = run.model
    scores = ask(model, held.images, progress, "calibrating")
    calibration = model.calibrate(
        y=held.labels,
        groups=held.groups,
        scores=scores,
        coverage=options.coverage,
        class_wise=options.class_wise,
        abstain=options.abstain,
    )
    queries = len(held.labels) * model.queries_per_prediction
    model.calibration = replace(calibration, queries_used=queries)
    outcome = run.result
    # The test images were asked already; sets need no more than their probabilities.
    sets = outcome.probabilities >= calibration.rule().thresholds
    rows = np.arange(len(sets))
    note = (
        f"sets of coverage {options.coverage:g}: hold the class of "
        f"{sets[rows, run.target.test_labels].mean():.3f} of test images, "
        f"{sets.sum(axis=1).mean():.2f} classes each"
    )
    outcome.note = "; ".join(filter(None, (outcome.note, note)))
