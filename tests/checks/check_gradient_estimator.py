"""What every gradient estimator must do. One call checks one estimator."""

import functools
import json

import keras
import numpy as np
import tensorflow as tf
from checks.check_source import small_model
from checks.tiny_models import NUM_LABELS, SHAPE, random_images, tiny_classifier

from keras_reprogram import FrozenSource, OpaqueSource

SIZE, BATCH = 24, 4
LIVE = np.arange(SIZE) % 4 != 0


def smooth_losses(candidates):
    """`(n, batch or 1, SIZE)` -> `(n, batch)`: another bowl with another ripple for each image."""
    random = np.random.default_rng(0)
    centres = tf.constant(random.normal(size=(BATCH, SIZE)), tf.float32)
    slopes = tf.constant(random.normal(size=(BATCH, SIZE)), tf.float32)
    distance = tf.reduce_mean(tf.square(candidates - centres), axis=-1)
    return distance + tf.sin(tf.reduce_sum(candidates * slopes, axis=-1) / 4)


def point():
    return tf.constant(np.random.default_rng(1).normal(size=SIZE), tf.float32)


def true_gradient(value):
    with tf.GradientTape() as tape:
        tape.watch(value)
        loss = tf.reduce_mean(smooth_losses(value[None, None]))
    return np.where(LIVE, tape.gradient(loss, value), 0.0)


def estimate(estimator, losses=smooth_losses, seed=0):
    value = point()
    clean = smooth_losses(value[None, None])[0]
    generator = keras.random.SeedGenerator(seed)
    estimator.attach(LIVE)
    return np.asarray(estimator.estimate(losses, value, clean, LIVE, generator))


def check_gradient_estimator(build):
    """All checks.

    Args:
        build: `(quality)` -> estimator. With `"many"` it asks often enough to come close to the
            gradient, with `"few"` it is as cheap as in training.
    """
    check_close_to_autodiff(build("many"))
    check_same_seed_same_estimate(build("few"))
    check_declared_cost(build("few"))
    check_config_round_trip(build("few"))
    check_close_to_the_white_box(build("many"))
    check_counted_queries(build("few"))


def check_slope_and_cosine(estimated, expected):
    slope = estimated @ expected / (expected @ expected)
    assert abs(slope - 1) < 0.05, f"slope {slope:.3f}"
    cosine = estimated @ expected / np.linalg.norm(estimated) / np.linalg.norm(expected)
    assert cosine > 0.95, f"cosine {cosine:.3f}"


def check_close_to_autodiff(estimator):
    found = estimate(estimator)
    assert found.shape == (SIZE,)
    assert (found[~LIVE] == 0).all(), "a coordinate that reaches no pixel has an estimate"
    assert (found[LIVE] != 0).all()
    check_slope_and_cosine(found, true_gradient(point()))


def check_same_seed_same_estimate(estimator):
    np.testing.assert_array_equal(estimate(estimator), estimate(estimator))
    assert not np.array_equal(estimate(estimator), estimate(estimator, seed=1))


def check_declared_cost(estimator):
    asked = []

    def losses(candidates):
        assert candidates.shape[1] in (1, BATCH)
        assert candidates.shape[2] == SIZE
        moved = np.asarray(candidates) != np.asarray(point())
        assert not moved[..., ~LIVE].any(), "a step along a coordinate that reaches no pixel"
        found = smooth_losses(candidates)
        asked.append(int(np.prod(found.shape)))
        return found

    estimate(estimator, losses)
    declared, found = estimator.queries_per_image, sum(asked) / BATCH
    assert found == declared, f"declared {declared} queries an image, asked {found:g}"


def check_config_round_trip(estimator):
    text = json.dumps(keras.saving.serialize_keras_object(estimator))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert again.get_config() == estimator.get_config()
    np.testing.assert_array_equal(estimate(again), estimate(estimator))


def opaque_equivalent(network):
    def function(images):
        return np.asarray(network(images, training=False))

    facts = {"value_range": (0, 255), "identity": "twin", "max_batch": 4096}
    return OpaqueSource(function, SHAPE, NUM_LABELS, **facts)


def step_of(model, x, y):
    """What one step of plain gradient descent with learning rate 1 takes off the program."""
    before = keras.ops.convert_to_numpy(model.program.program_weights).copy()
    model.train_on_batch(x, y)
    return (before - keras.ops.convert_to_numpy(model.program.program_weights)).reshape(-1)


def check_close_to_the_white_box(estimator):
    """The same network once with its gradient and once as a black box, through the whole model."""
    model = small_model(opaque_equivalent(tiny_classifier()), estimator)
    check_slope_and_cosine(step_of(model, *two_of_a_class()), white_box_step())


@functools.cache
def white_box_step():
    model = small_model(FrozenSource(tiny_classifier(), value_range=(0, 255)))
    return step_of(model, *two_of_a_class())


def two_of_a_class():
    """Two images whose gradients agree, so that few directions tell much."""
    return random_images(2, (6, 6, 3)), np.zeros(2, int)


def check_counted_queries(estimator):
    model = small_model(opaque_equivalent(tiny_classifier()), estimator)
    model.fit(random_images(6, (6, 6, 3)), np.arange(6) % 3, batch_size=4, verbose=0)
    assert model.source.queries_used == 6 * (1 + estimator.queries_per_image)
    assert model.queries_used == model.source.queries_used
