"""OpaquePlan: which images `fit_opaque` will ask and how often, computed in advance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.arguments import one_of
from keras_reprogram.asking.answer_store import MOST_MEMORY, is_cacheable
from keras_reprogram.asking.data import split_counts
from keras_reprogram.asking.exact_fit import check_groups
from keras_reprogram.fitting.validation import draw_stratified, split_validation, strata
from keras_reprogram.fitting.weight_copy import random_states
from keras_reprogram.opaque.pilot import pilot_rows, plan_pilot
from keras_reprogram.opaque.query_estimate import RECIPES, QueryEstimate
from keras_reprogram.opaque.step_check import check_queries
from keras_reprogram.opaque.view_choice import check_placement, sees_untouched
from keras_reprogram.program.placement import Placement

# Images of one estimated step.
STEP_IMAGES = 32
# Fewer estimated steps than this are not run on photographs and sources of many labels. The number
# is a judgement: only runs of six steps were looked at, which ended above the map's loss.
FEWEST_STEPS = 100
_NO_BETTER_VIEW = "a source of many labels is taken to see colour pictures best untouched"


@dataclass(frozen=True)
class OpaquePlan:
    """The queries of a recipe. `estimate_queries` prints it, and `fit_opaque` executes it.

    Args:
        train: positions in `x` that are learned from.
        validation: positions that decide: in `validation_data` if it is given, else in `x`.
        pilot: positions among the training images that are shown under a pool of views, none to
            leave the views alone.
        pool_views: views of that pool, the program's own included.
        chooses_views: whether views may be chosen, be there room for a pilot or not.
        num_views: queries for one prediction.
        queries_a_step: for one training image in one estimated step, 0 where none are taken.
        check: queries of the check before the first step.
        epochs: of steps that the budget pays for. Validation may end them earlier.
        given_back: why a part of the budget is not planned, in words, or nothing.
        asks_all: whether all images are asked after each epoch, as those of Keras's `fit` keep no
            answers for the next map.
    """

    train: np.ndarray = field(repr=False)
    validation: np.ndarray = field(repr=False)
    pilot: np.ndarray = field(default_factory=lambda: np.arange(0), repr=False)
    pool_views: int = 0
    chooses_views: bool = False
    num_views: int = 1
    queries_a_step: int = 0
    check: int = 0
    epochs: int = 0
    given_back: str = ""
    asks_all: bool = False

    @property
    def pilot_queries(self) -> int:
        """To choose views."""
        return len(self.pilot) * self.pool_views

    @property
    def base_queries(self) -> int:
        """For the answers that the map alone is fitted on and judged by."""
        return (len(self.train) + len(self.validation)) * self.num_views

    @property
    def epoch_queries(self) -> int:
        """For one epoch of steps and its validation."""
        return len(self.train) * self.queries_a_step + len(self.validation) * self.num_views

    def estimate(
        self,
        price_per_thousand: float | None = None,
        queries_per_second: float | None = None,
    ) -> QueryEstimate:
        """The plan as a `QueryEstimate`."""
        check = self.check if self.epochs else 0
        held_out = len(self.validation) * self.num_views
        # Where all are asked for the map, those that are held out cost nothing more.
        judged = self.epochs * self.base_queries if self.asks_all else (1 + self.epochs) * held_out
        return QueryEstimate(
            output_map=self.base_queries - (0 if self.asks_all else held_out),
            views=self.pilot_queries,
            estimates=self.epochs * len(self.train) * self.queries_a_step + check,
            validation=judged,
            per_prediction=self.num_views,
            price_per_thousand=price_per_thousand,
            queries_per_second=queries_per_second,
        )


def payable_rows(
    train_labels: np.ndarray,
    validation_labels: np.ndarray,
    payable: int,
    num_classes: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The largest stratified share of both parts that a budget pays for."""
    total = len(train_labels) + len(validation_labels)
    if payable >= total:
        return np.arange(len(train_labels)), np.arange(len(validation_labels))
    held_out = max(num_classes, round(payable * len(validation_labels) / total))
    held_out = min(held_out, payable - min(len(train_labels), 3 * num_classes))
    held_out = min(held_out, len(validation_labels))
    learned = min(payable - held_out, len(train_labels))
    return (
        draw_stratified(train_labels, learned, seed),
        draw_stratified(validation_labels, held_out, seed),
    )


