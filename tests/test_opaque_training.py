"""`fit_opaque`: the budget holds, the map alone is never lost, nothing is asked twice."""

import numpy as np
import pytest
from small_models import (
    NUM_CLASSES,
    directions,
    frozen_source,
    images_and_labels,
    opaque_source,
    program_for,
    small_model,
    values,
)

from keras_reprogram import DenseMap, MultiLabelMap, ReprogrammedModel

COUNT = 60


def model_for(source, num_views=1, output_map=None, **options):
    program = program_for(source, num_views, placement="views", grid=4, masked=False)
    output_map = output_map or DenseMap(NUM_CLASSES)
    return ReprogrammedModel(program, source, output_map, directions(2), **options)


@pytest.mark.parametrize(
    ("source", "num_views", "budget"),
    [
        ("opaque", 1, 60),
        ("opaque", 1, 400),
        ("opaque", 1, 900),
        ("opaque", 3, 180),
        ("opaque", 3, 1500),
        ("frozen", 2, 1000),
    ],
)
def test_budget_is_never_exceeded(source, num_views, budget):
    asked = []
    source = frozen_source() if source == "frozen" else opaque_source(record=asked)
    model = model_for(source, num_views)
    before = sum(asked)
    fit = model.fit_opaque(*images_and_labels(COUNT), query_budget=budget, verbose=0)

    assert fit.queries_used == model.queries_used <= budget
    if asked:
        assert sum(asked) - before == fit.queries_used
    assert fit.num_images == COUNT
    used = [stage.queries_used for stage in fit.stages]
    assert used == sorted(used)
    assert fit.stages[0].stage == "map"
    accuracies = [stage.validation_accuracy for stage in fit.stages if stage.kept]
    assert accuracies == sorted(accuracies)
    losses = [stage.validation_loss for stage in fit.stages if stage.kept]
    assert losses == sorted(losses, reverse=True)
    assert model.predict(images_and_labels(5)[0], verbose=0).shape == (5, NUM_CLASSES)


def test_steps_are_taken_and_a_view_is_chosen_where_the_budget_has_room():
    model = model_for(opaque_source(), 2)
    fit = model.fit_opaque(*images_and_labels(COUNT), query_budget=4000, verbose=0)
    assert "of a pool" in fit.views or "own views kept" in fit.views
    assert any(stage.stage.startswith("steps") for stage in fit.stages)
    # Two epochs without a better loss end it.
    assert [stage.kept for stage in fit.stages][-2:] == [False, False] or fit.queries_used > 3000


def test_exact_budget_asks_every_image_once():
    model = model_for(opaque_source(), 2)
    fit = model.fit_opaque(*images_and_labels(COUNT), query_budget=2 * COUNT, verbose=0)
    assert fit.queries_used == 2 * COUNT
    assert len(fit.stages) == 1
    assert fit.views == "no room in the budget to choose views"


def test_final_map_is_the_exact_fit_on_all_answers():
    x, y = images_and_labels(COUNT)
    model = model_for(opaque_source(), 1)
    model.fit_opaque(x, y, query_budget=COUNT, verbose=0)
    scores = model.collect_scores(x, verbose=0)
    kernel = values([model.output_map.kernel])[0]
    model.fit_output_map(scores=scores, y=y, verbose=0)
    # The order of the images differs, and with it the draw that chooses the regularisation.
    assert np.sign(kernel).tolist() == np.sign(values([model.output_map.kernel])[0]).tolist()


def test_small_budget_pays_for_a_part_of_every_class():
    model = model_for(opaque_source(), 2)
    fit = model.fit_opaque(*images_and_labels(COUNT), query_budget=80, verbose=0)
    assert fit.num_images == 40
    assert fit.queries_used == 80


def test_own_validation_data_decide_and_are_counted():
    x, y = images_and_labels(COUNT)
    model = model_for(opaque_source())
    fit = model.fit_opaque(
        x, y, query_budget=200, validation_data=images_and_labels(20, seed=5), verbose=0
    )
    assert fit.num_images == COUNT + 20
    assert fit.stages[0].queries_used >= COUNT + 20


def test_ctrl_c_keeps_the_map():
    x, y = images_and_labels(COUNT)
    calls = []
    source = opaque_source()
    function = source.function

    def interrupted(images):
        calls.append(len(images))
        if sum(calls) > 3 * COUNT:
            raise KeyboardInterrupt
        return function(images)

    source.function = interrupted
    model = model_for(source)
    with pytest.raises(KeyboardInterrupt):
        model.fit_opaque(x, y, query_budget=100 * COUNT, choose_views=False, verbose=0)
    source.function = function
    assert (model.predict(x, verbose=0).argmax(axis=1) == y).mean() > 0.8


def test_weights_one_hot_labels_and_a_users_own_loss():
    x, y = images_and_labels(COUNT)
    model = model_for(frozen_source())
    model.compile("adam", "categorical_crossentropy")
    fit = model.fit_opaque(
        x, np.eye(NUM_CLASSES)[y], query_budget=1000, class_weight={0: 2.0}, verbose=0
    )
    assert len(fit.stages) > 1


def test_label_maps_learn_by_the_same_recipe():
    model = model_for(opaque_source(), output_map=MultiLabelMap(NUM_CLASSES))
    fit = model.fit_opaque(*images_and_labels(COUNT), query_budget=600, verbose=0)
    assert fit.queries_used <= 600


def test_same_seed_same_result():
    fits = []
    for _ in range(2):
        model = model_for(opaque_source(), 2, seed=3)
        fit = model.fit_opaque(*images_and_labels(COUNT), query_budget=1200, verbose=0)
        fits.append((fit.to_dict(), values(model.trainable_variables)))
    assert fits[0][0] == fits[1][0]
    for one, other in zip(fits[0][1], fits[1][1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_white_box_source_without_an_estimator_takes_no_steps():
    source = frozen_source()
    model = ReprogrammedModel(program_for(source), source, DenseMap(NUM_CLASSES))
    fit = model.fit_opaque(*images_and_labels(COUNT), query_budget=10_000, verbose=0)
    assert [stage.stage for stage in fit.stages] == ["map"]


def test_framed_images_keep_their_place():
    source = opaque_source()
    model = small_model(source, fitted=False)
    fit = model.fit_opaque(*images_and_labels(COUNT), query_budget=500, verbose=0)
    assert fit.views == "views as they were"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_budget": 20}, "four images of each of 3 classes.*24 queries. Received"),
        ({"y": np.zeros(COUNT, int)}, "Every class needs at least one"),
        ({"x": np.zeros((0, 4, 4, 1))}, "Received: an empty data set"),
        ({"class_weight": {0: 1.0}, "sample_weight": np.ones(3)}, "`sample_weight` must be"),
    ],
)
def test_wrong_input_costs_nothing(changes, message):
    x, y = images_and_labels(COUNT)
    model = model_for(opaque_source(), 2)
    arguments = {"x": x, "y": y, "query_budget": 1000} | changes
    with pytest.raises(ValueError, match=message):
        model.fit_opaque(**arguments)
    assert model.queries_used == 0
