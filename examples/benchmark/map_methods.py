"""Methods that ask each image once a view and fit the output map; no program is trained."""

from __future__ import annotations

import numpy as np
from task import Method, Outcome, Task, accuracy

from keras_reprogram import DenseMap, MultiLabelMap, ReprogrammedModel


def map_frequency(task: Task) -> Outcome:
    """The papers' map on the plain image: m source labels a class, by how often they come first."""
    source = task.choice.opaque()
    labels_per_class = task.labels_per_class(source.num_labels)
    output_map = MultiLabelMap(task.num_classes, labels_per_class=labels_per_class)
    model = _joined(task, source, output_map, 1)
    scores = model.collect_scores(task.data.train_images, verbose=0)
    labels, (train, held_out) = task.data.train_labels, task.parts
    model.fit_output_map(y=labels[train], scores=scores[train], verbose=0)
    validation = accuracy(np.asarray(model.output_map(scores[held_out])), labels[held_out])
    model.fit_output_map(y=labels, scores=scores, verbose=0)
    queries = source.queries_used
    return Outcome(
        task.predict(model),
        validation,
        queries_training=queries,
        views=1,
        choices=f"labels_per_class={labels_per_class}",
    )


def plain_views(num_views: int) -> Method:
    """Logistic regression on the log-scores of views drawn at random; one view is the plain image.

    Args:
        num_views: source images that a target image becomes.
    """

    def method(task: Task) -> Outcome:
        source = task.choice.opaque()
        model = _joined(task, source, DenseMap(task.num_classes), num_views)
        data = task.data
        fit = model.fit_output_map(
            data.train_images, data.train_labels, groups=data.train_groups, verbose=0
        )
        queries = source.queries_used
        return Outcome(
            task.predict(model),
            fit.validation_accuracy,
            queries_training=queries,
            views=num_views,
            choices=f"C={fit.regularization:g};spread_power={fit.spread_power:g}",
        )

    return method


def _joined(task: Task, source, output_map, num_views: int) -> ReprogrammedModel:
    program = task.plain_program(source, num_views, style="bold")
    return ReprogrammedModel(program, source, output_map, seed=task.seed)
