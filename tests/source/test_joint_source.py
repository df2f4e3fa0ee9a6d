"""A joint source: its answers are those of its parts, and its bill is the asked part's alone."""

import keras
import numpy as np
import pytest
from joint_models import features, joint, model_of, pixels
from small_models import (
    NUM_CLASSES,
    NUM_LABELS,
    SOURCE_SHAPE,
    TARGET_SHAPE,
    frozen_source,
    images_and_labels,
    opaque_source,
    program_for,
    values,
)

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    MultiLabelMap,
    PixelSource,
    ProgramLayer,
    QueryLedger,
    ReprogrammedModel,
    join_sources,
    load_program,
    save_program,
)
from keras_reprogram.fitting import fit_joined_parts
from keras_reprogram.output_map.blocks import Block, waves
from keras_reprogram.source import JointSource

NUM_PIXELS = int(np.prod(TARGET_SHAPE))


def test_answers_are_the_scores_of_all_parts_side_by_side():
    asked, part = opaque_source(), features()
    model = model_of(joint(asked, pixels(), part))
    x, _ = images_and_labels(5)
    answers = model.collect_scores(x, verbose=0)
    alone = model_of(asked).collect_scores(x, verbose=0)
    assert answers.shape == (5, 1, 2 * NUM_LABELS + NUM_PIXELS + part.num_labels)
    rows = answers[:, 0]
    np.testing.assert_allclose(rows[:, : 2 * NUM_LABELS], alone.reshape(5, -1), atol=1e-6)
    ends = 2 * NUM_LABELS + NUM_PIXELS
    np.testing.assert_allclose(rows[:, 2 * NUM_LABELS : ends], x.reshape(5, -1) / 255, atol=1e-6)
    expected = part.source(part.program(x))[:, 0]
    np.testing.assert_allclose(rows[:, ends:], expected, atol=1e-5)


def test_the_map_is_that_of_a_fit_made_by_hand():
    model = model_of(joint(), seed=4)
    x, y = images_and_labels(40)
    answers = model.collect_scores(x, verbose=0)
    fit = model.fit_output_map(y=y, scores=answers, verbose=0)
    output_map = model.output_map
    rows = keras.ops.convert_to_numpy(output_map.features(answers))
    # The scores, centred log-ratios; pixels on one scale, and their kernel features; features.
    logs = np.log(answers[:, 0, : 2 * NUM_LABELS].reshape(-1, 2, NUM_LABELS) + output_map.epsilon)
    logs = (logs - logs.mean(axis=-1, keepdims=True)).reshape(len(x), -1)
    by_hand = (logs - logs.mean(axis=0)) / np.maximum(logs.std(axis=0), 0.05)
    np.testing.assert_allclose(rows[:, : 2 * NUM_LABELS], by_hand, atol=1e-3)
    centred = x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(axis=0)
    centred /= np.sqrt(np.mean(np.square(centred)))
    start = 2 * NUM_LABELS
    directions, phases = waves(NUM_PIXELS)
    by_kernel = 2**0.5 * np.cos(centred @ directions + phases)
    np.testing.assert_allclose(rows[:, start : start + 1024], by_kernel, atol=1e-2)
    expected = fit_joined_parts(rows, y, parts=output_map.parts, num_classes=NUM_CLASSES, seed=4)
    np.testing.assert_allclose(fit.kernel, expected.kernel, atol=1e-6)
    logits = rows @ expected.kernel + expected.bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    read = keras.ops.convert_to_numpy(output_map(answers))
    np.testing.assert_allclose(read, odds / odds.sum(axis=1, keepdims=True), atol=1e-5)


def test_kernel_features_are_those_of_an_rbf_kernel():
    x = np.random.default_rng(0).normal(size=(6, 20))
    directions, phases = waves(20)
    found = 2**0.5 * np.cos(x @ directions + phases)
    distances = np.square(x[:, None] - x[None]).sum(axis=-1)
    np.testing.assert_allclose(found @ found.T / 1024, np.exp(-distances / 20), atol=0.12)


def test_large_images_are_read_without_a_kernel():
    assert [Block("pixels", 1, size, "pixels").width for size in (64, 2**14, 2**14 + 1)] == [
        1024,
        1024,
        2**14 + 1,
    ]


