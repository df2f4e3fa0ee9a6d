"""`estimate_queries` says beforehand what a training then asks."""

import numpy as np
import pytest
from small_models import NUM_CLASSES, directions, frozen_source, images_and_labels, opaque_source
from small_models import program_for as program_of

from keras_reprogram import DenseMap, QueryEstimate, ReprogrammedModel

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


@pytest.mark.parametrize(
    ("source", "estimator"), [(opaque_source, directions(2)), (frozen_source, None)]
)
def test_fit_with_validation(source, estimator):
    model = model_for(source(), 2, estimator)
    x, y = images_and_labels(COUNT)
    model.fit_output_map(x, y, verbose=0)
    before = model.queries_used
    model.compile("adam", "sparse_categorical_crossentropy")
    held_out = images_and_labels(10, seed=5)
    model.fit(x, y, epochs=2, validation_data=held_out, batch_size=16, verbose=0)
    expected = model.estimate_queries(COUNT, recipe="fit", epochs=2, num_validation=10)
    assert model.queries_used - before == expected.total
    assert expected.validation == 2 * 10 * 2


@pytest.mark.parametrize("budget", [40, 60, 130, 300, 600])
@pytest.mark.parametrize("choose_views", [False, True])
def test_fit_opaque_at_most(budget, choose_views):
    model = model_for(opaque_source(), 1, directions(2))
    x, y = images_and_labels(COUNT)
    expected = model.estimate_queries(
        COUNT, recipe="fit_opaque", query_budget=budget, choose_views=choose_views
    )
    fit = model.fit_opaque(x, y, query_budget=budget, choose_views=choose_views, verbose=0)
    assert fit.queries_used <= expected.total <= budget
    # The map's stage has no steps in it.
    assert fit.stages[0].queries_used <= expected.output_map + expected.views + COUNT
    two_lost = [stage.kept for stage in fit.stages[-2:]] == [False, False]
    assert fit.queries_used == expected.total or two_lost or choose_views


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
