"""What every result stands beside: no source at all, and the owner's own transfer learning."""

from __future__ import annotations

import numpy as np
from task import Outcome, Task

from keras_reprogram import NewHead, ReprogrammedModel
from keras_reprogram.baselines import fit_linear_head, fit_no_source


def no_source(task: Task) -> Outcome:
    """The better of logistic regression and RBF-SVM on the pixels, chosen on validation."""
    data = task.data
    baseline = fit_no_source(
        data.train_images,
        data.train_labels,
        num_classes=task.num_classes,
        seed=task.seed,
        groups=data.train_groups,
    )
    predicted = baseline.predict(data.test_images)
    return Outcome(
        np.eye(task.num_classes)[predicted],
        baseline.validation_accuracy,
        choices=f"kind={baseline.name}",
    )


def linear_head(task: Task) -> Outcome:
    """White box: logistic regression on the features before the source's last layer."""
    source = task.choice.transparent("features")
    model = ReprogrammedModel(task.plain_program(source), source, NewHead(task.num_classes))
    features = model.collect_scores(task.data.train_images, verbose=0)[:, 0]
    head = fit_linear_head(
        features,
        task.data.train_labels,
        num_classes=task.num_classes,
        seed=task.seed,
        groups=task.data.train_groups,
    )
    queries = model.queries_used
    test = model.collect_scores(task.data.test_images, verbose=0)[:, 0]
    return Outcome(
        np.eye(task.num_classes)[head.predict(test)],
        head.validation_accuracy,
        queries_training=queries,
        views=1,
    )
