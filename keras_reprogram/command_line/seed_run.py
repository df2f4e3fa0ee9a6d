"""Training with one seed: the recipe, its test, and two baselines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from keras_reprogram.arguments import is_image
from keras_reprogram.asking.data import DataChecks, LabelledImages
from keras_reprogram.baselines import (
    fit_linear_head,
    fit_linear_head_findings,
    fit_no_source,
    fit_no_source_findings,
    fit_no_source_texts,
)
from keras_reprogram.command_line.answers import ask, predict, rows_at_once
from keras_reprogram.command_line.console import Progress
from keras_reprogram.command_line.keras_sources import features_of
from keras_reprogram.command_line.options import balanced_accuracy
from keras_reprogram.command_line.train_options import OutputMapKind, TrainOptions, build_model
from keras_reprogram.command_line.validation_rows import learned_and_held, planned_epochs
from keras_reprogram.datasets import TargetData
from keras_reprogram.fitting.weight_copy import WeightCopy, trained_variables
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.opaque.recipe import Recipe, fit_epochs
from keras_reprogram.report import findings_metrics
from keras_reprogram.report.metrics import quadratic_kappa
from keras_reprogram.source import FrozenSource, Source
from keras_reprogram.source.ledger.soft_limit import soft_limit

MAP_ONLY = "map only"
MAP_AND_PROGRAM = "map and program"
WITHIN_BUDGET = "map, views and program within the budget"
NO_SOURCE = "no source"
LINEAR_HEAD = "linear head on features"

Checkpoint = Callable[[ReprogrammedModel], None]


@dataclass
class Outcome:
    """Accuracy and cost of one method with one seed.

    Args:
        accuracy: on the test images.
        num_test: number of test images.
        seconds: wall time of training.
        training_queries: images shown to the source for training, or `None` without a source.
        queries_per_prediction: images shown for one prediction, or `None`.
        note: a remark for the table.
        probabilities: `(n, K)` on the test images, or `None`.
        balanced_accuracy: mean share of each class that is read right, or `None` if not measured.
        figures: further figures by name: mean AUC and F1 of several findings, the kappa of grades.
        model: that was trained, where it is kept.
    """

    accuracy: float
    num_test: int
    seconds: float
    training_queries: int | None = None
    queries_per_prediction: int | None = None
    note: str = ""
    probabilities: np.ndarray | None = field(default=None, repr=False)
    balanced_accuracy: float | None = None
    model: Any = field(default=None, repr=False)
    figures: dict[str, float] = field(default_factory=dict)

    def measure(
        self, predicted: np.ndarray, labels: np.ndarray, *, ordinal: bool = False
    ) -> Outcome:
        """Takes the accuracies of predicted classes `(n,)`, and of grades the kappa."""
        self.accuracy = float(np.mean(predicted == labels))
        self.balanced_accuracy = balanced_accuracy(predicted, labels)
        kappa = quadratic_kappa(labels, predicted) if ordinal else None
        self.figures = {} if kappa is None else {"kappa": kappa}
        return self

    def measure_findings(
        self, probabilities: np.ndarray, target: TargetData, thresholds: np.ndarray
    ) -> Outcome:
        """Takes the figures of several findings, `(n, K)`."""
        names = target.class_names
        found = findings_metrics(target.test_labels, probabilities, names, thresholds)
        self.accuracy = found.accuracy
        figures = {"AUC": found.auc, "F1": found.f1}
        self.figures = {name: value for name, value in figures.items() if value is not None}
        return self

    def take_figures(self, other: Outcome) -> None:
        """Takes what another outcome measured of the same model."""
        self.accuracy, self.probabilities = other.accuracy, other.probabilities
        self.balanced_accuracy, self.figures = other.balanced_accuracy, other.figures


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

    def add(self, method: str, seconds: float, note: str = "") -> Outcome:
        """An outcome with its costs so far, to be measured: testing is not training."""
        model, num_test = self.model, len(self.target.test_labels)
        costs = (model.queries_used, model.queries_per_prediction)
        self.outcomes[method] = Outcome(0.0, num_test, seconds, *costs, note)
        return self.outcomes[method]

    def test(self, outcome: Outcome, progress: Progress) -> None:
        """Measures the model as it is on the test images."""
        outcome.probabilities = predict(self.model, self.target.test_images, progress, "testing")
        output_map = self.model.output_map
        if output_map.multi_label:
            thresholds = keras.ops.convert_to_numpy(output_map.thresholds)
            outcome.measure_findings(outcome.probabilities, self.target, thresholds)
            return
        predicted = outcome.probabilities.argmax(axis=1)
        outcome.measure(predicted, self.target.test_labels, ordinal=output_map.ordinal)


def train_seed(
    source: Source,
    target: TargetData,
    options: TrainOptions,
    seed: int,
    progress: Progress,
    checkpoint: Checkpoint,
) -> SeedRun:
    """Trains by the recipe and tests once; `checkpoint` is called with a model worth keeping."""
    model = model_for(target, source, options, seed)
    model.image_reading = target.image_reading
    model.data_checks.every_class(target.learned().train_labels, target.class_names)
    run = SeedRun(model, target)
    if options.query_budget is not None:
        _train_within_budget(run, options, options.query_budget, progress, checkpoint)
    else:
        _train_in_epochs(run, options, progress, checkpoint)
    return run


def model_for(
    target: TargetData, source: Source, options: TrainOptions, seed: int
) -> ReprogrammedModel:
    """The model that the options describe, for a target."""
    return build_model(
        options,
        source,
        target.target_shape,
        target.class_names,
        seed,
        target.target_range,
        multi_label=target.is_multi_label,
        largest=float(np.abs(target.train_images).max()),
        vocabulary=None if target.texts is None else target.texts.vocabulary,
        num_texts=len(target.train_labels),
    )


def _train_in_epochs(
    run: SeedRun, options: TrainOptions, progress: Progress, checkpoint: Checkpoint
) -> None:
    """The map alone on all images; then epochs, if asked for, and the better of both."""
    model, start = run.model, time.perf_counter()
    epochs = options.resolved_epochs(model.source)
    recipe = recipe_for(model, run.target, options, progress)
    if model.output_map.trains:
        # Nothing is chosen without epochs: what only decides is not asked then.
        recipe.ask(None if epochs else recipe.refit)
        recipe.fit_map()
    checkpoint(model)
    map_only = run.add(MAP_ONLY, time.perf_counter() - start)
    of_map = WeightCopy(trained_variables(model))
    if not epochs:
        run.test(map_only, progress)
        return
    refine(recipe, epochs, options)
    checkpoint(model)
    run.curve = [(stage.queries_used, stage.validation_accuracy) for stage in recipe.stages]
    run.history = recipe.history | {
        "val_loss": [stage.validation_loss for stage in recipe.stages[1:]],
        "val_accuracy": [stage.validation_accuracy for stage in recipe.stages[1:]],
    }
    note = f"epoch {recipe.kept_epoch} of {epochs} kept"
    if not recipe.kept_epoch:
        note = "no epoch beat the map alone on validation"
    outcome = run.add(MAP_AND_PROGRAM, time.perf_counter() - start, note)
    of_best = WeightCopy(trained_variables(model))
    of_map.restore()
    run.test(map_only, progress)
    of_best.restore()
    if of_best == of_map:
        # No epoch was kept: the same answers again would only cost.
        outcome.take_figures(map_only)
    else:
        run.test(outcome, progress)


def recipe_for(
    model: ReprogrammedModel, target: TargetData, options: TrainOptions, progress: Progress
) -> Recipe:
    """The library's recipe on a target's training images."""
    labels, groups = target.train_labels, target.train_groups
    weights = options.weights(labels, target.class_names)
    weight = model.data_checks.weights(labels, target.train_weight, weights)
    train, validation, epochs = np.arange(len(labels)), np.arange(0), options.resolved_epochs
    if epochs(model.source):
        plan = planned_epochs(model, target, epochs(model.source))
        train, validation = plan.train, plan.validation
    return Recipe(
        model,
        LabelledImages(target.train_images, labels, labels, weight, groups),
        train,
        validation,
        refit=None if target.validation_rows is None else learned_and_held(target).learned,
        batch_size=rows_at_once(model),
        bar=progress.bar,
    )


def refine(recipe: Recipe, epochs: int, options: TrainOptions) -> None:
    """Trains the program; the map alone is the first candidate, so it never gets worse."""
    model = recipe.model
    several = model.output_map.multi_label
    model.compile(
        keras.optimizers.Adam(options.resolved_learning_rate(model.source)),
        loss="binary_crossentropy" if several else "sparse_categorical_crossentropy",
        metrics=[keras.metrics.BinaryAccuracy("accuracy") if several else "accuracy"],
    )
    if recipe.answers is None:
        recipe.ask()
    recipe.judge("map")
    recipe.improve(fit_epochs(recipe, epochs, options.batch_size))


def _train_within_budget(
    run: SeedRun,
    options: TrainOptions,
    query_budget: int,
    progress: Progress,
    checkpoint: Checkpoint,
) -> None:
    target, start = run.target, time.perf_counter()
    limit = soft_limit(options.warn_at, query_budget, None)
    with progress.bar("asking the source", query_budget) as update:

        def show(asked: int) -> None:
            update(asked)
            if limit is not None:
                limit.check(lambda: asked)

        learned = target.learned()
        fit = run.model.fit_opaque(
            learned.train_images,
            learned.train_labels,
            query_budget=query_budget,
            validation_data=_validation(target, learned_and_held(target).held),
            sample_weight=learned.train_weight,
            groups=learned.train_groups,
            class_weight=options.weights(target.train_labels, target.class_names),
            progress=show,
            verbose=0,
        )
    checkpoint(run.model)
    run.curve = fit.accuracy_over_queries
    note = f"{fit.kept.stage} kept; {fit.views}"
    run.test(run.add(WITHIN_BUDGET, time.perf_counter() - start, note), progress)


def _validation(target: TargetData, held: np.ndarray) -> tuple[np.ndarray, ...] | None:
    if not len(held):
        return None
    images, labels = target.train_images[held], target.train_labels[held]
    weight = target.train_weight
    return (images, labels) if weight is None else (images, labels, weight[held])


# === Baselines ===


def no_source(
    target: TargetData,
    seed: int,
    progress: Progress,
    weights: dict[int, float] | None = None,
    *,
    ordinal: bool = False,
) -> Outcome:
    """The better of logistic regression and RBF-SVM on the pixels, chosen on validation.

    Of several findings, of logistic regressions on the pixels and on random RBF features.
    """
    what = "pixels" if target.texts is None else "texts"
    progress.note(f"Fitting the no-source baseline on the {what}.")
    start = time.perf_counter()
    if target.texts is not None:
        return _no_source_texts(target, seed, weights, start, ordinal)
    target = _as_pixels(target)
    learned = target.learned()
    weight = _weight(learned, weights)
    if target.is_multi_label:
        several = fit_no_source_findings(
            learned.train_images,
            learned.train_labels,
            seed=seed,
            groups=learned.train_groups,
            sample_weight=weight,
        )
        seconds = time.perf_counter() - start
        outcome = Outcome(0.0, len(target.test_labels), seconds, note=several.name)
        found = several.predict_probabilities(target.test_images)
        return outcome.measure_findings(found, target, several.thresholds)
    baseline = fit_no_source(
        learned.train_images,
        learned.train_labels,
        num_classes=len(target.class_names),
        seed=seed,
        groups=learned.train_groups,
        sample_weight=weight,
    )
    seconds = time.perf_counter() - start
    outcome = Outcome(0.0, len(target.test_labels), seconds, note=baseline.name)
    predicted = baseline.predict(target.test_images)
    return outcome.measure(predicted, target.test_labels, ordinal=ordinal)


def _no_source_texts(
    target: TargetData, seed: int, weights: dict[int, float] | None, start: float, ordinal: bool
) -> Outcome:
    learned: Any = target.learned()
    baseline = fit_no_source_texts(
        learned.texts.train,
        learned.train_labels,
        num_classes=len(target.class_names),
        seed=seed,
        groups=learned.train_groups,
        sample_weight=_weight(learned, weights),
    )
    seconds = time.perf_counter() - start
    outcome = Outcome(0.0, len(target.test_labels), seconds, note=baseline.name)
    predicted = baseline.predict(learned.texts.test)
    return outcome.measure(predicted, target.test_labels, ordinal=ordinal)


def _as_pixels(target: TargetData) -> TargetData:
    """Series as images of one pixel a value, which is all that the baselines on pixels read."""
    if is_image(target.target_shape):
        return target
    train, test = (
        images.reshape(len(images), -1, 1, 1)
        for images in (target.train_images, target.test_images)
    )
    largest = float(max(np.abs(train).max(), np.abs(test).max())) or 1.0
    limits = (-largest, largest)
    return replace(target, train_images=train, test_images=test, target_range=limits)


def _weight(target: TargetData, weights: dict[int, float] | None) -> np.ndarray | None:
    checks = DataChecks(target.target_shape, None, len(target.class_names), target.is_multi_label)
    return checks.weights(target.train_labels, target.train_weight, weights)


def linear_head(
    load: Callable[[], FrozenSource],
    target: TargetData,
    seed: int,
    progress: Progress,
    weights: dict[int, float] | None = None,
    *,
    ordinal: bool = False,
) -> Outcome:
    """Logistic regression on the source's own features: plain transfer learning.

    Its queries are passes through the network, which an opaque source would not show.
    """
    start = time.perf_counter()
    source = features_of(load())
    options = TrainOptions(output_map=OutputMapKind.NEW_HEAD)
    model, learned = model_for(target, source, options, seed), target.learned()
    features = ask(model, learned.train_images, progress, "linear head: features")[:, 0]
    how: dict[str, Any] = {"seed": seed, "groups": learned.train_groups}
    how["sample_weight"] = _weight(learned, weights)
    head: Any
    if target.is_multi_label:
        head = fit_linear_head_findings(features, learned.train_labels, **how)
    else:
        num_classes = len(target.class_names)
        head = fit_linear_head(features, learned.train_labels, num_classes=num_classes, **how)
    seconds, queries = time.perf_counter() - start, model.queries_used
    features = ask(model, target.test_images, progress, "linear head: testing")[:, 0]
    outcome = Outcome(0.0, len(target.test_labels), seconds, queries, 1)
    if target.is_multi_label:
        found = head.predict_probabilities(features)
        return outcome.measure_findings(found, target, head.thresholds)
    return outcome.measure(head.predict(features), target.test_labels, ordinal=ordinal)
