"""Training the program: steps, an exact fit of the map after each epoch, the best one kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_reprogram.command_line.asking import ask, read, set_trained_state, trained_state
from keras_reprogram.command_line.console import Talk
from keras_reprogram.command_line.train_options import TrainOptions
from keras_reprogram.datasets import TargetData
from keras_reprogram.exact_fit import image_weights
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.training.validation_score import ValidationScore, validation_score
from keras_reprogram.training.validation_split import split_validation

_VALIDATION_SHARE = 0.2


@dataclass
class Refinement:
    """What the epochs showed.

    Args:
        curve: `(queries so far, validation accuracy)`, the map alone first.
        history: metric -> values, one an epoch, as Keras's `History.history`.
        best_epoch: the epoch that was kept, 0 for the map alone.
    """

    curve: list[tuple[int, float]] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = 0

    @property
    def note(self) -> str:
        """What was kept, for the table."""
        if self.best_epoch:
            return f"epoch {self.best_epoch} of {len(self.curve) - 1} kept"
        return "no epoch beat the map alone on validation"


def refine(
    model: ReprogrammedModel,
    target: TargetData,
    answers: np.ndarray | None,
    options: TrainOptions,
    talk: Talk,
) -> Refinement:
    """Trains the program; the map alone is the first candidate, so it never gets worse.

    "Worse" is measured on a validation part of the training images, classes counted by their
    weights: an epoch is kept if its cross-entropy is lower than that of the best before it, and no
    more is read wrong. The winner's map is fitted on all images in the end, from answers that are
    there.

    Args:
        model: whose map is fitted.
        target: training images and labels.
        answers: the source's answers to the training images, or `None` if none were asked for.
        options: the recipe's settings.
        talk: shows progress.

    Returns:
        A `Refinement`.
    """
    images, labels = target.train_images, target.train_labels
    parts = hold_out(model, target)
    model.compile(
        keras.optimizers.Adam(options.resolved_learning_rate(model.source)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    found = Refinement()
    if answers is None:
        answers = ask(model, images, talk, "asking the source")
    weights = options.weights(labels, target.class_names)
    best_score = _validate(model, found, target, answers, parts, weights)
    best = trained_state(model), answers
    epochs = options.resolved_epochs(model.source)
    for epoch in range(1, epochs + 1):
        name = f"epoch {epoch}/{epochs}"
        learned = images[parts[0]], labels[parts[0]], weights
        _one_epoch(model, found, *learned, options, epoch, name, talk)
        answers = ask(model, images, talk, f"{name}: asking for the map")
        score = _validate(model, found, target, answers, parts, weights)
        found.history.setdefault("val_loss", []).append(score.loss)
        found.history.setdefault("val_accuracy", []).append(score.accuracy)
        if score.beats(best_score):
            best_score, found.best_epoch = score, epoch
            best = trained_state(model), answers
    set_trained_state(model, best[0])
    _fit_map(model, target, best[1], np.arange(len(labels)), weights)
    return found


def hold_out(model: ReprogrammedModel, target: TargetData) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the images to learn from and of those to validate on.

    Args:
        model: whose seed draws them.
        target: training images, labels and groups.
    """
    images, labels = target.train_images, target.train_labels
    return split_validation(images, labels, _VALIDATION_SHARE, model.seed, target.train_groups)


def _one_epoch(
    model: ReprogrammedModel,
    found: Refinement,
    images: np.ndarray,
    labels: np.ndarray,
    weights: dict[int, float] | None,
    options: TrainOptions,
    epoch: int,
    name: str,
    talk: Talk,
) -> None:
    # The map stands still under the steps: it is fitted exactly after them.
    model.output_map.trainable = False
    steps = -(-len(images) // options.batch_size)
    with talk.bar(f"{name}: training the program", steps) as advance:
        shown = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: advance(1))
        logs = model.fit(
            images,
            labels,
            batch_size=options.batch_size,
            epochs=epoch,
            initial_epoch=epoch - 1,
            callbacks=[shown],
            class_weight=_of_every_class(weights, model.output_map.num_classes),
            verbose=0,
        ).history
    model.output_map.trainable = True
    for metric in ("loss", "accuracy"):
        found.history.setdefault(metric, []).append(float(logs[metric][-1]))


def _validate(
    model: ReprogrammedModel,
    found: Refinement,
    target: TargetData,
    answers: np.ndarray,
    parts: tuple[np.ndarray, np.ndarray],
    weights: dict[int, float] | None,
) -> ValidationScore:
    """Fits the map on the training part's answers and reads the held-out ones with it."""
    train, held_out = parts
    _fit_map(model, target, answers, train, weights)
    labels = target.train_labels[held_out]
    score = validation_score(
        read(model, answers[held_out]), labels, image_weights(labels, None, weights)
    )
    found.curve.append((model.queries_used, score.accuracy))
    return score


def _of_every_class(weights: dict[int, float] | None, num_classes: int) -> dict[int, float] | None:
    """What Keras takes beside a data set: a mapping that names every class."""
    if weights is None:
        return None
    return {label: weights.get(label, 1.0) for label in range(num_classes)}


def _fit_map(
    model: ReprogrammedModel,
    target: TargetData,
    answers: np.ndarray,
    rows: np.ndarray,
    weights: dict[int, float] | None,
) -> None:
    if map_is_fitted(model.output_map):
        labels = target.train_labels[rows]
        groups = None if target.train_groups is None else target.train_groups[rows]
        model.fit_output_map(
            scores=answers[rows], y=labels, groups=groups, class_weight=weights, verbose=0
        )


def map_is_fitted(output_map: Any) -> bool:
    """Whether a map learns from answers; a random assignment does not.

    Args:
        output_map: an `OutputMap`.
    """
    return bool(getattr(output_map, "trains", True))
