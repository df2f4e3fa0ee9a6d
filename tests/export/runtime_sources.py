"""The sources of the subjects; MLflow stores this module, and makes a program's source by it."""

import keras

from keras_reprogram import FrozenSource, embedded_path


def traffic_signs() -> FrozenSource:
    """The embedded source: 32 pixels, small enough for a board."""
    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    return FrozenSource(network, value_range=(0, 255))


def mobilenet() -> FrozenSource:
    """The smallest MobileNet with ImageNet's weights."""
    return FrozenSource.from_application("MobileNet", alpha=0.25, input_shape=(128, 128, 3))


def mobilenet_v2() -> FrozenSource:
    """MobileNetV2 as it comes: 224 pixels."""
    return FrozenSource.from_application("MobileNetV2")
