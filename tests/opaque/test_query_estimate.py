"""`estimate_queries` says beforehand what a training then asks."""

import numpy as np
import pytest
from small_models import NUM_CLASSES, directions, frozen_source, images_and_labels, opaque_source
from small_models import program_for as program_of

from keras_reprogram import (
    SPSA,
    CoordinateWise,
    DenseMap,
    QueryEstimate,
    QueryLedger,
    ReprogrammedModel,
)

COUNT = 60


def model_for(source, num_views=1, estimator=None):
    program = program_of(source, num_views, placement="views", grid=4, masked=False)
    return ReprogrammedModel(program, source, DenseMap(NUM_CLASSES), estimator)


@pytest.mark.parametrize("num_views", [1, 3])
def test_the_exact_map(num_views):
    model = model_for(opaque_source(), num_views, directions(2))
    expected = model.estimate_queries(COUNT)
    assert model.queries_used == 0
    model.fit_output_map(*images_and_labels(COUNT), verbose=0)
    assert model.queries_used == expected.total == expected.output_map
    assert expected.per_prediction == num_views


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "estimator"), [(opaque_source, directions(2)), (frozen_source, None)]
)
def test_fit_with_validation(source, estimator):
    model = model_for(source(), 2, estimator)
    x, y = images_and_labels(COUNT)
    model.fit_output_map(x, y, verbose=0)
    before = model.queries_used
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    held_out = images_and_labels(10, seed=5)
    model.fit(x, y, epochs=2, validation_data=held_out, batch_size=16, verbose=0)
    expected = model.estimate_queries(COUNT, recipe="fit", epochs=2, num_validation=10)
    assert model.queries_used - before == expected.total
    assert expected.validation == 2 * 10 * 2


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(
    ("epochs", "share"),
    [(1, 0.0), pytest.param(3, 0.0, marks=pytest.mark.slow), (3, 0.25), (0, 0.0)],
)
@pytest.mark.parametrize("moves", [False, True])
def test_fit_asks_for_answers_that_stay_once(epochs, share, moves):
    model = model_for(opaque_source(), 2, directions(2))
    model.program.trainable = moves
    x, y = images_and_labels(COUNT)
    model.fit_output_map(x, y, verbose=0)
    before = model.queries_used
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    how = {"epochs": epochs, "validation_split": share}
    expected = model.estimate_queries(COUNT, recipe="fit", **how)
    model.fit(x, y, batch_size=16, verbose=0, **how)
    assert model.queries_used - before == expected.total
    passes = epochs if moves else min(epochs, 1)
    assert expected.validation == passes * 2 * COUNT * share
    if not moves and epochs > 1:
        asked = model.estimate_queries(COUNT, recipe="fit", **how, cache_features=None)
        assert asked.total == epochs * expected.total


# Budgets that pay for a part of the images, for all of them once, for a pilot, for one epoch, for
# two (after which lost ones may end the steps).
BUDGETS = [40, *(pytest.param(b, marks=pytest.mark.slow) for b in (61, 130, 300)), 555]


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(
    ("num_views", "estimator", "choose_views"),
    [(1, directions(2), False), (2, None, None), (3, CoordinateWise(2), True)],
)
def test_fit_opaque_asks_what_was_estimated(budget, num_views, estimator, choose_views):
    check_plan(num_views, estimator, budget * num_views, choose_views=choose_views)


@pytest.mark.slow
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(("share", "count"), [(0.1, 47), (0.5, COUNT)])
def test_fit_opaque_with_another_share(budget, share, count):
    check_plan(1, SPSA(), budget, count=count, validation_split=share)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("held_out", [4, 200])
def test_fit_opaque_with_validation_data(budget, held_out):
    check_plan(1, directions(1), budget, validation=images_and_labels(held_out, seed=5))


