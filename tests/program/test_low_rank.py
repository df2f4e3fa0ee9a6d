"""ProgramLayer(rank=r): the product of two factors, its start, its size, and both ways to train."""

import keras
import numpy as np
import pytest
from checks.check_program import as_array, set_weights
from small_models import (
    NUM_CLASSES,
    NUM_LABELS,
    SOURCE_SHAPE,
    frozen_source,
    images_and_labels,
    opaque_source,
    program_for,
    small_model,
)

from keras_reprogram import (
    DecoderProgram,
    MultiLabelMap,
    OpaqueSource,
    ProgramLayer,
    RandomDirections,
    ReprogrammedModel,
    load_program,
    save_program,
)

IMAGES, LABELS = images_and_labels(12)


def layer(target=(4, 4, 3), source=(6, 10, 3), **options):
    facts = {"source_range": (0, 1), "rank": 2, "placement": "full", "masked": False}
    return ProgramLayer(target, source, **facts | options)


def test_the_program_is_the_product_of_its_factors():
    program = layer(squash="none", strength=0.5)
    set_weights(program, 1.0)
    factors = as_array(program.program_weights)[0]
    expected = np.zeros((6, 10, 3))
    for channel in range(3):
        for one in range(2):
            column, row = factors[channel, one, :6], factors[channel, one, 6:]
            expected[..., channel] += 0.5 * np.outer(column, row)
    found = program.program_images()[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [np.linalg.matrix_rank(found[..., c], tol=1e-4) for c in range(3)] == [2, 2, 2]


def test_it_starts_at_zero_with_a_random_factor():
    program = layer((4, 4, 3), (64, 64, 3), rank=8, seed=3)
    factors = as_array(program.program_weights)
    assert not factors[..., :64].any()
    drawn = factors[..., 64:]
    assert abs(drawn.std() - 0.01) < 0.001 and abs(drawn.mean()) < 0.001
    assert not program.program_images().any()
    again, other = (layer((4, 4, 3), (64, 64, 3), rank=8, seed=s) for s in (3, 4))
    np.testing.assert_array_equal(as_array(again.program_weights), factors)
    assert not np.array_equal(as_array(other.program_weights), factors)
    wide = layer((4, 4, 3), (64, 64, 3), rank=8, seed=3, rank_spread=1.0)
    np.testing.assert_allclose(as_array(wide.program_weights), 100 * factors, rtol=1e-5)


def test_a_canvas_of_224_has_28_times_fewer_coordinates():
    program = layer((32, 32, 3), (224, 224, 3), rank=4)
    whole = layer((32, 32, 3), (224, 224, 3), rank=None)
    sizes = [each.live_coordinates().size for each in (program, whole)]
    assert sizes == [5_376, 150_528]
    assert sizes[1] / sizes[0] == 28


def test_factors_under_the_image_are_not_live():
    """The image covers rows 1 to 4 of 6 and every column: only two rows of B are free."""
    program = layer((4, 10, 3), masked=True, placement="center", image_size=(4, 10))
    live = program.live_coordinates().reshape(3, 2, 16)
    rows, columns = live[..., :6], live[..., 6:]
    np.testing.assert_array_equal(rows, np.broadcast_to([1, 0, 0, 0, 0, 1], (3, 2, 6)))
    assert columns.all()


WRONG = [
    ({"rank": 0}, "`rank` must be a positive integer. Received: rank=0"),
    ({"rank": -1}, "Received: rank=-1"),
    ({"rank": 2.0}, "`rank` must be a positive integer. Received: rank=2.0"),
    ({"rank": True}, "`rank` must be a positive integer"),
    ({"rank": 7}, "at most 6, the shorter side of a pattern of 6 x 10.*Received: rank=7"),
    ({"rank": 4, "grid": 3}, "at most 3, the shorter side of a pattern of 3 x 3"),
    ({"rank_spread": 0}, "`rank_spread` must be a number greater than 0"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_wrong_ranks_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        layer(**options)
    layer(rank=6)


def test_a_decoder_takes_no_rank():
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(12)])
    with pytest.raises(ValueError, match="takes no `rank`.*Received: rank=2. Leave it out"):
        DecoderProgram((4, 4, 1), (8, 8, 3), decoder, source_range=(0, 1), rank=2)


def test_a_program_without_a_rank_has_the_config_it_always_had():
    """Answers are stored under it."""
    assert not [key for key in layer(rank=None).get_config() if "rank" in key]
    assert layer().get_config()["rank"] == 2


def free_program(source, **options):
    return program_for(source, placement="full", masked=False, rank=2, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "estimator"),
    [(frozen_source, None), (opaque_source, RandomDirections(8))],
    ids=["gradients", "estimates"],
)
def test_both_factors_learn(source, estimator):
    made = source()
    program = free_program(made, rank_spread=0.3)
    start = as_array(program.program_weights).copy()
    model = small_model(made, program=program, estimator=estimator, learning_rate=0.02)
    model.output_map.trainable = False
    # A few steps take less time than tracing one.
    model.run_eagerly = True
    before = model.evaluate(IMAGES, LABELS, verbose=0)[0]
    model.fit(IMAGES, LABELS, epochs=4, batch_size=6, verbose=0)
    assert model.evaluate(IMAGES, LABELS, verbose=0)[0] < before
    moved = as_array(program.program_weights) != start
    assert moved[..., :8].all() and moved[..., 8:].all()


