"""fit_opaque: checks data and budget, plans, then chooses views and runs the recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from scipy.stats import norm

from keras_reprogram.asking.asker import QueryBar
from keras_reprogram.asking.data import LabelledImages, joined
from keras_reprogram.asking.exact_fit import check_groups
from keras_reprogram.asking.label_forms import check_findings_loss, labels_for
from keras_reprogram.asking.strategy import check_one_replica
from keras_reprogram.fitting.fit_device import check_fit_device
from keras_reprogram.fitting.validation import paired_gain
from keras_reprogram.fitting.view_selection import READINGS
from keras_reprogram.fitting.weight_copy import WeightCopy
from keras_reprogram.opaque.plan import OpaquePlan, plan_opaque
from keras_reprogram.opaque.recipe import EstimatedSteps, Recipe
from keras_reprogram.opaque.result import OpaqueFit
from keras_reprogram.opaque.step_check import warn_if_below_quantisation
from keras_reprogram.opaque.view_choice import draw_pool, pool_answers, view_pool
from keras_reprogram.program.placement import Placement

# Epochs in a row without a better validation loss after which steps are given up.
_PATIENCE = 2


def fit_opaque(
    model: Any,
    x: Any,
    y: Any,
    *,
    query_budget: int,
    validation_data: Any = None,
    validation_split: float = 0.2,
    sample_weight: Any = None,
    class_weight: dict[int, float] | None = None,
    groups: np.ndarray | None = None,
    choose_views: bool | None = None,
    batch_size: int = 64,
    progress: Callable[[int], None] | None = None,
    verbose: Any = "auto",
) -> OpaqueFit:
    """Learns from queries alone: exact map, then views, then estimated steps while they pay.

    1. If the budget has room, a pilot looks for better views (`select_views`). They are taken if
       their leave-one-out errors are lower by more than the best of such a pool is by chance.
    2. Every image is asked once under every view, and the map is fitted exactly. It reads the
       first view alone, unless all views or their mean are better by more than the standard error
       of the difference: of up to 1,000 images that is judged on all, each left out of a fit once,
       which asks nothing; of more, or with `validation_data`, on the held-out images.
    3. What is left of the budget goes into epochs of estimated steps for the program. The
       steps' own clean answers refit the map, so that nothing is asked twice. An epoch is kept if
       it lowers the validation loss by more than the standard error of the difference; two epochs
       that are not kept end it.

    Queries that are not expected to pay are not asked, and `OpaqueFit.given_back` says why: a
    source of many labels is taken to see colour pictures best untouched, so that a program of one
    view gets no pilot, and fewer than 100 estimated steps are not run there.

    All of it is reckoned before the first query, as `estimate_queries` says it.
    The budget is never exceeded but by repetitions after a service's failures, which a ledger's
    own budget bounds; validation counts. If it does not pay for all images, a
    stratified part of them is used. What is kept is never worse on validation than the map
    alone. In the end the map is fitted on training and held-out images together, unless
    `validation_data` was given. A model that was not compiled is compiled with Adam and
    cross-entropy if it comes to steps.

    Args:
        model: a `ReprogrammedModel`, `self` of its method.
        x: images `(n, h, w, c)`.
        y: integer or one-hot labels. Of rows of probabilities the most probable class counts,
            and a warning says so. For a map of several findings rows `(n, K)` of 0 and 1: then
            accuracies are shares of pairs of an image and a finding that are read right, and
            losses their mean binary cross-entropy.
        query_budget: image queries that may be asked: `n * num_views` for views as they are,
            more to choose views and to train the program.
        validation_data: `(x, y)` of your own; `None` holds out a part of `x`.
        validation_split: that part, in (0, 1).
        sample_weight: `(n,)`. `validation_data` takes its own, `(x, y, sample_weight)`.
        class_weight: weight for each class, by index; of validation images too. Everything that
            is chosen is chosen by weighted validation figures. Of several findings what an image
            counts that has the finding; in estimated steps an image counts the mean of its
            findings.
        groups: `(n,)`; images with one value (a patient's, a track's) stay on one side of the
            split.
        choose_views: `False` keeps the program's views; `None` chooses others where view 0
            covers the whole canvas (`placement="views"` or `"full"`), not where the image was
            given a place with a frame around it.
        batch_size: images at once.
        progress: called with the number of queries asked so far, instead of the bar.
        verbose: 0 for silence.

    Returns:
        An `OpaqueFit`.

    Raises:
        ValueError: for data that do not fit, or a budget that does not pay for four images of
            every class.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import (
        DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path,
    )

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255),
                           placement="views", num_views=2)
    model = ReprogrammedModel(program, source, DenseMap(num_classes=3))
    x = np.random.default_rng(0).uniform(0, 255, (60, 8, 8, 1))
    y = np.arange(60) % 3
    fit = model.fit_opaque(x, y, query_budget=200, verbose=0)
    assert fit.queries_used <= 200
    print(fit)
    ```
    """
    check_one_replica(
        model.distribute_strategy,
        "`fit_opaque`",
        "Run it without the strategy; estimated steps on several replicas are those of `fit`.",
    )
    check_fit_device()
    everything = _labelled(model, x, y, sample_weight, class_weight)
    model.data_checks.every_class(everything.labels, model.class_names)
    everything.groups = check_groups(groups, len(everything))
    held_out = everything
    if validation_data is not None:
        held_x, held_y, weight = keras.utils.unpack_x_y_sample_weight(validation_data)
        held_out = _labelled(model, held_x, held_y, weight, class_weight)
        if everything.groups is not None:
            # Nothing is learned from them: any groups will do.
            held_out.groups = np.resize(everything.groups, len(held_out))
    plan = plan_opaque(
        model,
        everything.labels,
        groups=everything.groups,
        weight=everything.image_weight,
        validation_labels=None if validation_data is None else held_out.labels,
        validation_split=validation_split,
        query_budget=int(query_budget),
        choose_views=choose_views,
    )
    train, validation = everything.take(plan.train), held_out.take(plan.validation)
    _check_weights(train, validation)
    query_bar = QueryBar(model.source, int(query_budget), verbose)
    show = progress or query_bar.update

    @contextmanager
    def bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
        del description, total
        yield lambda done: show(recipe.used)

    learned = np.arange(len(train))
    recipe = Recipe(
        model,
        joined(train, validation),
        learned,
        len(train) + np.arange(len(validation)),
        refit=learned if validation_data is not None else None,
        readings=_readings(model),
        careful=True,
        batch_size=batch_size,
        bar=bar,
    )
    fit = _run(recipe, train, plan, int(query_budget))
    if progress is None:
        query_bar.finish()
    return fit


def _labelled(
    model: Any, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None
) -> LabelledImages:
    images, targets = model.data_checks.arrays(x, y, sample_weight)[:2]
    model.asker.learned.add(images)
    checks, num_classes = model.data_checks, model.output_map.num_classes
    labels = checks.learned_labels(y, len(images), stacklevel=4)
    weight = checks.weights(labels, sample_weight, class_weight)
    # The labels as the steps' loss takes them: as they came, if it reads those.
    if not (model.compiled and model.steps.estimates):
        targets = labels
    elif checks.multi_label:
        check_findings_loss(model.loss, num_classes)
        targets = labels
    else:
        targets = labels_for(model.loss, targets, labels, num_classes)
    return LabelledImages(images, labels, targets, weight)


def _check_weights(train: LabelledImages, validation: LabelledImages) -> None:
    for part, said in ((train, "to learn from"), (validation, "held out")):
        if part.weight is not None and not part.weight.any():
            raise ValueError(
                "Both sides of the split must have images of weight above 0. "
                f"Received: weights of which all {len(part)} images {said} have 0. Pass "
                "`validation_data` of your own, or leave images of weight 0 out."
            )


def _readings(model: Any) -> tuple[str, ...]:
    several = model.queries_per_prediction > 1 and hasattr(model.output_map, "kernel")
    return READINGS if several else READINGS[:1]


def _run(recipe: Recipe, train: LabelledImages, plan: OpaquePlan, query_budget: int) -> OpaqueFit:
    """Views, map, steps."""
    model, used_before = recipe.model, recipe.model.queries_used
    with _undone_if_it_fails(model):
        views = _choose_views(recipe, train, plan)
        recipe.ask(recipe.train)
        recipe.ask(recipe.validation)
        recipe.judge("map")
    recipe.improve(_estimated_epochs(recipe, train, plan, query_budget), _PATIENCE)
    return OpaqueFit(
        query_budget,
        model.queries_used - used_before,
        len(recipe.data),
        recipe.stages,
        views,
        recipe.reading,
        recipe.ended_by,
        recipe.choice,
        plan.given_back,
    )


def _standard_errors(pool: int) -> float:
    """By how many standard errors the best of a pool must be better than the own views.

    A single view that is no better seems so by one standard error in 16 of 100 draws; the best of a
    whole pool must be so much better that it seems so as rarely.
    """
    return float(norm.isf(norm.sf(1.0) / pool))


@contextmanager
def _undone_if_it_fails(model: Any) -> Iterator[None]:
    """Restores views and map together if the block fails."""
    placement = model.program.placement
    weights = WeightCopy(model.output_map.weights)
    try:
        yield
    except BaseException:
        if placement is not model.program.placement:
            model.use_placement(placement)
        weights.restore()
        raise


def _choose_views(recipe: Recipe, train: LabelledImages, plan: OpaquePlan) -> str:
    """Replaces the views with better ones of a pool, if the plan has a pilot."""
    model, pilot, pool_size = recipe.model, plan.pilot, plan.pool_views
    if not plan.chooses_views:
        return "views as they were"
    if not pool_size:
        return "no room in the budget to choose views"
    own = model.program.placement.views
    extra = draw_pool(model, pool_size, "mixed").views
    pool = Placement([*own, *[view for view in extra if view not in own][: pool_size - len(own)]])
    part = train.take(pilot)
    with recipe.bar("choosing views", plan.pilot_queries) as update:
        answers = pool_answers(model, pool, part.images, recipe.batch_size)
        update(plan.pilot_queries)
    weight = part.image_weight
    if weight is not None and np.count_nonzero(weight) < 2:
        weight = None
    found = view_pool(model, answers, part.labels, weight)
    order = found.choose(plan.num_views)
    asked = f"{pool.num_views} views, {len(pilot)} images"
    gain, error = paired_gain(found.errors(tuple(range(plan.num_views))), found.errors(order.views))
    if gain <= _standard_errors(pool.num_views) * error:
        return f"own views kept: no others are better by more than chance ({asked})"
    model.use_placement(Placement([pool.views[view] for view in order.views]))
    return f"chosen {list(order.views)} of a pool ({asked})"


def _estimated_epochs(
    recipe: Recipe, train: LabelledImages, plan: OpaquePlan, query_budget: int
) -> Iterator[str]:
    """The planned epochs of estimated steps; their clean answers refit the map."""
    if not plan.epochs:
        return
    if plan.check:
        warn_if_below_quantisation(recipe.model, train.images)
    steps = EstimatedSteps(recipe.model)
    for epoch in range(1, plan.epochs + 1):
        if query_budget - recipe.used < plan.epoch_queries:
            # The plan fits the budget, but repetitions after failures may have used it up.
            recipe.ended_by = "this budget, of which repetitions took a part"
            return
        with recipe.bar(f"epoch {epoch}", len(train)) as update:
            for rows, answers in steps.epoch(train, epoch):
                recipe.take_answers(recipe.train[rows], answers)
                update(len(rows))
        recipe.ask(recipe.validation)
        yield f"steps, epoch {epoch}"
