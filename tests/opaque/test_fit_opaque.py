"""`fit_opaque`: the budget holds, the map alone is never lost, nothing is asked twice."""

from functools import partial

import keras
import numpy as np
import pytest
from small_models import (
    NUM_CLASSES,
    NUM_LABELS,
    directions,
    frozen_source,
    images_and_labels,
    opaque_source,
    program_for,
    small_model,
    values,
)

from keras_reprogram import DenseMap, MultiLabelMap, ReprogrammedModel
from keras_reprogram.fitting import READINGS, solve_views
from keras_reprogram.fitting.validation import (
    ValidationScore,
    split_validation,
    validation_score,
)
from keras_reprogram.methods.bar_2020 import FocalLoss
from keras_reprogram.opaque import fit_opaque, recipe, view_choice
from keras_reprogram.opaque.recipe import EstimatedSteps, Recipe
from keras_reprogram.source import Source

COUNT = 60


def model_for(source, num_views=1, output_map=None, **options):
    program = program_for(source, num_views, placement="views", grid=4, masked=False)
    output_map = output_map or DenseMap(NUM_CLASSES)
    return ReprogrammedModel(program, source, output_map, directions(2), **options)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("source", "num_views", "budget"),
    [
        ("opaque", 1, 60),
        pytest.param("opaque", 1, 400, marks=pytest.mark.slow),
        pytest.param("opaque", 1, 900, marks=pytest.mark.slow),
        pytest.param("opaque", 3, 180, marks=pytest.mark.slow),
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


@pytest.mark.slow
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
    kernel = values([model.output_map.kernel])[0]
    # The order decides the draw that chooses the regularisation: what was held out comes last.
    order = np.concatenate(split_validation(x, y, 0.2, 0))
    scores = model.collect_scores(x[order], verbose=0)
    model.fit_output_map(scores=scores, y=y[order], verbose=0)
    np.testing.assert_allclose(kernel, values([model.output_map.kernel])[0], rtol=1e-4, atol=1e-5)


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


@pytest.mark.slow
def test_weights_one_hot_labels_and_a_users_own_loss():
    x, y = images_and_labels(COUNT)
    model = model_for(opaque_source())
    model.compile("adam", "categorical_crossentropy")
    fit = model.fit_opaque(
        x, np.eye(NUM_CLASSES)[y], query_budget=1000, class_weight={0: 2.0}, verbose=0
    )
    assert len(fit.stages) > 1


def test_label_maps_learn_by_the_same_recipe():
    model = model_for(opaque_source(), output_map=MultiLabelMap(NUM_CLASSES))
    fit = model.fit_opaque(*images_and_labels(COUNT), query_budget=600, verbose=0)
    assert fit.queries_used <= 600


@pytest.mark.slow
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


@pytest.mark.slow
def test_steps_start_from_the_reading_that_is_kept(monkeypatch):
    kernels = []
    epoch = EstimatedSteps.epoch

    def seen(steps, part, number):
        kernels.append(values([steps.model.output_map.kernel])[0].reshape(3, NUM_LABELS, -1))
        return epoch(steps, part, number)

    monkeypatch.setattr(EstimatedSteps, "epoch", seen)
    model = model_for(opaque_source(), 3)
    x, y = images_and_labels(COUNT)
    fit = model.fit_opaque(x, y, query_budget=1500, choose_views=False, verbose=0)
    read = np.abs(kernels[0]).sum(axis=(1, 2)) > 0
    assert read.tolist() == [True, fit.reading != "first view", fit.reading != "first view"]
    assert fit.reading != "first view"


def test_a_lower_loss_at_the_same_accuracy_is_kept(monkeypatch):
    trial, losses = Recipe._trial, iter([0.5, 0.4])

    def scored(self, reading):
        # 1 - (1 - 0.1) is less than 0.1 in floating point.
        return ValidationScore(next(losses), 0.1), *trial(self, reading)[1:]

    monkeypatch.setattr(Recipe, "_trial", scored)
    model = model_for(opaque_source())
    x, y = images_and_labels(COUNT)
    # Answers, and one epoch: 48 images under 1 + 2 directions and 12 held-out ones.
    fit = model.fit_opaque(x, y, query_budget=60 + 3 * 48 + 12, choose_views=False, verbose=0)
    assert [stage.kept for stage in fit.stages] == [True, True]


def test_interrupt_before_the_first_map_leaves_the_model_as_it_was(monkeypatch):
    # Other views are taken, however little better they are.
    monkeypatch.setattr(fit_opaque, "_standard_errors", lambda pool: -np.inf)
    x, y = images_and_labels(COUNT)
    model = model_for(opaque_source(), 2, seed=3)
    model.fit_output_map(x, y, verbose=0)
    before = model.predict(x, verbose=0)
    views, answered = model.program.placement.views, []

    def stop(used):
        answered.append(used)
        # The pilot has chosen views; the first base answers are there.
        if len(answered) == 2:
            assert model.program.placement.views != views
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit_opaque(x, y, query_budget=4000, progress=stop, verbose=0)
    assert model.program.placement.views == views
    np.testing.assert_allclose(model.predict(x, verbose=0), before, atol=1e-6)


@pytest.mark.slow
def test_one_hot_labels_also_in_a_second_fit():
    x, y = images_and_labels(COUNT)
    model, labels = model_for(opaque_source()), np.eye(NUM_CLASSES)[y]
    for _ in range(2):
        fit = model.fit_opaque(x, labels, query_budget=300, choose_views=False, verbose=0)
        assert len(fit.stages) > 1


def test_a_loss_that_steps_cannot_use_costs_nothing():
    model = model_for(opaque_source())
    model.compile("adam")
    with pytest.raises(ValueError, match="exactly one loss"):
        model.fit_opaque(*images_and_labels(COUNT), query_budget=1000, verbose=0)
    assert model.queries_used == 0


def test_groups_that_leave_one_class_cost_nothing():
    x, _ = images_and_labels(COUNT)
    groups = np.arange(COUNT) // 6
    labels = np.zeros(COUNT, int)
    # The rare classes are a minority of one group, which is held out as one of the common class.
    labels[18:21] = 1, 1, 2
    model = model_for(opaque_source(), seed=1)
    for seed in range(20):
        model.seed = seed
        try:
            model.fit_opaque(x, labels, query_budget=60, groups=groups, verbose=0)
        except ValueError as error:
            assert "At least two classes" in str(error)
            break
        model = model_for(opaque_source(), seed=1)
    else:
        pytest.fail("no split held the rare classes' group out")
    assert model.queries_used == 0


def test_groups_reach_the_choice_of_the_regularisation(monkeypatch):
    seen = []
    monkeypatch.setattr(
        recipe,
        "solve_views",
        lambda *data, groups, **how: (
            seen.append(groups) or solve_views(*data, groups=groups, **how)
        ),
    )
    x, y = images_and_labels(COUNT)
    groups = np.arange(COUNT) // 2
    for given in (groups, groups[:, None]):
        model_for(opaque_source()).fit_opaque(x, y, query_budget=COUNT, groups=given, verbose=0)
    assert len(seen) == 4
    for of_map, of_all in (seen[:2], seen[2:]):
        assert len(of_map) == 48 and sorted(of_all) == sorted(groups)
        assert set(of_map) <= set(of_all) and len(np.unique(of_map)) == 24
    with pytest.raises(ValueError, match=r"`groups` must be \(60,\)"):
        model_for(opaque_source()).fit_opaque(x, y, query_budget=60, groups=groups[:9], verbose=0)


def test_validation_data_without_groups_and_weights_leave_those_of_the_training(monkeypatch):
    seen = []
    monkeypatch.setattr(
        recipe,
        "solve_views",
        lambda *data, groups, **how: (
            seen.append((groups, data[-1])) or solve_views(*data, groups=groups, **how)
        ),
    )
    x, y = images_and_labels(COUNT)
    groups, weight = np.array([f"patient {i // 2}" for i in range(COUNT)]), 1.0 + np.arange(COUNT)
    held_out = images_and_labels(20, seed=5)
    model = model_for(opaque_source())
    fit = model.fit_opaque(
        *(x, np.eye(NUM_CLASSES)[y]),
        query_budget=COUNT + 20,
        validation_data=held_out,
        groups=groups,
        sample_weight=weight,
        verbose=0,
    )
    for of_map, weights in seen:
        assert of_map.tolist() == groups.tolist() and weights.tolist() == weight.tolist()
    read = validation_score(model.predict(held_out[0], verbose=0), held_out[1])
    assert fit.stages[0].validation_loss == pytest.approx(read.loss, rel=1e-4)


def test_pilot_takes_one_image_of_a_group(monkeypatch):
    x, y = images_and_labels(COUNT)
    x, y, groups = (np.repeat(part, 5, axis=0) for part in (x, y, np.arange(COUNT)))
    model, seen = model_for(opaque_source(), 2), []
    monkeypatch.setattr(
        fit_opaque,
        "pool_answers",
        lambda model, pool, images, *rest: (
            seen.append(images) or view_choice.pool_answers(model, pool, images, *rest)
        ),
    )
    model.fit_opaque(x, y, query_budget=3000, groups=groups, verbose=0)
    assert len(seen[0]) > NUM_CLASSES
    assert len(np.unique(seen[0].reshape(len(seen[0]), -1), axis=0)) == len(seen[0])


def test_validation_data_may_lack_a_class_and_be_many():
    x, y = images_and_labels(COUNT)
    held_x, held_y = images_and_labels(600, seed=5)
    some = held_y != 2
    model = model_for(opaque_source())
    fit = model.fit_opaque(
        x, y, validation_data=(held_x[some], held_y[some]), query_budget=100, verbose=0
    )
    assert fit.queries_used <= 100
    few = model_for(opaque_source())
    assert (
        few.fit_opaque(
            x[:15], y[:15], validation_data=(held_x, held_y), query_budget=100, verbose=0
        ).queries_used
        <= 100
    )


@pytest.mark.parametrize("output_map", [DenseMap, MultiLabelMap])
def test_nan_from_a_source_in_the_graph_is_said(output_map):
    class Broken(Source):
        def answer(self, images):
            return keras.ops.mean(images, axis=(1, 2))[:, :NUM_CLASSES] * np.nan

        @property
        def fingerprint(self):
            return "broken"

    source = Broken((8, 8, 3), NUM_CLASSES, value_range=(0, 255), sum_tolerance=None)
    model = model_for(source, output_map=output_map(NUM_CLASSES))
    with pytest.raises(ValueError, match="finite scores. Received: NaN"):
        model.fit_opaque(*images_and_labels(COUNT), query_budget=300, choose_views=False, verbose=0)


def test_a_source_without_a_limit_is_asked_at_once():
    class Colours(Source):
        def answer(self, images):
            return keras.ops.softmax(keras.ops.mean(images, axis=(1, 2)) / 255)

        @property
        def fingerprint(self):
            return "colours"

    source = Colours((8, 8, 3), 3, value_range=(0, 255))
    assert source.max_batch is None
    model = model_for(source)
    fit = model.fit_opaque(*images_and_labels(COUNT), query_budget=COUNT, verbose=0)
    assert fit.queries_used == COUNT


def test_views_of_another_program_cannot_be_chosen():
    class Plain(keras.layers.Layer):
        target_shape = (8, 8, 3)

        def call(self, images):
            return keras.ops.expand_dims(images, 1)

    source = opaque_source()
    model = ReprogrammedModel(Plain(name="program"), source, DenseMap(NUM_CLASSES), directions(2))
    x = np.random.default_rng(0).uniform(0, 255, (COUNT, 8, 8, 3)).astype("float32")
    with pytest.raises(ValueError, match="program that places images"):
        model.fit_opaque(x, np.arange(COUNT) % 3, query_budget=500, choose_views=True, verbose=0)
    assert model.queries_used == 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"sample_weight": np.r_[np.nan, np.ones(COUNT - 1)]}, "finite and non-negative"),
        ({"sample_weight": np.r_[-1.0, np.ones(COUNT - 1)]}, "Received: values from -1.0 to 1.0"),
        ({"sample_weight": np.zeros(COUNT)}, "not all zero"),
        ({"class_weight": {0: np.nan}}, "finite, non-negative weights.*Received: {0: nan}"),
        ({"class_weight": {1: -2.0}}, "finite, non-negative weights.*Received: {1: -2.0}"),
        ({"class_weight": dict.fromkeys(range(3), 0.0)}, "exclude all images"),
        ({"class_weight": {"cat": 2.0}}, r"class numbers in \[0, 3\) to weights. Received: 'cat'"),
    ],
)
def test_wrong_weights_cost_nothing(weights, message):
    model = model_for(opaque_source())
    x, y = images_and_labels(COUNT)
    with pytest.raises(ValueError, match=message):
        model.fit_opaque(x, y, query_budget=1000, **weights, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit_output_map(x, y, **weights, verbose=0)
    assert model.queries_used in (0, COUNT)


def noisy(count, seed):
    random, labels = np.random.default_rng(seed), np.arange(count) % NUM_CLASSES
    levels = 255 * (labels + 0.5) / NUM_CLASSES
    images = levels[:, None, None, None] + random.normal(0, 150, (count, 4, 4, 1))
    return np.clip(images, 0, 255).astype("float32"), labels


def scores_by_reading(model, data, held_out, weight):
    """Weighted and unweighted figures of each reading's map, solved here once more."""
    answers, others = (model.collect_scores(x, verbose=0) for x, _ in (data, held_out))
    found = {}
    for reading in READINGS:
        model.output_map.fit_answers(
            answers,
            data[1],
            solver=partial(solve_views, 3, reading, num_classes=NUM_CLASSES),
            sample_weight=weight[data[1]],
        )
        read = keras.ops.convert_to_numpy(model.output_map(others))
        weighted = validation_score(read, held_out[1], weight[held_out[1]])
        found[reading] = weighted, validation_score(read, held_out[1])
    return found


@pytest.mark.slow
def test_weighted_loss_chooses_the_reading():
    source, weight, differ = opaque_source(), np.array([1.0, 1.0, 10.0]), 0
    for seed in (1, 2, 5):  # Each has another best reading; the last two differ without weights.
        data, held_out = noisy(60, seed), noisy(60, seed + 100)
        model = model_for(source, 3)
        fit = model.fit_opaque(
            *data,
            query_budget=3 * 120,
            validation_data=held_out,
            class_weight=dict(enumerate(weight)),
            verbose=0,
        )
        scores = scores_by_reading(model, data, held_out, weight)
        best = min(scores, key=lambda reading: scores[reading][0])
        differ += best != min(scores, key=lambda reading: scores[reading][1])
        plain = scores["first view"][0]
        if not scores[best][0].clearly_beats(plain, weight[held_out[1]]):
            best = "first view"
        assert fit.reading == best
        stage, expected = fit.stages[0], scores[best][0]
        assert stage.validation_loss == pytest.approx(expected.loss, rel=1e-4)
        assert stage.validation_accuracy == pytest.approx(expected.accuracy)
    assert differ


def test_weights_of_images_count_in_the_split_part_too():
    x, y = noisy(60, 0)
    rows = split_validation(x, y, 0.2, 0)
    weight = np.random.default_rng(0).uniform(0.1, 5, 60)
    model = model_for(opaque_source())
    fit = model.fit_opaque(x, y, query_budget=60, sample_weight=weight, verbose=0)
    model.fit_output_map(x[rows[0]], y[rows[0]], sample_weight=weight[rows[0]], verbose=0)
    read = model.predict(x[rows[1]], verbose=0)
    score = validation_score(read, y[rows[1]], weight[rows[1]])
    assert fit.stages[0].validation_loss == pytest.approx(score.loss, rel=1e-4)
    assert fit.stages[0].validation_loss != pytest.approx(
        validation_score(read, y[rows[1]]).loss, rel=1e-3
    )


@pytest.mark.slow
def test_the_pilot_counts_images_by_weight(monkeypatch):
    x, y = noisy(60, 0)
    weight, seen = np.random.default_rng(0).uniform(0.1, 5, 60), []
    monkeypatch.setattr(
        fit_opaque, "view_pool", lambda *data: seen.append(view_choice.view_pool(*data)) or seen[-1]
    )
    for given in (None, weight):
        model = model_for(opaque_source(), 2)
        model.fit_opaque(x, y, query_budget=900, sample_weight=given, verbose=0)
    plain, weighted = seen
    np.testing.assert_array_equal(plain.features, weighted.features)
    assert set(weighted.sample_weight) <= set(weight)
    assert weighted.choose(2).errors != plain.choose(2).errors


def test_images_that_count_must_be_on_both_sides():
    x, y = images_and_labels(COUNT)
    held_out = split_validation(x, y, 0.2, 0)[1]
    model = model_for(opaque_source())
    for part in (np.isin(np.arange(COUNT), held_out), ~np.isin(np.arange(COUNT), held_out)):
        with pytest.raises(ValueError, match="sides of the split.*Received: weights of"):
            model.fit_opaque(x, y, query_budget=900, sample_weight=part.astype(float), verbose=0)
    assert model.queries_used == 0


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("loss", [FocalLoss(), "categorical_crossentropy"])
@pytest.mark.parametrize("one_hot", [False, True])
def test_steps_give_a_loss_the_labels_that_it_reads(loss, one_hot):
    x, y = noisy(COUNT, 0)
    model = model_for(opaque_source())
    model.compile("adam", loss)
    given = np.eye(NUM_CLASSES)[y] if one_hot else y
    budget = COUNT + 48 * 3 + 12
    fit = model.fit_opaque(x, given, query_budget=budget, choose_views=False, verbose=0)
    assert [stage.stage for stage in fit.stages] == ["map", "steps, epoch 1"]
    assert fit.queries_used == budget
