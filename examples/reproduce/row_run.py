"""One run of a line: its images, its source, and what a method is given beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from row_config import RowConfig
from row_sources import build_source
from sklearn.model_selection import StratifiedKFold

from keras_reprogram import FrozenSource
from keras_reprogram.datasets import TargetData, load_target, split_validation

VALIDATION_SHARE = 0.15
_FOLD_SEED = 0


@dataclass(frozen=True)
class Outcome:
    """What a method reached.

    Attributes:
        predicted: labels of the test images, integers `(n_test,)`.
        validation_accuracy: on the held-out images.
        train_accuracy: on the training images, or `None`.
        epochs: that were run, or `None`.
        resolution: size of the image on the canvas, and of the canvas.
        choices: what was chosen on validation.
        notes: what a reader should know.
    """

    predicted: np.ndarray
    validation_accuracy: float | None
    train_accuracy: float | None = None
    epochs: int | None = None
    resolution: str = ""
    choices: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Run:
    """A line, a seed and a fold.

    Attributes:
        row: the line.
        form: `"here"`, `"paper"` or a cut.
        seed: draws images, splits, starts and batches.
        fold: of a cross-validation.
        cache: folder of answers and programs that were paid for.
        callbacks: makes those that show the epochs of a training.
    """

    row: RowConfig
    form: str
    seed: int
    fold: int
    cache: Path
    callbacks: Callable[[], list[Any]] = field(default=list)

    @property
    def key(self) -> tuple[str, str, int, int]:
        """As `ReproducedRow.key`."""
        return (self.row.name, self.form, self.seed, self.fold)

    @property
    def data(self) -> TargetData:
        """Training and test images."""
        row = self.row
        counts = (row.train_images, row.test_images)
        target = (row.target, row.target_size, row.classes)
        return _drawn(*target, row.folds, self.fold, *counts, self.seed)

    @property
    def num_classes(self) -> int:
        """Classes of the target."""
        return len(self.data.class_names)

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the images that are trained on and of the held-out ones."""
        images, labels = self.data.train_images, self.data.train_labels
        return split_validation(images, labels, VALIDATION_SHARE, self.seed, self.data.train_groups)

    def source(self, output: str = "scores") -> FrozenSource:
        """The line's source."""
        return build_source(self.row.source, output)


def fold_of(data: TargetData, folds: int, fold: int) -> TargetData:
    """Training and test part of a stratified cross-validation over all images.

    The folds are those of `examples/benchmark/asd_cross_validation.py`.

    Args:
        data: both parts of a target; its groups are dropped.
        folds: how many.
        fold: which, from 0.
    """
    images = np.concatenate([data.train_images, data.test_images])
    labels = np.concatenate([data.train_labels, data.test_labels])
    splits = StratifiedKFold(folds, shuffle=True, random_state=_FOLD_SEED).split(images, labels)
    train, test = list(splits)[fold]
    return replace(
        data,
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        train_groups=None,
    )


# One at a time: the runs of a table together would fill the memory.
@lru_cache(maxsize=1)
def _drawn(
    target: str,
    size: int,
    classes: tuple[int, ...],
    folds: int,
    fold: int,
    train_images: int,
    test_images: int,
    seed: int,
) -> TargetData:
    data = _loaded(target, size, classes)
    if folds:
        data = fold_of(data, folds, fold)
    # Each class needs an image, and one more where some are held out.
    counts = (
        min(max(wanted, 2 * len(data.class_names)), len(labels)) if wanted else None
        for wanted, labels in ((train_images, data.train_labels), (test_images, data.test_labels))
    )
    return data.draw(*counts, seed)


@lru_cache(maxsize=1)
def _loaded(target: str, size: int, classes: tuple[int, ...]) -> TargetData:
    data = load_target(target, image_size=size or None)
    return _kept_classes(data, classes) if classes else data


def _kept_classes(data: TargetData, classes: tuple[int, ...]) -> TargetData:
    """The images of some classes alone, numbered in the order given."""
    train, test = (np.isin(labels, classes) for labels in (data.train_labels, data.test_labels))
    number = {label: position for position, label in enumerate(classes)}
    groups = data.train_groups
    return replace(
        data,
        train_images=data.train_images[train],
        train_labels=np.array([number[label] for label in data.train_labels[train]]),
        test_images=data.test_images[test],
        test_labels=np.array([number[label] for label in data.test_labels[test]]),
        class_names=tuple(data.class_names[label] for label in classes),
        train_groups=None if groups is None else groups[train],
    )
