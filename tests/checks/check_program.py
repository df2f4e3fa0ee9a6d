"""What every program must do. One call checks one built layer."""

import json

import keras
import numpy as np
import tensorflow as tf
from checks.tiny_models import random_images

from keras_reprogram.program.program import as_program, flat_value, unflatten


def as_array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def set_weights(program, scale, seed=1):
    random = np.random.default_rng(seed)
    for variable in program.trainable_variables:
        variable.assign(random.normal(0, scale, variable.shape))


def add_to_weights(program, step):
    for variable in program.trainable_variables:
        variable.assign_add(np.full(variable.shape, step))


def check_program(program, target_shape, source_shape, source_range):
    """All checks that hold for any layer that is a program.

    Args:
        program: a built layer `(n, h, w, c)` -> `(n, V, H, W, C)`.
        target_shape: `(h, w, c)`.
        source_shape: `(H, W, C)`.
        source_range: `(low, high)`.
    """
    program = as_program(program)
    images = random_images(3, target_shape)
    set_weights(program, 0.1)
    check_shape(program, images, source_shape)
    check_range(program, images, source_range)
    check_flat_value(program)
    check_candidates(program, images)
    check_live_coordinates(program, images)
    check_one_trace(program, target_shape)


def check_shape(program, images, source_shape):
    found = program(images)
    views = found.shape[1]
    assert found.shape == (len(images), views, *source_shape)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    declared = program.compute_output_shape((None, *images.shape[1:]))
    assert tuple(declared) == (None, views, *source_shape)


def check_range(program, images, source_range):
    low, high = source_range
    slack = 1e-5 * (high - low)
    stored = [as_array(v) for v in program.trainable_variables]
    for scale in (0.1, 100.0):
        set_weights(program, scale)
        found = as_array(program(images))
        assert found.min() >= low - slack
        assert found.max() <= high + slack
    for variable, value in zip(program.trainable_variables, stored, strict=True):
        variable.assign(value)


def check_flat_value(program):
    pieces = unflatten(program, flat_value(program))
    for variable, piece in zip(program.trainable_variables, pieces, strict=True):
        np.testing.assert_array_equal(as_array(variable), as_array(piece))


def check_candidates(program, images):
    """Stored weights give what `call` gives; other weights what `call` gives with them."""
    stored = flat_value(program)[None]
    expected = as_array(program(images))
    np.testing.assert_allclose(program.transform(images, stored), expected, rtol=1e-5, atol=1e-5)
    random = np.random.default_rng(2)
    values = random.normal(0, 0.3, (len(images), stored.shape[1])).astype("float32")
    found = as_array(program.transform(images, values))
    for row, value in enumerate(values):
        for variable, piece in zip(
            program.trainable_variables, unflatten(program, value), strict=True
        ):
            variable.assign(piece)
        alone = as_array(program(images[row : row + 1]))
        np.testing.assert_allclose(found[row : row + 1], alone, rtol=1e-4, atol=1e-3)
    for variable, piece in zip(
        program.trainable_variables, unflatten(program, stored[0]), strict=True
    ):
        variable.assign(piece)


def check_live_coordinates(program, images):
    """A coordinate is live where autodiff can be nonzero: for some image, some mix of pixels."""
    live = program.live_coordinates()
    reached = np.zeros(live.shape, bool)
    # Where a pixel is clipped with one sign of the weights, it is not with the other.
    for seed, scale in ((0, 0.05), (1, -0.05)):
        set_weights(program, 0.0)
        add_to_weights(program, scale)
        with tf.GradientTape() as tape:
            found = program(images)
            mix = tf.random.stateless_uniform(tf.shape(found), (seed, 0), 0.5, 1.5)
            total = tf.reduce_sum(mix * found)
        gradients = tape.gradient(
            total,
            [v.value for v in program.trainable_variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        reached |= np.concatenate([as_array(g).reshape(-1) for g in gradients]) != 0
    np.testing.assert_array_equal(live, reached)


def check_one_trace(program, target_shape):
    traces = []

    @tf.function(input_signature=[tf.TensorSpec((None, *target_shape))])
    def call(images):
        traces.append(images.shape)
        return program(images)

    for count in (3, 2):
        images = random_images(count, target_shape)
        np.testing.assert_allclose(call(images), program(images), rtol=1e-4, atol=1e-3)
    assert len(traces) == 1


def check_config_round_trip(program):
    """Through JSON and back: the same layer, down to its answers."""
    text = json.dumps(keras.saving.serialize_keras_object(program))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert json.dumps(keras.saving.serialize_keras_object(again)) == text
    again.set_weights(program.get_weights())
    return again
