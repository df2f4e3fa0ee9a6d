"""folded: the same answers with BatchNormalization inside the convolutions."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_reprogram import FrozenSource
from keras_reprogram.source.folded_network import folded

SHAPE = (12, 12, 3)


def with_statistics(network, seed=0):
    """Moving statistics, gammas and betas as training leaves them."""
    random = np.random.default_rng(seed)
    for weight in network.weights:
        if weight.name in ("moving_variance", "gamma"):
            weight.assign(random.uniform(0.2, 3.0, weight.shape))
        elif weight.name in ("moving_mean", "beta", "bias"):
            weight.assign(random.normal(size=weight.shape))
    return network


def norms_in(network):
    """BatchNormalizations that a network computes by themselves."""
    found = [getattr(layer, "layer", layer) for layer in network.layers]
    inner = sum(norms_in(layer) for layer in found if isinstance(layer, keras.Model))
    return inner + sum(isinstance(layer, layers.BatchNormalization) for layer in found)


def plain():
    return [
        layers.Conv2D(4, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, depth_multiplier=2),
        layers.BatchNormalization(scale=False),
        layers.Conv2D(5, 1),
        layers.BatchNormalization(center=False, axis=3, epsilon=0.1),
        layers.Dropout(0.5),
        layers.GlobalAveragePooling2D(),
        layers.Dense(6, activation="softmax"),
    ]


def sequential():
    return keras.Sequential([keras.Input(SHAPE), *plain()])


def nested():
    image = keras.Input(SHAPE)
    body = keras.Sequential([keras.Input(SHAPE), *plain()[:-2]])
    answer = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(body(image)))
    return keras.Model(image, answer)


def read_twice():
    """What reads the convolution beside the norm must not see it scaled."""
    image = keras.Input(SHAPE)
    pixels = layers.Conv2D(4, 3, padding="same")(image)
    both = layers.Concatenate()([layers.BatchNormalization()(pixels), pixels])
    return keras.Model(image, layers.Softmax()(layers.GlobalAveragePooling2D()(both)))


def used_twice():
    """One convolution in two places, one norm behind each."""
    image = keras.Input(SHAPE)
    convolution = layers.Conv2D(3, 3, padding="same")
    once = layers.BatchNormalization()(convolution(image))
    again = layers.BatchNormalization()(convolution(once))
    return keras.Model(image, layers.Softmax()(layers.GlobalAveragePooling2D()(again)))


def with_activation():
    image = keras.Input(SHAPE)
    pixels = layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(image))
    return keras.Model(image, layers.Softmax()(layers.GlobalAveragePooling2D()(pixels)))


def over_rows():
    """A norm of another axis than the channels."""
    image = keras.Input(SHAPE)
    pixels = layers.BatchNormalization(axis=1)(layers.Conv2D(10, 3)(image))
    return keras.Model(image, layers.Softmax()(layers.GlobalAveragePooling2D()(pixels)))


def with_operators():
    """Operations of the graph that are no layers, and take numbers."""
    image = keras.Input(SHAPE)
    pixels = layers.Conv2D(4, 3)(1.0 - (image / 2.0 + 0.5) ** 2)
    pixels = keras.ops.maximum(layers.BatchNormalization()(pixels), 0.0) * 3
    return keras.Model(image, layers.Softmax()(layers.GlobalAveragePooling2D()(pixels)))


@pytest.mark.parametrize(
    ("build", "left"),
    [(sequential, 0), (nested, 0), (with_operators, 0), (read_twice, 1),
     (used_twice, 2), (with_activation, 1), (over_rows, 1)],
)  # fmt: skip
def test_answers_stay_and_norms_go_where_they_can(build, left):
    network = with_statistics(build())
    view = folded(network)
    assert norms_in(view) == left
    images = np.random.default_rng(1).uniform(-1, 1, (4, *SHAPE)).astype(np.float32)
    expected = network(images, training=False).numpy()
    np.testing.assert_allclose(view(images, training=False).numpy(), expected, rtol=2e-5, atol=1e-6)
    assert np.ptp(expected) > 0.01
    if left:
        assert view is network
    # The same variables, not copies: weights that are set later count.
    with_statistics(network, seed=7)
    later = network(images, training=False).numpy()
    assert np.abs(later - expected).max() > 1e-3
    np.testing.assert_allclose(view(images, training=False).numpy(), later, rtol=2e-5, atol=1e-6)


def test_the_users_network_keeps_its_graph():
    network = with_statistics(sequential())
    source = FrozenSource(network, value_range=(-1, 1))
    convolution = network.layers[0]
    # Both raise an error where a layer has several places in graphs.
    assert convolution.output.shape == (None, 10, 10, 4)
    assert network.layers[1].input is convolution.output
    again = FrozenSource(network, value_range=(-1, 1), output="features")
    assert again.num_labels == 5
    images = np.random.default_rng(1).uniform(-1, 1, (3, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(
        source(images).numpy(), network(images, training=False).numpy(), rtol=2e-5
    )
    assert source.trainable_variables == []
    assert len(source.weights) == len(network.weights)


def test_fingerprint_and_config_are_those_of_the_network():
    network = with_statistics(sequential())
    source = FrozenSource(network, value_range=(-1, 1))
    again = FrozenSource.from_config(source.get_config())
    again.model.set_weights(network.get_weights())
    assert again.fingerprint == source.fingerprint
    images = np.random.default_rng(1).uniform(-1, 1, (3, *SHAPE)).astype(np.float32)
    np.testing.assert_array_equal(again(images).numpy(), source(images).numpy())


def test_a_kernel_larger_than_what_it_computes_is_left_alone():
    network = keras.Sequential(
        [keras.Input((2, 2, 8)), layers.Conv2D(4, 2), layers.BatchNormalization(), layers.Flatten(),
         layers.Softmax()]
    )  # fmt: skip
    assert folded(network) is network


def test_a_view_that_answers_otherwise_is_not_asked(monkeypatch):
    """Rounding of a badly scaled norm is the network's own business."""
    network = with_statistics(sequential())
    view = with_statistics(sequential(), seed=5)
    monkeypatch.setattr("keras_reprogram.source.frozen_source.folded", lambda network: view)
    source = FrozenSource(network, value_range=(-1, 1))
    images = np.random.default_rng(1).uniform(-1, 1, (3, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(source(images).numpy(), network(images, training=False).numpy())
