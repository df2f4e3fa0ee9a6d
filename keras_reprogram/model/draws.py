"""What is drawn in a training step: by random layers, by programs that learn from draws."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_reprogram.fitting.weight_copy import random_states


def seed_random_layers(layers: Iterable[keras.layers.Layer], seed_and_step: Any) -> None:
    """Sets what random layers (dropout, augmentation) draw in one training step.

    Keras counts their draws in states that no backup of weights holds. Set from the step, a
    resumed run draws what the uninterrupted one would.

    Args:
        layers: whose random layers, however deeply they are nested.
        seed_and_step: uint32 `(2,)`, the model's seed and the number of the step.
    """
    states = {id(state): state for layer in layers for state in random_states(layer)}
    start = tf.bitcast(seed_and_step, tf.int32)
    for place, state in enumerate(states.values()):
        # Each draws for itself, as layers of one seed would not.
        state.assign(tf.bitcast(tf.random.fold_in(start, place), tf.uint32))


def check_draws(estimator: Any, program: Any, output_map: Any) -> None:
    """Refuses an estimator that learns from draws where there are none, or no class is right."""
    if estimator is None or not estimator.draws:
        return
    if output_map.multi_label and getattr(estimator, "reward", None) == "top_label":
        raise ValueError(
            'The reward "top_label" is for images of one class. Received: '
            f"`{type(estimator).__name__}` for a map of several findings. Pass "
            '`reward="loss"`.'
        )
    if not program.draws:
        raise ValueError(
            f"`{type(estimator).__name__}` learns from source images that a program draws, such as "
            f"a `TextProgram`. Received: a {type(program).__name__}. Take `RandomDirections()` for "
            "programs of pixels."
        )


def warn_of_no_draws(estimator: Any, program: Any) -> None:
    """Warns of random layers in a program whose steps are estimated: they have no effect there."""
    if estimator is None or program.draws or not random_states(program):
        return
    warnings.warn(
        "Estimated steps are taken without what a program draws in training, as finite differences "
        f"are of one program. Received: a {type(program).__name__} with random layers (dropout, "
        "augmentation), which will have no effect. Leave them out, or train through a source that "
        "has a gradient.",
        stacklevel=4,
    )


def row_weights(
    estimator: Any, losses: Any, labels: Any, probabilities: Any, sample_weight: Any
) -> Any:
    """What the likelihood of each row's draw counts; labels as losses take them."""
    return estimator.row_weights(losses, _is_right(labels, probabilities), sample_weight)


def gradient_of_draws(model: Any, x: Any, drawn: Any, weights: Any, step: Any) -> Any:
    """`mean of weights * grad log p(drawn)` over rows, as one flat vector."""
    program = model.program
    places = model.gradient_estimator.position_weights(drawn.shape[2], step)
    with tf.GradientTape() as tape:
        likelihood = tf.reduce_sum(program.log_likelihood(x, drawn) * places, axis=(1, 2))
        total = tf.reduce_mean(weights * likelihood)
    parts = tape.gradient(
        total,
        [variable.value for variable in program.trainable_variables],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return tf.concat([tf.reshape(part, (-1,)) for part in parts], axis=0)


def _is_right(labels: Any, probabilities: Any) -> Any:
    """1 for rows whose own class is above all others, else 0."""
    number = probabilities.shape[-1]
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2 and labels.shape[-1] == number:
        labels = tf.argmax(labels, axis=-1)
    own = tf.one_hot(tf.cast(tf.reshape(labels, (-1,)), tf.int32), number, dtype=tf.float32)
    # A draw is no win: a source whose one answer stands for no class leaves all classes even.
    others = tf.reduce_max(probabilities - 2.0 * own, axis=-1)
    return tf.cast(tf.reduce_sum(probabilities * own, axis=-1) > others, tf.float32)