def test_estimated_gradient_is_the_exact_one():
    """The same network with its gradient and as a black box, from factors that are not zero."""
    frozen = frozen_source()
    opaque = OpaqueSource(
        lambda images: np.asarray(frozen(images)),
        SOURCE_SHAPE,
        frozen.num_labels,
        value_range=(0, 255),
        identity="the same network",
        max_batch=4096,
    )
    steps = []
    for source, estimator in ((frozen, None), (opaque, RandomDirections(1500, smoothing=1e-3))):
        program = free_program(source)
        set_weights(program, 0.4)
        before = as_array(program.program_weights).copy()
        # A map with slopes: an exact fit would leave nothing to learn.
        output_map = MultiLabelMap(NUM_CLASSES, weights=np.eye(NUM_LABELS, NUM_CLASSES) + 0.1)
        model = ReprogrammedModel(program, source, output_map, estimator)
        model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
        model.run_eagerly = True
        # Two images whose gradients agree, so that few directions tell much.
        model.train_on_batch(IMAGES[:4:3], LABELS[:4:3])
        steps.append((before - as_array(program.program_weights)).reshape(-1))
    exact, estimated = steps
    assert np.abs(exact).max() > 1e-3
    cosine = exact @ estimated / np.linalg.norm(exact) / np.linalg.norm(estimated)
    assert cosine > 0.95
    assert abs(exact @ estimated / (exact @ exact) - 1) < 0.1


def test_a_program_file_keeps_factors_and_rank(tmp_path):
    source = opaque_source()
    model = small_model(source, program=free_program(source, seed=5))
    set_weights(model.program, 0.5)
    save_program(model, tmp_path / "low.reprogram")
    again = load_program(tmp_path / "low.reprogram", source)
    assert (again.program.rank, again.program.seed) == (2, 5)
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))


@pytest.mark.slow
def test_a_run_that_goes_on_from_a_file_equals_one_that_never_stopped(tmp_path):
    def model():
        source = frozen_source()
        made = small_model(source, program=free_program(source), built=True)
        made.run_eagerly = True
        return made

    whole = model()
    whole.fit(IMAGES, LABELS, epochs=2, batch_size=6, verbose=0)
    first = model()
    first.fit(IMAGES, LABELS, epochs=1, batch_size=6, verbose=0)
    first.save(tmp_path / "low.keras")
    again = keras.models.load_model(tmp_path / "low.keras")
    again.run_eagerly = True
    again.fit(IMAGES, LABELS, epochs=2, initial_epoch=1, batch_size=6, verbose=0)
    for one, other in zip(again.program.weights, whole.program.weights, strict=True):
        np.testing.assert_array_equal(as_array(one), as_array(other))
