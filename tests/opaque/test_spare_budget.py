"""Choices on all paid answers, and queries that cannot pay: `fit_opaque` gives them back."""

import numpy as np
import pytest

from keras_reprogram import DenseMap, OpaqueFit, OpaqueSource, ProgramLayer, ReprogrammedModel
from keras_reprogram.fitting import READINGS
from keras_reprogram.opaque import plan, recipe
from keras_reprogram.opaque.fit_opaque import _standard_errors

COUNT, LABELS = 60, 120


def many_labels(asked):
    """120 labels that tell the average colour of the image's four quarters."""
    kernel = np.random.default_rng(0).normal(size=(12, LABELS))

    def function(images):
        asked.append(len(images))
        quarters = images.reshape(-1, 2, 4, 2, 4, 3).mean(axis=(2, 4)).reshape(-1, 12)
        odds = np.exp((quarters / 127.5 - 1) @ kernel)
        return odds / odds.sum(axis=1, keepdims=True)

    return OpaqueSource(function, (8, 8, 3), LABELS, value_range=(0, 255), identity="quarters")


def pictures(count=COUNT, noise=60.0, seed=0):
    """Three colours, through noise."""
    random, labels = np.random.default_rng(seed), np.arange(count) % 3
    colours = 128 + 60 * (np.eye(3) - 1 / 3)[labels]
    images = colours[:, None, None] + random.normal(0, noise, (count, 4, 4, 3))
    return np.clip(images, 0, 255).astype("float32"), labels


def model_for(asked, num_views=1, placement="gentle_views", **options):
    source = many_labels(asked)
    program = ProgramLayer(
        (4, 4, 3),
        source.source_shape,
        source_range=(0, 255),
        placement=placement,
        num_views=num_views,
        grid=4,
        masked=False,
    )
    return ReprogrammedModel(program, source, DenseMap(3), **options)


def test_photographs_get_their_plain_map_and_the_rest_is_given_back():
    asked = []
    model = model_for(asked)
    planned = model.estimate_queries(COUNT, recipe="fit_opaque", query_budget=8 * COUNT)
    fit = model.fit_opaque(*pictures(), query_budget=8 * COUNT, verbose=0)
    assert fit.queries_used == sum(asked) == planned.total == COUNT
    assert fit.unused_queries == 7 * COUNT
    assert "best untouched" in fit.given_back and "too few to pay" in fit.given_back
    assert f"{7 * COUNT} queries given back: a source of many labels" in str(fit)
    assert fit.to_dict()["given_back"] == fit.given_back
    # The budget is all that is left over: the model is that of the plain map.
    exact = model_for([])
    exact.fit_opaque(*pictures(), query_budget=COUNT, verbose=0)
    x = pictures(20, seed=1)[0]
    np.testing.assert_array_equal(model.predict(x, verbose=0), exact.predict(x, verbose=0))


def test_enough_steps_are_still_taken(monkeypatch):
    monkeypatch.setattr(plan, "FEWEST_STEPS", 4)
    model = model_for([])
    fit = model.fit_opaque(*pictures(), query_budget=10 * COUNT, choose_views=False, verbose=0)
    assert fit.given_back == "" and len(fit.stages) > 1


def test_the_reading_is_chosen_on_all_paid_answers():
    model = model_for([], 3)
    fit = model.fit_opaque(*pictures(), query_budget=3 * COUNT, verbose=0)
    assert f"on {COUNT} images" in fit.choice and fit.choice in str(fit)
    assert fit.queries_used == 3 * COUNT


def test_own_validation_images_choose_where_they_are_given():
    model = model_for([], 3)
    fit = model.fit_opaque(
        *pictures(), query_budget=1000, validation_data=pictures(21, seed=3), verbose=0
    )
    assert "on 21 images" in fit.choice


@pytest.mark.slow
def test_the_plain_view_is_kept_unless_another_reading_is_clearly_better():
    readings = set()
    for noise in (40.0, 150.0):
        for seed in range(3):
            model = model_for([], 4, seed=seed)
            data = pictures(noise=noise, seed=seed)
            fit = model.fit_opaque(*data, query_budget=4 * COUNT, verbose=0)
            assert ("not better" in fit.choice) == (fit.reading == READINGS[-1])
            readings.add(fit.reading)
    assert READINGS[-1] in readings and len(readings) > 1


@pytest.mark.slow
def test_groups_stay_together_where_all_answers_choose(monkeypatch):
    x, y = (np.repeat(part, 4, axis=0) for part in pictures(COUNT))
    groups, seen = np.repeat(np.arange(COUNT), 4), []

    def looked_at(*data, **how):
        fit = solve(*data, **how)
        seen.append((how["groups"], fit.held_out))
        return fit

    solve = recipe.solve_views
    monkeypatch.setattr(recipe, "solve_views", looked_at)
    model = model_for([], 2)
    fit = model.fit_opaque(x, y, query_budget=8 * COUNT, groups=groups, verbose=0)
    of_folds, held_out = seen[0]
    assert sorted(held_out.rows) == list(range(4 * COUNT)) and len(of_folds) == 4 * COUNT
    assert f"on {4 * COUNT} images" in fit.choice


def test_the_best_of_a_larger_pool_must_be_better_by_more():
    assert _standard_errors(1) == pytest.approx(1.0)
    assert 2 < _standard_errors(10) < _standard_errors(48) < 3


def test_nothing_is_said_where_nothing_was_left():
    fit = OpaqueFit(query_budget=100, queries_used=100)
    assert fit.unused_queries == 0 and "given back" not in str(fit)
