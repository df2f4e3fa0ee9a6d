"""Networks inside layers as configurations, without what they were compiled with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras


def network_config(network: keras.Model) -> dict[str, Any]:
    """Config of a network, from which `network_from` builds the same layers, not compiled."""
    # A network inside a layer is not trained by itself, so optimizers, losses and metrics that it
    # or a nested network was compiled with are dropped: the loss may be a function that a file
    # cannot name, and the optimizer would find none of its variables.
    return _uncompiled(keras.saving.serialize_keras_object(network))


def network_from(config: dict[str, Any]) -> keras.Model:
    """A network with new weights, not compiled."""
    return keras.saving.deserialize_keras_object(_uncompiled(config))


def _uncompiled(config: Any) -> Any:
    if isinstance(config, dict):
        known = "class_name" in config and "config" in config
        kept = (key for key in config if not (known and key == "compile_config"))
        return {key: _uncompiled(config[key]) for key in kept}
    if isinstance(config, list | tuple):
        return type(config)(_uncompiled(part) for part in config)
    return config


@contextmanager
def float32_policy() -> Iterator[None]:
    """Builds layers in float32 inside, and restores Keras's global dtype policy afterwards."""
    chosen = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(chosen)
