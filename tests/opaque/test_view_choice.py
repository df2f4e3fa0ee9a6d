"""Choosing and changing a model's views: what it costs, what it changes."""

import numpy as np
import pytest
from small_models import (
    NUM_CLASSES,
    TARGET_SHAPE,
    directions,
    frozen_source,
    head_model,
    images_and_labels,
    opaque_source,
    program_for,
    sign_source,
    small_model,
)

from keras_reprogram import DenseMap, ReprogrammedModel, draw_views
from keras_reprogram.opaque.view_choice import pool_answers, view_pool

SOURCES = {"frozen": frozen_source, "opaque": opaque_source}


@pytest.mark.parametrize("source", SOURCES)
def test_pilot_is_a_quarter_of_the_images_under_the_whole_pool(source):
    model = small_model(SOURCES[source](), num_views=2)
    before, views = model.queries_used, model.program.placement.views
    selection = model.select_views(*images_and_labels(40), pool_size=6, verbose=0)

    assert model.queries_used - before == selection.queries_used == 10 * 6
    assert selection.answers.shape == (10, 6, 5)
    assert selection.placement.num_views == 2
    assert model.program.placement.views == views
    assert [count for count, _ in selection.curve] == [1, 2]
    assert selection.to_markdown().count("\n") == 3


def test_answers_of_a_pool_are_those_of_a_model_with_its_views():
    model = small_model(num_views=2)
    images = images_and_labels()[0]
    pool = draw_views(TARGET_SHAPE, (8, 8, 3), 4, seed=3)
    program = program_for(model.source, placement=pool, num_views=4)
    other = ReprogrammedModel(program, model.source, DenseMap(NUM_CLASSES))
    for weights in (model.program.program_weights, program.program_weights):
        weights.assign(np.full(weights.shape, 0.3))
    np.testing.assert_allclose(
        pool_answers(model, pool, images), other.collect_scores(images, verbose=0), atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("source", ["frozen", pytest.param("opaque", marks=pytest.mark.slow)])
def test_used_placement_reaches_every_compiled_function(source):
    images, labels = images_and_labels()
    model = small_model(SOURCES[source](), num_views=2, estimator=directions())
    model.fit(images, labels, verbose=0)
    model.predict(images, verbose=0)
    model.evaluate(images, labels, verbose=0)
    scores = model.collect_scores(images, verbose=0)

    placement = draw_views(TARGET_SHAPE, (8, 8, 3), 2, seed=9)
    model.use_placement(placement)
    fresh = ReprogrammedModel(
        program_for(model.source, placement=placement, num_views=2),
        model.source,
        DenseMap(NUM_CLASSES),
    )
    fresh.program.set_weights(model.program.get_weights())
    expected = fresh.collect_scores(images, verbose=0)
    assert np.abs(expected - scores).max() > 1e-3
    np.testing.assert_allclose(model.collect_scores(images, verbose=0), expected, atol=1e-6)
    probabilities = np.asarray(model.output_map(expected))
    np.testing.assert_allclose(model.predict(images, verbose=0), probabilities, atol=1e-5)
    own = probabilities[np.arange(len(labels)), labels]
    loss = model.evaluate(images, labels, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(-np.log(own).mean(), rel=1e-4)
    again = ReprogrammedModel.from_config(model.get_config()) if source == "frozen" else None
    assert again is None or again.program.placement.views == placement.views


def test_chosen_views_beat_the_worst_ones_on_signs():
    """Images that differ in a corner only: views that cut it off must not be chosen."""
    random = np.random.default_rng(0)
    labels = np.arange(120) % 2
    images = random.uniform(0, 255, (120, *TARGET_SHAPE))
    images[:, :2, :2] = 255.0 * labels[:, None, None, None]
    model = small_model(sign_source(), DenseMap(2), num_views=2, fitted=False)
    selection = model.select_views(images, labels, pool_size=12, verbose=0)
    pool = view_pool(model, selection.answers, labels[selection.pilot])
    errors = [pool.error((view,)) for view in range(12)]
    assert errors[selection.order.views[0]] == min(errors)
    assert selection.order.accuracies[-1] > 0.9


def test_class_weights_choose_views():
    images, labels = images_and_labels(60)
    images = np.clip(images + np.random.default_rng(0).normal(0, 60, images.shape), 0, 255)
    model = small_model(sign_source(), num_views=2, fitted=False)
    orders = []
    for weights in (
        {},
        {"class_weight": {0: 20.0}},
        {"sample_weight": np.where(labels, 1.0, 20.0)},
    ):
        selection = model.select_views(images, labels, pool_size=8, verbose=0, **weights)
        orders.append(selection.order)
    pilot = selection.pilot
    weight = np.where(labels[pilot], 1.0, 20.0)
    pool = view_pool(model, selection.answers, labels[pilot], weight)
    assert orders[1] == orders[2] == pool.choose(2) != orders[0]


def test_images_without_weight_are_no_pilot():
    images, labels = images_and_labels(60)
    model, weight = small_model(num_views=2), np.r_[np.zeros(30), np.ones(30)]
    selection = model.select_views(images, labels, pool_size=4, sample_weight=weight, verbose=0)
    assert len(selection.pilot) == 30 // 4 and selection.pilot.min() >= 30


def test_views_on_features_are_chosen_too():
    model = head_model(num_views=2)
    selection = model.select_views(*images_and_labels(40), pool_size=5, verbose=0)
    assert selection.placement.num_views == 2


def test_wrong_choices_are_refused():
    model = small_model(num_views=2)
    x, y = images_and_labels(40)
    before = model.queries_used
    with pytest.raises(ValueError, match="between 1 and `pool_size`=1. Received: num_views=2"):
        model.select_views(x, y, pool_size=1)
    with pytest.raises(ValueError, match="two images per class.*Received: 5 pilot images"):
        model.select_views(x[:20], y[:20])
    with pytest.raises(ValueError, match="`style` must be one of"):
        model.select_views(x, y, style="wild")
    with pytest.raises(ValueError, match="as many as before, 2. Received: 3"):
        model.use_placement(draw_views(TARGET_SHAPE, (8, 8, 3), 3))
    assert model.queries_used == before
