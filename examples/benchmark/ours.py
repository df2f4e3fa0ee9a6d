"""The recipe that needs no tuning, at 1, 8 and 32 queries a training image."""

from __future__ import annotations

import numpy as np
from task import Method, Outcome, Task

from keras_reprogram import DenseMap, OpaqueFit, ReprogrammedModel


def at_queries(num_queries: int, num_views: int | None = None) -> Method:
    """The recipe at a number of queries a training image.

    Args:
        num_queries: for a training image.
        num_views: queries a prediction; `None` for as many. With fewer the rest of the budget
            chooses better views and trains the program.
    """
    num_views = num_views or num_queries

    def method(task: Task) -> Outcome:
        source = task.choice.opaque()
        program = task.plain_program(source, num_views)
        model = ReprogrammedModel(program, source, DenseMap(task.num_classes), seed=task.seed)
        data = task.data
        fit = ours(
            model,
            data.train_images,
            data.train_labels,
            num_queries * task.num_train,
            data.train_groups,
        )
        queries = source.queries_used
        return Outcome(
            task.predict(model),
            fit.kept.validation_accuracy,
            queries_training=queries,
            views=model.queries_per_prediction,
            choices=f"kept={fit.kept.stage};reading={fit.reading};views={fit.views}{_gain(fit)}",
        )

    return method


def ours(
    model: ReprogrammedModel,
    x: np.ndarray,
    y: np.ndarray,
    budget: int,
    groups: np.ndarray | None = None,
) -> OpaqueFit:
    """Trains a model on an opaque source within a budget.

    Args:
        model: with a `DenseMap`, untrained.
        x: images `(n, h, w, c)`.
        y: integer labels `(n,)`.
        budget: most image queries, validation included.
        groups: `(n,)` or `None`; images of one group are held out together.

    Returns:
        What was asked, tried and kept.
    """
    return model.fit_opaque(x, y, query_budget=budget, groups=groups, verbose=0)


def _gain(fit: OpaqueFit) -> str:
    """What estimated steps added on validation, for 1,000 queries; nothing where none was kept."""
    before, kept = fit.stages[0], fit.kept
    if kept is before:
        return ""
    spent = kept.queries_used - before.queries_used
    gain = 1000 * (kept.validation_accuracy - before.validation_accuracy) / spent
    return f";validation gain per 1,000 queries={gain:.4f}"
