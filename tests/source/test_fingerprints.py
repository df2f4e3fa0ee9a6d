"""Networks of equal weights that answer differently are told apart; a network stays itself."""

import keras
import pytest
import tensorflow as tf

from keras_reprogram import FrozenSource
from keras_reprogram.source.fingerprints import network_facts

SHAPE = (8, 8, 3)


def network(*layers, before=lambda image: image, kind=keras.Model):
    """A classifier whose last layer has the same weights each time."""
    image = keras.Input(SHAPE)
    values = before(image)
    for layer in layers:
        values = layer(values)
    values = keras.layers.GlobalAveragePooling2D()(values)
    values = keras.layers.Dense(2, "softmax", kernel_initializer="ones")(values)
    return kind(image, values)


def conv(activation="relu", **options):
    return keras.layers.Conv2D(3, 1, activation=activation, kernel_initializer="ones", **options)


class Net(keras.Model):
    """Functional, in a class of its own, which keeps its configuration for itself."""


class Silent(keras.layers.Layer):
    """Without a configuration."""

    def __init__(self, thing=None):
        super().__init__()
        self.thing = thing

    def call(self, images):
        return images

    def get_config(self):
        raise NotImplementedError


@keras.saving.register_keras_serializable("test_network_facts")
class Told(Silent):
    """With any configuration."""

    def get_config(self):
        return {"thing": self.thing}


class Odd(Told):
    """With one that is no ordinary one."""

    def get_config(self):
        return self.thing


class Subclassed(keras.Model):
    def __init__(self, activation):
        super().__init__()
        self.layer = conv(activation)

    def call(self, images):
        return self.layer(images)


def turned(first, second):
    """A network of two inputs inside another."""
    one, two = keras.Input(SHAPE), keras.Input(SHAPE)
    inner = keras.Model([one, two], one - 0.5 * two)
    return network(before=lambda i: inner([i * first, i * second]))


def shifted(k):
    return lambda image: image * k


PAIRS = {
    "constants": [lambda k=k: network(before=lambda i: i / k) for k in (255.0, 127.5)],
    "slices": [lambda k=k: network(before=lambda i: i[:, k]) for k in (
        slice(4, None), slice(None, 4))],
    "wiring": [
        lambda: network(before=lambda i: (i * 2.0) - (i + 1.0)),
        lambda: network(before=lambda i: (i + 1.0) - (i * 2.0)),
    ],
    "inputs": [lambda: turned(1.0, 2.0), lambda: turned(2.0, 1.0)],
    "lambda": [
        lambda: network(keras.layers.Lambda(lambda i: i / 255)),
        lambda: network(keras.layers.Lambda(lambda i: i / 50)),
    ],
    "closure": [lambda k=k: network(keras.layers.Lambda(shifted(k))) for k in (1.0, 2.0)],
    "normalization": [
        lambda k=k: network(keras.layers.Normalization(mean=[k] * 3, variance=[1, 1, 1]))
        for k in (0, 127)
    ],
    "epsilon": [
        lambda k=k: network(keras.layers.BatchNormalization(epsilon=k)) for k in (1e-3, 0.1)
    ],
    "relu": [lambda k=k: network(keras.layers.ReLU(max_value=k)) for k in (None, 6)],
    "strides": [lambda k=k: network(conv(strides=k)) for k in (1, 2)],
    "resizing": [
        lambda k=k: network(keras.layers.Resizing(4, 4, interpolation=k))
        for k in ("nearest", "bilinear")
    ],
    "filling": [
        lambda k=k: network(
            keras.layers.Resizing(4, 8, pad_to_aspect_ratio=True, fill_value=k)
        ) for k in (0, 9)
    ],
    "wrapped layer": [
        lambda k=k: network(keras.layers.TimeDistributed(
            keras.layers.Dense(3, k, kernel_initializer="ones"))) for k in ("relu", "tanh")
    ],
    "activation layer": [
        lambda k=k: network(conv(keras.layers.LeakyReLU(k))) for k in (0.1, 0.3)
    ],
    "configuration": [lambda k=k: network(Told(k)) for k in (1, 2)],
    "nested": [
        lambda k=k: network(keras.Sequential([keras.Input(SHAPE), conv(k)]))
        for k in ("relu", "tanh")
    ],
}  # fmt: skip


@pytest.mark.fast_cases(6)
@pytest.mark.parametrize("kind", PAIRS)
def test_what_answers_differently_is_told_apart_and_stays_itself(kind, tmp_path) -> None:
    prints = []
    for make in PAIRS[kind]:
        model = make()
        prints.append(FrozenSource(model, value_range=(0, 255)).fingerprint)
        again = FrozenSource(make(), value_range=(0, 255)).fingerprint
        assert again == prints[-1], "built again by the same code"
        model.save(tmp_path / "network.keras")
        loaded = keras.models.load_model(tmp_path / "network.keras", safe_mode=False)
        assert FrozenSource(loaded, value_range=(0, 255)).fingerprint == prints[-1]
    assert len(set(prints)) == len(prints)


OWN = {
    # Keras saves these two, and cannot load them.
    "function in a lambda": [
        lambda: network(keras.layers.Lambda(lambda i: tf.nn.relu(i))),
        lambda: network(keras.layers.Lambda(lambda i: tf.nn.tanh(i))),
    ],
    "default": [
        lambda: network(keras.layers.Lambda(lambda i, k=1.0: i * k)),
        lambda: network(keras.layers.Lambda(lambda i, k=2.0: i * k)),
    ],
    "functional in a class": [
        lambda k=k: network(conv(k), kind=Net, before=lambda i: i / 255) for k in ("relu", "tanh")
    ],
    "constants in a class": [
        lambda k=k: network(kind=Net, before=lambda i: i / k) for k in (255.0, 50.0)
    ],
    "subclassed inside": [lambda k=k: network(Subclassed(k)) for k in ("relu", "tanh")],
    "beside a silent layer": [lambda k=k: network(conv(k), Silent()) for k in ("relu", "tanh")],
    "a subclass of Keras's": [lambda k=k: network(Told({"layers": k})) for k in (1, 2)],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", OWN)
def test_classes_of_ones_own(kind) -> None:
    prints = [[FrozenSource(make(), value_range=(0, 255)).fingerprint for make in OWN[kind]]
              for _ in range(2)]  # fmt: skip
    assert prints[0] == prints[1]
    assert prints[0][0] != prints[0][1]


@pytest.mark.parametrize(
    "config", [{"layers": 2}, {"layers": [1]}, {"a": object()}, {0: 1, "a": 2}, {"a": {1, 2}}]
)
def test_odd_configurations_are_no_failure(config) -> None:
    facts = network_facts(network(Odd(config), conv()))
    assert facts == network_facts(network(Odd(config), conv()))
    assert any("relu" in fact for fact in facts)


def test_defaults_are_left_out_and_names_with_them() -> None:
    """So that a newer Keras with one more setting finds the same network."""
    facts = str(network_facts(network(conv(name="first"))))
    for default in ("strides", "use_bias", "groups", "initializer", "name", "first"):
        assert default not in facts
    assert facts == str(network_facts(network(conv(name="other"))))
    assert "strides" in str(network_facts(network(conv(strides=2))))
