"""What every source must do, whatever it is made of. One call checks one source."""

import json

import keras
import numpy as np
from checks.tiny_models import random_images

from keras_reprogram import (
    MultiLabelMap,
    NewHead,
    ProgramLayer,
    RandomDirections,
    ReprogrammedModel,
)


def scores_of(source, images):
    return keras.ops.convert_to_numpy(source(images))


def check_source(source, weights, tolerance=1e-6, program=None):
    """All checks that need no second source.

    Args:
        source: a `Source` of 8x8 colour images in (0, 255), or of another shape with a `program`.
        weights: a function that reads what must never change, a list of arrays.
        tolerance: for answers to the same image in batches of other sizes.
        program: for a source that takes no such images.
    """
    check_facts(source, (8, 8, 3) if program is None else program.source_shape)
    check_leading_axes(source, tolerance)
    check_integer_pixels(source, tolerance)
    check_never_trainable(source)
    check_answers_do_not_vary(source)
    check_refuses_other_shapes(source)
    check_fit_leaves_it_alone(source, weights, program)


def check_facts(source, shape=(8, 8, 3)):
    assert source.source_shape == shape
    low, high = source.value_range
    assert low < high
    assert source.score_kind in ("probabilities", "logits", "features")
    assert source.class_names is None or len(source.class_names) == source.num_labels
    assert source.max_batch is None or source.max_batch >= 1
    assert isinstance(source.fingerprint, str)
    assert source.dtype == "float32"
    json.dumps(source.describe())


def check_leading_axes(source, tolerance):
    images = random_images(6, source.source_shape)
    flat = scores_of(source, images)
    assert flat.shape == (6, source.num_labels)
    assert np.ptp(flat, axis=0).max() > 1e-3, "the answer does not depend on the image"
    nested = scores_of(source, images.reshape(2, 3, *source.source_shape))
    np.testing.assert_allclose(nested, flat.reshape(2, 3, -1), atol=tolerance)
    single = scores_of(source, images[0])
    np.testing.assert_allclose(single, flat[0], atol=tolerance)
    shape = (None, 3, *source.source_shape)
    assert source.compute_output_shape(shape) == (None, 3, source.num_labels)


def check_integer_pixels(source, tolerance):
    pixels = random_images(2, source.source_shape).astype("uint8")
    expected = scores_of(source, pixels.astype("float32"))
    np.testing.assert_allclose(scores_of(source, pixels), expected, atol=tolerance)


def check_never_trainable(source):
    source.trainable = True
    assert source.trainable is False
    assert source.trainable_variables == []
    assert not any(variable.trainable for variable in source.variables)


def check_answers_do_not_vary(source):
    """No dropout, whoever asks for training: an outer layer does so by `training=True`."""
    images = random_images(3, source.source_shape)
    outer = keras.Sequential([keras.Input(source.source_shape), source])
    expected = scores_of(source, images)
    for _ in range(2):
        answer = keras.ops.convert_to_numpy(outer(images, training=True))
        np.testing.assert_array_equal(answer, expected)


def check_refuses_other_shapes(source):
    # As many numbers as one image, so that a reshape would go through.
    rows = (1, *source.source_shape[:-1], source.source_shape[-1] // 2, 2)
    images = ((1, 16, 4, 3), (2, 8, 8, 1), (8, 3))
    what = "images" if len(source.source_shape) == 3 else "arrays"
    for shape in images if what == "images" else (rows, (source.source_shape[-1] + 1,)):
        try:
            source(np.zeros(shape, "float32"))
        except ValueError as error:
            axes = ", ".join(map(str, source.source_shape))
            assert f"takes {what} of shape (..., {axes})" in str(error)
        else:
            raise AssertionError(f"images of shape {shape} were accepted")


def check_fit_leaves_it_alone(source, weights, program=None):
    before = weights()
    assert before
    model = small_model(source, program=program)
    model.trainable = False
    model.trainable = True
    program = keras.ops.convert_to_numpy(model.program.program_weights).copy()
    x, y = random_images(8, model.program.target_shape), np.arange(8) % 3
    model.fit(x, y, batch_size=4, verbose=0)
    for old, new in zip(before, weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not np.array_equal(program, model.program.program_weights), "nothing was learned"
    trained = model.program.trainable_variables + model.output_map.trainable_variables
    assert [id(v) for v in model.trainable_variables] == [id(v) for v in trained]


def small_model(source, estimator=None, program=None):
    """A compiled model of a program with few weights and a map that needs no fit."""
    program = program or ProgramLayer(
        (6, 6, 3), source.source_shape, source_range=source.value_range, grid=3
    )
    is_features = source.score_kind == "features"
    output_map = NewHead(3) if is_features else MultiLabelMap(3, assignment="random")
    if estimator is None and not source.differentiable:
        estimator = RandomDirections(num_directions=2)
    model = ReprogrammedModel(program, source, output_map, estimator)
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    return model


def check_config_round_trip(source):
    """Through JSON and back: the same facts, the same answers."""
    text = json.dumps(keras.saving.serialize_keras_object(source))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    for fact in (
        "source_shape",
        "value_range",
        "num_labels",
        "class_names",
        "score_kind",
        "score_step",
    ):
        assert getattr(again, fact) == getattr(source, fact), fact
    for fact in ("sum_tolerance", "max_batch", "differentiable", "in_graph", "exportable", "name"):
        assert getattr(again, fact) == getattr(source, fact), fact
    return again
