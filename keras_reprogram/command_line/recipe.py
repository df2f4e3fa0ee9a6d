"""How `train` learns: the map exactly, then a program that must prove itself on validation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np

from keras_reprogram.asking.exact_fit import image_weights
from keras_reprogram.baselines import fit_linear_head, fit_no_source
from keras_reprogram.command_line.asking import ask, predict, read, set_trained_state, trained_state
from keras_reprogram.command_line.console import Talk
from keras_reprogram.command_line.keras_sources import features_of
from keras_reprogram.command_line.options import balanced_accuracy
from keras_reprogram.command_line.train_options import OutputMapKind, TrainOptions, build_model
from keras_reprogram.datasets import TargetData
from keras_reprogram.fitting.validation import ValidationScore, split_validation, validation_score
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source import FrozenSource, Source

MAP_ONLY = "map only"
MAP_AND_PROGRAM = "map and program"
WITHIN_BUDGET = "map, views and program within the budget"

Checkpoint = Callable[[ReprogrammedModel], None]


@dataclass
class Outcome:
    """What one method reached with one seed.

    Args:
        accuracy: on the test images.
        num_test: number of test images.
        seconds: wall time of training.
        training_queries: images shown to the source for training, or `None` without a source.
        queries_per_prediction: images shown for one prediction, or `None`.
        note: a remark for the table.
        probabilities: `(n, K)` on the test images, or `None`.
        balanced_accuracy: mean share of each class that is read right, or `None` if not measured.
    """

    accuracy: float
    num_test: int
    seconds: float
    training_queries: int | None = None
    queries_per_prediction: int | None = None
    note: str = ""
    probabilities: np.ndarray | None = field(default=None, repr=False)
    balanced_accuracy: float | None = None

    def take_figures(self, other: Outcome) -> None:
        """Takes what was measured of the same model.

        Args:
            other: its outcome.
        """
        self.accuracy, self.balanced_accuracy = other.accuracy, other.balanced_accuracy
        self.probabilities = other.probabilities


@dataclass
class SeedRun:
    """A trained model and what was seen on the way.

    Args:
        model: trained; the better of the methods on validation.
        target: the images that it was trained and tested on.
        outcomes: method name -> outcome, the last one is the model's.
        curve: `(queries so far, validation accuracy)`, the map alone first.
        history: metric -> values, one an epoch, as Keras's `History.history`.
    """

    model: ReprogrammedModel
    target: TargetData
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)

    @property
    def result(self) -> Outcome:
        """The outcome of `model`."""
        return list(self.outcomes.values())[-1]


def train_seed(
    source: Source,
    target: TargetData,
    options: TrainOptions,
    seed: int,
    talk: Talk,
    checkpoint: Checkpoint,
) -> SeedRun:
    """Fits the map exactly on stored answers, trains the program if asked to, tests once.

    Args:
        source: the source model.
        target: images that were drawn already.
        options: the recipe's settings.
        seed: decides everything that is drawn.
        talk: shows progress.
        checkpoint: called with the model whenever it is worth keeping.

    Returns:
        A `SeedRun`.

    Raises:
        ValueError: where source, target and options do not fit together.
    """
    model = build_model(
        options, source, target.target_shape, target.class_names, seed, target.target_range
    )
    weights = options.weights(target.train_labels, target.class_names)
    if options.query_budget is not None:
        return _train_within_budget(model, target, options, talk, checkpoint)
    start = time.perf_counter()
    answers = None
    if model.output_map.trains:
        answers = ask(model, target.train_images, talk, "asking the source")
        model.fit_output_map(
            scores=answers,
            y=target.train_labels,
            groups=target.train_groups,
            class_weight=weights,
            verbose=0,
        )
    checkpoint(model)
    run = SeedRun(model, target)
    run.outcomes[MAP_ONLY] = _untested(run, time.perf_counter() - start)
    states = [trained_state(model)]
    if options.resolved_epochs(source):
        found = refine(model, target, answers, options, talk)
        run.curve, run.history = found.curve, found.history
        checkpoint(model)
        outcome = _untested(run, time.perf_counter() - start)
        outcome.note = found.note
        run.outcomes[MAP_AND_PROGRAM] = outcome
        states.append(trained_state(model))
    map_only, *others = run.outcomes.values()
    for outcome, state in zip(run.outcomes.values(), states, strict=True):
        set_trained_state(model, state)
        if others and outcome is others[0] and _equal(state, states[0]):
            # No epoch was kept: the same answers again would only cost.
            outcome.take_figures(map_only)
        else:
            _test(model, target, outcome, talk)
    return run


def _equal(state: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(map(np.array_equal, state, other))


def _train_within_budget(
    model: ReprogrammedModel,
    target: TargetData,
    options: TrainOptions,
    talk: Talk,
    checkpoint: Checkpoint,
) -> SeedRun:
    run, start = SeedRun(model, target), time.perf_counter()
    query_budget = options.query_budget or 0
    with talk.bar("asking the source", query_budget) as advance:
        shown = 0

        def progress(used: int) -> None:
            nonlocal shown
            advance(used - shown)
            shown = used

        fit = model.fit_opaque(
            target.train_images,
            target.train_labels,
            query_budget=query_budget,
            groups=target.train_groups,
            class_weight=options.weights(target.train_labels, target.class_names),
            progress=progress,
            verbose=0,
        )
    checkpoint(model)
    run.curve = fit.accuracy_over_queries
    outcome = _untested(run, time.perf_counter() - start)
    outcome.note = f"{fit.kept.stage} kept; {fit.views}"
    run.outcomes[WITHIN_BUDGET] = outcome
    _test(model, target, outcome, talk)
    return run


def _untested(run: SeedRun, seconds: float) -> Outcome:
    """Costs as they are now; testing is not training."""
    model = run.model
    num_test = len(run.target.test_labels)
    return Outcome(0.0, num_test, seconds, model.queries_used, model.queries_per_prediction)


def _test(model: ReprogrammedModel, target: TargetData, outcome: Outcome, talk: Talk) -> None:
    outcome.probabilities = predict(model, target.test_images, talk, "testing")
    predicted = outcome.probabilities.argmax(axis=1)
    outcome.accuracy = float((predicted == target.test_labels).mean())
    outcome.balanced_accuracy = balanced_accuracy(predicted, target.test_labels)


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
    if model.output_map.trains:
        labels = target.train_labels[rows]
        groups = None if target.train_groups is None else target.train_groups[rows]
        model.fit_output_map(
            scores=answers[rows], y=labels, groups=groups, class_weight=weights, verbose=0
        )


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
