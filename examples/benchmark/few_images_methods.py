"""A few images of each class, what is compared on them, and answers that are asked for once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from sources import MAX_BATCH, SourceChoice, source_choices
from task import GRID, Outcome, Task

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    NewHead,
    OpaqueSource,
    ProgramLayer,
    ReprogrammedModel,
)
from keras_reprogram.baselines import Baseline, fit_linear_head, fit_no_source, fit_scratch
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


# === Images ===


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


# === Answers ===


class Remembered:
    """Asks a source once for each image; the draws of a seed share most of theirs.

    Args:
        source: whose answers are kept.
    """

    def __init__(self, source: OpaqueSource) -> None:
        self.source = source
        self.answers: dict[bytes, np.ndarray] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Scores `(n, S)` of images `(n, H, W, C)`."""
        # Resizing differs in the last bits from one batch size to the next.
        keys = [np.round(image, 1).tobytes() for image in images]
        new = [row for row, key in enumerate(keys) if key not in self.answers]
        if new:
            for row, answer in zip(new, self.source.ask(images[new]), strict=True):
                self.answers[keys[row]] = answer
        return np.stack([self.answers[key] for key in keys])

    def opaque(self) -> OpaqueSource:
        """A black box with a query count of its own: remembered answers count like others."""
        like = self.source
        return OpaqueSource(
            self,
            like.source_shape,
            like.num_labels,
            value_range=like.value_range,
            identity=like.identity,
            labels=like.labels,
            scores=like.scores,
            max_batch=MAX_BATCH,
        )


@cache
def _network(name: str) -> OpaqueSource:
    return sources()[name].opaque()


# One seed of one target at a time: its answers take some fifty megabytes.
@lru_cache(maxsize=1)
def remembered(name: str, target: str, seed: int) -> Remembered:
    """The memory that all sizes and methods of one draw share.

    Args:
        name: of the source.
        target: one of `TARGETS`.
        seed: of the draw.
    """
    return Remembered(_network(name))


@lru_cache(maxsize=1)
def pool_features(name: str, target: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features before the source's last layer of a draw's training and test images.

    Args:
        name: of the source.
        target: one of `TARGETS`.
        seed: of the draw.
    """
    task = Task(sources()[name], draw_pool(target, seed), seed)
    source = task.choice.transparent("features")
    model = ReprogrammedModel(task.plain_program(source), source, NewHead(task.num_classes))
    parts = (task.data.train_images, task.data.test_images)
    train, test = (model.collect_scores(images, verbose=0)[:, 0] for images in parts)
    return train, test


# === Methods ===


def recipe(placement: str, num_views: int) -> Callable[[Few], Outcome]:
    """`fit_opaque` on views that stay as they are, from scores alone.

    Args:
        placement: `"full"` or `"gentle_views"`.
        num_views: queries a training image, and a prediction.
    """

    def method(few: Few) -> Outcome:
        data = few.data
        source = remembered(few.choice.name, few.target, few.seed).opaque()
        program = ProgramLayer(
            data.target_shape,
            source.source_shape,
            source_range=source.value_range,
            target_range=data.target_range,
            placement=placement,
            num_views=num_views,
            grid=GRID,
            masked=False,
            seed=few.seed,
        )
        model = ReprogrammedModel(program, source, DenseMap(len(data.class_names)), seed=few.seed)
        fit = model.fit_opaque(
            data.train_images,
            data.train_labels,
            query_budget=num_views * len(data.train_labels),
            groups=data.train_groups,
            choose_views=False,
            verbose=0,
        )
        queries = source.queries_used
        return Outcome(
            model.predict(data.test_images, batch_size=64, verbose=0),
            fit.kept.validation_accuracy,
            queries_training=queries,
            views=num_views,
            choices=f"useful_views={fit.useful_views}",
            notes=few.note,
        )

    return method


def no_source(few: Few) -> Outcome:
    """The better of logistic regression and RBF-SVM on the pixels, chosen on validation."""
    return _on_pixels(few, fit_no_source)


def scratch(few: Few) -> Outcome:
    """A small network that sees the target images only, mirrored too: these are pictures."""
    data = few.data
    baseline = fit_scratch(
        data.train_images,
        data.train_labels,
        num_classes=len(data.class_names),
        seed=few.seed,
        groups=data.train_groups,
        mirror=True,
    )
    return _outcome(few, baseline, baseline.predict(data.test_images))


def linear_head(few: Few) -> Outcome:
    """White box: logistic regression on the features before the source's last layer."""
    train, test = pool_features(few.choice.name, few.target, few.seed)
    pool = draw_pool(few.target, few.seed)
    rows, data = first_of_each_class(pool.train_labels, few.size), few.data
    head = fit_linear_head(
        train[rows],
        data.train_labels,
        num_classes=len(data.class_names),
        seed=few.seed,
        groups=data.train_groups,
    )
    outcome = _outcome(few, head, head.predict(test))
    return replace(outcome, queries_training=len(rows), views=1)


METHODS: dict[str, Callable[[Few], Outcome]] = {
    "no_source": no_source,
    "scratch": scratch,
    "ours_full": recipe("full", 1),
    "ours_gentle_2": recipe("gentle_views", 2),
    "ours_gentle_4": recipe("gentle_views", 4),
    "ours_gentle_8": recipe("gentle_views", 8),
    "linear_head": linear_head,
}
WITHOUT_SOURCE = ("no_source", "scratch")
# Asked for by name only: does the number of views matter?
ON_REQUEST = ("ours_gentle_2", "ours_gentle_8")
USUAL_METHODS = tuple(name for name in METHODS if name not in ON_REQUEST)


def _on_pixels(few: Few, fit: Callable[..., Baseline]) -> Outcome:
    data = few.data
    baseline = fit(
        data.train_images,
        data.train_labels,
        num_classes=len(data.class_names),
        seed=few.seed,
        groups=data.train_groups,
    )
    return _outcome(few, baseline, baseline.predict(data.test_images))


def _outcome(few: Few, baseline: Baseline, predicted: np.ndarray) -> Outcome:
    return Outcome(
        np.eye(len(few.data.class_names))[predicted],
        baseline.validation_accuracy,
        choices=f"kind={baseline.name}",
        notes=few.note,
    )
