"""What every result is printed beside: no source at all, and a linear head on its features."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from keras_reprogram.baselines import fit_linear_head, fit_no_source
from keras_reprogram.command_line.asking import ask
from keras_reprogram.command_line.class_weight import balanced_accuracy
from keras_reprogram.command_line.console import Talk
from keras_reprogram.command_line.keras_sources import features_of
from keras_reprogram.command_line.recipe import Outcome
from keras_reprogram.command_line.train_options import OutputMapKind, TrainOptions, build_model
from keras_reprogram.datasets import TargetData
from keras_reprogram.exact_fit import image_weights
from keras_reprogram.source import FrozenSource

NO_SOURCE = "no source"
LINEAR_HEAD = "linear head on features"


def no_source(
    target: TargetData, seed: int, talk: Talk, weights: dict[int, float] | None = None
) -> Outcome:
    """The better of logistic regression and RBF-SVM on the pixels, chosen on validation.

    Args:
        target: the images that were drawn.
        seed: draws the validation part.
        talk: says what is going on.
        weights: for each class, by position, or `None`.

    Returns:
        An `Outcome` without queries.
    """
    talk.note("Fitting the no-source baseline on the pixels.")
    start = time.perf_counter()
    baseline = fit_no_source(
        target.train_images,
        target.train_labels,
        num_classes=len(target.class_names),
        seed=seed,
        groups=target.train_groups,
        sample_weight=image_weights(target.train_labels, None, weights),
    )
    seconds = time.perf_counter() - start
    outcome = Outcome(0.0, len(target.test_labels), seconds, note=baseline.name)
    return _measured(outcome, baseline.predict(target.test_images), target)


def linear_head(
    load: Callable[[], FrozenSource],
    target: TargetData,
    seed: int,
    talk: Talk,
    weights: dict[int, float] | None = None,
) -> Outcome:
    """Logistic regression on the source's own features: plain transfer learning.

    Args:
        load: gives the source as a Keras model.
        target: the images that were drawn.
        seed: draws the validation part.
        talk: shows progress.
        weights: for each class, by position, or `None`.

    Returns:
        An `Outcome`; its queries are passes through the network, which an opaque source would
        not show.
    """
    start = time.perf_counter()
    source = features_of(load())
    options = TrainOptions(output_map=OutputMapKind.NEW_HEAD)
    model = build_model(
        options, source, target.target_shape, target.class_names, seed, target.target_range
    )
    head = fit_linear_head(
        ask(model, target.train_images, talk, "linear head: features")[:, 0],
        target.train_labels,
        num_classes=len(target.class_names),
        seed=seed,
        groups=target.train_groups,
        sample_weight=image_weights(target.train_labels, None, weights),
    )
    seconds, queries = time.perf_counter() - start, model.queries_used
    features: np.ndarray = ask(model, target.test_images, talk, "linear head: testing")[:, 0]
    outcome = Outcome(0.0, len(target.test_labels), seconds, queries, 1)
    return _measured(outcome, head.predict(features), target)


def _measured(outcome: Outcome, predicted: np.ndarray, target: TargetData) -> Outcome:
    outcome.accuracy = float(np.mean(predicted == target.test_labels))
    outcome.balanced_accuracy = balanced_accuracy(predicted, target.test_labels)
    return outcome