@pytest.mark.slow
def test_the_bill_is_that_of_the_asked_part_alone(tmp_path):
    x, y = images_and_labels(40)
    bills, budgets = [], []
    for join in (False, True):
        ledger = QueryLedger(tmp_path / f"{join}.ledger", 200, price_per_thousand=1.0)
        asked = opaque_source(ledger=ledger)
        model = model_of(joint(asked) if join else asked)
        budgets.append(model.estimate_queries(40, recipe="fit_opaque", query_budget=80).total)
        model.fit_opaque(x, y, query_budget=80, verbose=0)
        model.fit_output_map(x, y, verbose=0)
        bills.append((model.queries_used, asked.queries_used, ledger.spent))
        assert model.source.ledger is ledger
    # What the ledger knows is not paid again.
    assert bills == [(80, 80, 80)] * 2
    assert budgets == [80, 80]


@pytest.mark.slow
def test_views_are_chosen_and_steps_are_estimated_beside_other_parts():
    x, y = images_and_labels(40)
    model = model_of(joint(), 1)
    model.compile("adam", "sparse_categorical_crossentropy")
    groups = np.arange(40) // 2
    fit = model.fit_opaque(
        x, y, query_budget=40 * 12, groups=groups, class_weight={0: 2.0}, verbose=0
    )
    assert fit.queries_used <= 480 and len(fit.stages) > 1
    assert fit.kept.validation_loss == min(stage.validation_loss for stage in fit.stages)


def test_answers_are_asked_once_for_all_epochs():
    x, y = images_and_labels(40)
    source = joint()
    program = ProgramLayer(TARGET_SHAPE, SOURCE_SHAPE, source_range=(0, 255), placement="full")
    model = ReprogrammedModel(program, source, DenseMap(NUM_CLASSES))
    model.fit_output_map(x, y, verbose=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=3, verbose=0)
    assert model.queries_used == 80


def test_a_program_file_knows_all_parts(tmp_path):
    x, y = images_and_labels(40)
    model = model_of(joint())
    model.fit_output_map(x, y, verbose=0)
    path = save_program(model, tmp_path / "joint.reprogram")
    again = load_program(path, joint())
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)
    for other in (opaque_source(), joint(None, pixels()), joint(None, pixels(), features(5))):
        with pytest.raises(ValueError, match="trained on another source"):
            load_program(path, other)


@pytest.mark.slow
def test_a_keras_file_holds_all_parts(tmp_path):
    x, y = images_and_labels(40)
    model = model_of(joint(frozen_source()))
    model.fit_output_map(x, y, verbose=0)
    model.save(tmp_path / "joint.keras")
    again = keras.models.load_model(tmp_path / "joint.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)
    assert again.source.fingerprint == model.source.fingerprint


@pytest.mark.slow
def test_a_program_is_trained_through_the_asked_network_alone():
    x, y = images_and_labels(40)
    source = joint(frozen_source())
    program = program_for(source)
    model = ReprogrammedModel(program, source, DenseMap(NUM_CLASSES))
    model.fit_output_map(x, y, verbose=0)
    # Pixels alone are enough for these classes: without this the asked part weighs nothing.
    kernel = model.output_map.kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape))
    model.output_map.trainable = False
    before = values(source.weights)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    assert np.abs(values([program.program_weights])[0]).max() > 0
    for now, value in zip(values(source.weights), before, strict=True):
        np.testing.assert_array_equal(now, value)


def test_networks_of_other_sizes_join_with_a_target_shape():
    image = keras.Input((5, 6, 3))
    flat = keras.layers.Flatten()(image)
    small = FrozenSource(
        keras.Model(image, keras.layers.Dense(4)(flat), name="small"), value_range=(0, 1)
    )
    source = join_sources([frozen_source(), small], target_shape=TARGET_SHAPE)
    assert isinstance(source, JointSource) and source.exportable
    assert [block.size for block in source.blocks(3)] == [3 * NUM_LABELS, 4]
    kinds = [(block.name, block.score_kind) for block in source.blocks(1)]
    assert kinds == [("asked", "probabilities"), ("small", "logits")]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: join_sources([opaque_source(), opaque_source()]), "At most one part"),
        (lambda: join_sources([pixels(), pixels()]), "a part that is asked"),
        (lambda: join_sources([opaque_source(), frozen_source()]), "Pass `target_shape="),
        (
            lambda: joint(None, pixels(), PixelSource((5, 5, 1))),
            r"one `target_shape`.*\(4, 4, 1\).*\(5, 5, 1\)",
        ),
        (lambda: joint(None, pixels(), pixels(target_range=(0, 1))), "one `target_range`"),
        (
            lambda: model_of(joint(None, PixelSource((5, 5, 1)))),
            r"one `target_shape`.*\(4, 4, 1\) and \(5, 5, 1\)",
        ),
        (
            lambda: ReprogrammedModel(program_for(opaque_source()), joint(), MultiLabelMap(3)),
            "MultiLabelMap reads the scores of one source.*asked, pixels, local",
        ),
    ],
)
def test_what_does_not_fit_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
