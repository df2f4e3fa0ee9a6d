"""How `train` learns: the map exactly, then a program that must prove itself on validation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from keras_reprogram.command_line.asking import ask, predict, set_trained_state, trained_state
from keras_reprogram.command_line.class_weight import balanced_accuracy
from keras_reprogram.command_line.console import Talk
from keras_reprogram.command_line.refinement import map_is_fitted, refine
from keras_reprogram.command_line.train_options import TrainOptions, build_model
from keras_reprogram.datasets import TargetData
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source import Source

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
    if map_is_fitted(model.output_map):
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
