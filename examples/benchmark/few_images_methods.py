"""What is compared on few images: from scores alone, without a source, and as its owner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from few_images_data import Few, draw_pool, first_of_each_class, sources
from remembered_answers import remembered
from task import GRID, Outcome, Task

from keras_reprogram import DenseMap, NewHead, ProgramLayer, ReprogrammedModel
from keras_reprogram.baselines import Baseline, fit_linear_head, fit_no_source, fit_scratch


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
            choices=f"reading={fit.reading}",
            notes=few.note,
        )

    return method


def on_pixels(fit: Callable[..., Baseline]) -> Callable[[Few], Outcome]:
    """A model that sees the target images only.

    Args:
        fit: one of the package's baselines.
    """

    def method(few: Few) -> Outcome:
        data = few.data
        baseline = fit(
            data.train_images,
            data.train_labels,
            num_classes=len(data.class_names),
            seed=few.seed,
            groups=data.train_groups,
        )
        return _outcome(few, baseline, baseline.predict(data.test_images))

    return method


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
    "no_source": on_pixels(fit_no_source),
    # Photographs and lesions have no left and right.
    "scratch": on_pixels(partial(fit_scratch, mirror=True)),
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


def _outcome(few: Few, baseline: Baseline, predicted: np.ndarray) -> Outcome:
    return Outcome(
        np.eye(len(few.data.class_names))[predicted],
        baseline.validation_accuracy,
        choices=f"kind={baseline.name}",
        notes=few.note,
    )