def plan_opaque(
    model: Any,
    labels: np.ndarray,
    *,
    groups: np.ndarray | None,
    weight: np.ndarray | None,
    validation_labels: np.ndarray | None,
    validation_split: float,
    query_budget: int,
    choose_views: bool | None,
) -> OpaquePlan:
    """Plans the queries of `fit_opaque`."""
    # Of several findings, draws and splits are balanced by the rarest one of each image.
    several, labels = labels.ndim == 2, strata(labels)
    views = model.queries_per_prediction
    classes = len(np.unique(labels)) if several else model.output_map.num_classes
    if choose_views is None:
        choose_views = _fills_the_canvas(model.program)
    if choose_views:
        check_placement(model)
    train = np.arange(len(labels))
    if validation_labels is None:
        train, validation = _split(labels, validation_split, groups, model.seed)
        validation_labels = labels[validation]
    else:
        validation_labels = strata(validation_labels)
        validation = np.arange(len(validation_labels))
    _check_budget(len(train) + len(validation), query_budget, classes, views)
    rows = payable_rows(
        labels[train], validation_labels, query_budget // views, classes, model.seed
    )
    train, validation = train[rows[0]], validation[rows[1]]
    spare = query_budget - (len(train) + len(validation)) * views
    pilot, pool = np.arange(0), 0
    no_better = views == 1 and sees_untouched(model)
    if choose_views and not no_better:
        present = len(np.unique(labels[train]))
        size, pool = plan_pilot(spare, len(train), views, present)
    if pool:
        groups, weight = (None if p is None else p[train] for p in (groups, weight))
        pilot = pilot_rows(labels[train], groups, weight, size, model.seed)
    plan = OpaquePlan(train, validation, pilot, pool, choose_views, views)
    if choose_views and no_better and spare:
        plan = replace(plan, given_back=_NO_BETTER_VIEW)
    return _with_steps(model, plan, spare)


def plan_epochs(
    model: Any,
    labels: np.ndarray,
    epochs: int,
    *,
    groups: np.ndarray | None = None,
    validation_split: float = 0.2,
) -> OpaquePlan:
    """Plans the queries of a recipe with epochs of Keras's `fit`, see `fit_epochs`."""
    train, validation = _split(strata(labels), validation_split, groups, model.seed)
    return OpaquePlan(
        train,
        validation,
        num_views=model.queries_per_prediction,
        queries_a_step=_queries_a_step(model),
        check=check_queries(model, len(train)),
        epochs=epochs,
        asks_all=True,
    )


def _with_steps(model: Any, plan: OpaquePlan, spare: int) -> OpaquePlan:
    """Adds the epochs of steps that the rest of the budget pays for."""
    if not model.steps.estimates:
        return plan
    if model.gradient_estimator.draws:
        # Answers to what was drawn are not those that a map will read.
        why = f"steps of {type(model.gradient_estimator).__name__} are those of `fit`"
        return replace(plan, given_back="; ".join(filter(None, (plan.given_back, why))))
    check = check_queries(model, len(plan.train))
    plan = replace(plan, queries_a_step=_queries_a_step(model), check=check)
    left = max(0, spare - plan.pilot_queries - plan.check)
    epochs = left // plan.epoch_queries
    steps = epochs * math.ceil(len(plan.train) / STEP_IMAGES)
    if 0 < steps < FEWEST_STEPS and sees_untouched(model):
        why = f"{steps} estimated steps are too few to pay, of fewer than {FEWEST_STEPS}"
        return replace(plan, given_back="; ".join(filter(None, (plan.given_back, why))))
    return replace(plan, epochs=epochs)


def _queries_a_step(model: Any) -> int:
    """For one training image: its clean answers, and those that an estimate differences."""
    extra = model.gradient_estimator.queries_per_image if model.steps.estimates else 0
    return model.queries_per_prediction * (1 + extra)


