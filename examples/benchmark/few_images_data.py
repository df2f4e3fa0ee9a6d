"""A few images of each class: what a run is given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from black_box import MAX_BATCH
from sources import SourceChoice, source_choices

from keras_reprogram import FrozenSource
from keras_reprogram.datasets import TargetData, load_target

SIZES = (10, 50, 200)
MOST_TEST_IMAGES = 1000
TARGETS = ("cifar10", "ham10000")


@dataclass(frozen=True)
class Few:
    """One run's source, target, images a class and seed.

    Attributes:
        choice: the source.
        target: one of `TARGETS`.
        size: training images a class, or all there are of a class with fewer.
        seed: draws images, splits and views.
    """

    choice: SourceChoice
    target: str
    size: int
    seed: int

    @property
    def data(self) -> TargetData:
        """The drawn training images and at most 1,000 test images."""
        pool = draw_pool(self.target, self.seed)
        rows = first_of_each_class(pool.train_labels, self.size)
        groups = pool.train_groups
        return replace(
            pool,
            train_images=pool.train_images[rows],
            train_labels=pool.train_labels[rows],
            train_groups=None if groups is None else groups[rows],
        )

    @property
    def note(self) -> str:
        """Which classes have fewer images than asked for."""
        data = self.data
        counts = np.bincount(data.train_labels, minlength=len(data.class_names))
        fewer = [
            f"{name} {count}"
            for name, count in zip(data.class_names, counts, strict=True)
            if count < self.size
        ]
        return f"all there are of {', '.join(fewer)}" if fewer else ""


def sources() -> dict[str, SourceChoice]:
    """The MobileNets by their names."""
    small = source_choices(None)["mobilenet_025_128"]
    large = SourceChoice("mobilenet_v2_224", None, _mobilenet_v2)
    return {choice.name: choice for choice in (small, large)}


def _mobilenet_v2(output: str) -> FrozenSource:
    return FrozenSource.from_application("MobileNetV2", output=output, max_batch=MAX_BATCH)


@lru_cache(maxsize=2)
def draw_pool(target: str, seed: int) -> TargetData:
    """The largest draw of a seed; the smaller ones are the first of its images of each class.

    Args:
        target: one of `TARGETS`.
        seed: decides the draw.

    Returns:
        A `TargetData` with shuffled training images; test images have their natural class shares.
    """
    data = load_target(target)
    data = data.draw(None, min(MOST_TEST_IMAGES, len(data.test_labels)), seed)
    order = np.random.default_rng(seed).permutation(len(data.train_labels))
    rows = order[first_of_each_class(data.train_labels[order], max(SIZES))]
    groups = data.train_groups
    return replace(
        data,
        train_images=data.train_images[rows],
        train_labels=data.train_labels[rows],
        train_groups=None if groups is None else groups[rows],
    )


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Positions of the first images of every class, in order.

    Args:
        labels: integers `(n,)`.
        count: how many of each class; all of a class with fewer.
    """
    rows = [np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]
    return np.sort(np.concatenate(rows))