@pytest.mark.slow
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("size", [2, 7])
def test_fit_opaque_with_groups(budget, size):
    groups = np.random.default_rng(size).permutation(np.arange(90) // size)
    check_plan(1, directions(2), budget, count=90, groups=groups)


def check_plan(num_views, estimator, budget, *, count=COUNT, validation=None, **how):
    """Estimate and run, compared query by query, purpose by purpose."""
    x, y = images_and_labels(count)
    asked = []
    model = model_for(opaque_source(record=asked), num_views, estimator)
    del asked[:]
    groups = how.pop("groups", None)
    facts = {"y": y, "groups": groups} if groups is not None else {}
    if validation is not None:
        facts["num_validation"] = len(validation[1])
    expected = model.estimate_queries(
        count, recipe="fit_opaque", query_budget=budget, **facts, **how
    )
    assert not asked and expected.total <= budget
    fit = model.fit_opaque(
        x, y, query_budget=budget, groups=groups, validation_data=validation, verbose=0, **how
    )
    assert fit.queries_used == sum(asked) == model.queries_used
    base = fit.num_images * num_views
    assert fit.stages[0].queries_used == expected.views + base
    epochs = expected.validation / (base - expected.output_map) - 1
    assert epochs == round(epochs) and len(fit.stages) <= 1 + epochs
    # Two epochs without a better loss end the steps, whatever the budget.
    if [stage.kept for stage in fit.stages[-2:]] == [False, False]:
        assert fit.queries_used <= expected.total
    else:
        assert fit.queries_used == expected.total
    assert (expected.views > 0) == ("images)" in fit.views)


@pytest.mark.slow
def test_answers_of_a_ledger_are_planned_like_others(tmp_path):
    """A run that was stopped asks on where it was: what is kept counts as asked, and costs 0."""
    x, y = images_and_labels(COUNT)
    totals = []
    for _ in range(2):
        with QueryLedger(tmp_path / "answers.ledger", 10_000) as ledger:
            model = model_for(opaque_source(ledger=ledger), 2, directions(2))
            expected = model.estimate_queries(COUNT, recipe="fit_opaque", query_budget=700)
            fit = model.fit_opaque(x, y, query_budget=700, verbose=0)
            totals.append((fit.queries_used, model.asker.count.asked))
            assert model.asker.count.asked == expected.total
    assert totals[0][0] > totals[1][0] == 0 and totals[0][1] == totals[1][1]


def test_what_fit_opaque_refuses_is_refused_beforehand():
    model = model_for(opaque_source(), 2, directions(2))
    with pytest.raises(ValueError, match="four images of each of 3 classes.*24 queries. Received"):
        model.estimate_queries(COUNT, recipe="fit_opaque", query_budget=20)
    with pytest.raises(ValueError, match=r"`groups` must be \(60,\)"):
        model.estimate_queries(COUNT, recipe="fit_opaque", query_budget=200, groups=np.arange(9))
    with pytest.raises(ValueError, match="must leave images on both sides"):
        model.estimate_queries(1, recipe="fit", validation_split=0.1)


def test_price_and_time():
    estimate = QueryEstimate(
        1000, views=500, estimates=2000, validation=400, test=100, price_per_thousand=1.5
    )
    assert estimate.total == 4000 and estimate.money == 6.0 and estimate.hours is None
    assert "| total | 4,000 | 6.00 |" in estimate.to_markdown()
    timed = QueryEstimate(3600, queries_per_second=2)
    assert timed.hours == 0.5 and timed.money is None
    assert "| map | 3,600 | - |" in timed.to_markdown()
    assert "0.50 hours at 2 queries a second" in timed.to_markdown()
    assert timed.to_dict()["hours"] == 0.5


def test_wrong_recipes():
    model = model_for(opaque_source(), 1, directions(2))
    with pytest.raises(ValueError, match="Received: .*'guess'"):
        model.estimate_queries(10, recipe="guess")
    with pytest.raises(ValueError, match="needs a budget. Received: query_budget=None"):
        model.estimate_queries(10, recipe="fit_opaque")


def test_a_model_without_an_estimator_takes_no_steps():
    model = model_for(frozen_source())
    expected = model.estimate_queries(COUNT, recipe="fit_opaque", query_budget=10_000)
    assert expected.estimates == 0
    assert expected.output_map + expected.validation == COUNT
    assert np.isclose(expected.validation, 0.2 * COUNT)