def _split(
    labels: np.ndarray, validation_split: float, groups: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    train, validation = split_validation(labels, labels, validation_split, seed, groups)
    remaining = np.unique(labels[train])
    if len(remaining) < 2:
        raise ValueError(
            "At least two classes must remain for training after whole groups are held out. "
            f"Received: `groups` that leave class {remaining.tolist()} only. Pass "
            "`validation_data` of your own, or more groups."
        )
    return train, validation


def _check_budget(num_images: int, query_budget: int, classes: int, views: int) -> None:
    if query_budget // views < min(num_images, 4 * classes):
        raise ValueError(
            f"`query_budget` must pay for four images of each of {classes} classes under "
            f"{views} views, {4 * classes * views} queries. "
            f"Received: query_budget={query_budget}. Raise it, or use fewer views."
        )


def _fills_the_canvas(program: Any) -> bool:
    if not isinstance(program.placement, Placement):
        return False
    first = program.placement.views[0]
    return (first.height, first.width) == tuple(program.source_shape[:2])


def estimate_queries(
    model: Any,
    num_images: int,
    *,
    recipe: str = "fit_output_map",
    num_validation: int | None = None,
    validation_split: float | None = None,
    y: Any = None,
    groups: Any = None,
    epochs: int = 1,
    query_budget: int | None = None,
    choose_views: bool | None = None,
    cache_features: str | Path | None = "memory",
    price_per_thousand: float | None = None,
    queries_per_second: float | None = None,
) -> QueryEstimate:
    """Estimates the queries of a training, without asking any.

    Args:
        model: a `ReprogrammedModel`, `self` of its method.
        num_images: images `x`.
        recipe: `"fit_output_map"`, `"fit"` or `"fit_opaque"`.
        num_validation: images of `validation_data`, or `None` without.
        validation_split: as the recipe takes it; `None` for what it is there: 0 in `fit`, 0.2
            in `fit_opaque`.
        y: labels of `x`, for `groups` or classes of few images; `None` for as many images of
            each class, and as many without a finding.
        groups: as `fit_opaque` takes them; they decide how many images are held out.
        epochs: of `fit`.
        query_budget: of `fit_opaque`, which asks exactly what is said here, but for steps: they
            end after two epochs without a better validation loss. Only repetitions after
            failures are added, which a ledger's budget bounds.
        choose_views: as `fit_opaque` takes it.
        cache_features: as `fit` takes it. Where its answers stay the same, the source is asked
            once for all epochs; not at all for answers that an earlier `fit` kept.
        price_per_thousand: of 1,000 queries.
        queries_per_second: that the source allows.

    Returns:
        A `QueryEstimate`.

    Raises:
        ValueError: for an unknown recipe, `fit_opaque` without a budget, and for what the
            recipe itself would refuse.

    Example:
    ```python
    from keras_reprogram import (
        DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path,
    )

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255),
                           placement="views", num_views=4)
    model = ReprogrammedModel(program, source, DenseMap(num_classes=10))
    estimate = model.estimate_queries(1000, price_per_thousand=1.5, queries_per_second=10)
    assert estimate.total == 4000
    print(estimate.to_markdown())
    ```
    """
    one_of("recipe", recipe, RECIPES)
    if recipe == "fit_opaque":
        if query_budget is None:
            raise ValueError(
                "`fit_opaque` needs a budget. Received: query_budget=None. Pass the "
                "`query_budget` of the planned `fit_opaque`."
            )
        held_out = None if num_validation is None else _labels_like(model, num_validation)
        found = plan_opaque(
            model,
            _labels_like(model, num_images, y),
            groups=check_groups(groups, num_images),
            weight=None,
            validation_labels=held_out,
            validation_split=0.2 if validation_split is None else validation_split,
            query_budget=int(query_budget),
            choose_views=choose_views,
        ).estimate()
    elif recipe == "fit":
        found = _of_fit(model, num_images, num_validation, validation_split, epochs, cache_features)
    else:
        found = QueryEstimate(num_images * model.queries_per_prediction)
    return replace(
        found,
        per_prediction=model.queries_per_prediction,
        price_per_thousand=price_per_thousand,
        queries_per_second=queries_per_second,
    )


def _of_fit(
    model: Any,
    num_images: int,
    num_validation: int | None,
    validation_split: float | None,
    epochs: int,
    cache_features: Any,
) -> QueryEstimate:
    # The step is checked before images are held out.
    check = check_queries(model, num_images)
    if validation_split and num_validation is None:
        num_images, num_validation = split_counts(num_images, validation_split)
    queries, held_out = (
        count * model.queries_per_prediction for count in (num_images, num_validation or 0)
    )
    passes = partial(_passes, model, epochs, cache_features)
    return QueryEstimate(
        estimates=passes(queries) * num_images * _queries_a_step(model) + check,
        validation=passes(held_out) * held_out,
    )


def _labels_like(model: Any, count: int, y: Any = None) -> np.ndarray:
    """Labels; without `y` as many of each class: only their number counts then."""
    if y is not None:
        return model.data_checks.labels(y, count)
    classes = model.output_map.num_classes
    if model.data_checks.multi_label:
        # A finding each, and as many images without one.
        return np.eye(classes + 1, classes, dtype=int)[np.arange(count) % (classes + 1)]
    return np.arange(count) % classes


def _passes(model: Any, epochs: int, cache_features: Any, queries: int) -> int:
    """How often `fit` asks for each image: once if its answers can be cached."""
    images = queries // model.queries_per_prediction
    size = 4 * images * math.prod(model.asker.answer_shape)
    fits = cache_features != "memory" or size <= MOST_MEMORY
    moves = (
        model.source.answers_at_random or model.asker.has_strategy or random_states(model.program)
    )
    stays = is_cacheable(model.program, model.trainable) and not moves
    keeps = cache_features is not None and fits and stays
    return min(epochs, 1) if keeps else epochs
