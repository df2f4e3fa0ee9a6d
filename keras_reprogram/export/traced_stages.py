"""Stages of a model as graphs: traced once each, so that signatures call them and copy nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf


def traced(layer: keras.layers.Layer, shape: tuple[int, ...]) -> Any:
    """A layer as a graph of its own.

    Args:
        layer: program, source or output map.
        shape: of a row of its input.

    Returns:
        float32 `(n, *shape)` -> what the layer makes of it.
    """
    spec = tf.TensorSpec((None, *shape), tf.float32)

    @tf.function(input_signature=[spec], autograph=False)
    def stage(rows: Any) -> Any:
        return layer(rows)

    return stage


def module_of(*layers: keras.layers.Layer) -> tf.Module:
    """What a SavedModel holds beside its signatures: each weight of the layers, once.

    Args:
        layers: those that the signatures run.

    Returns:
        A module; assets may be set on it.
    """
    module = tf.Module()
    # Keras's own writer stores every weight twice; a plain list of the variables does not.
    module.weights = [variable.value for layer in layers for variable in layer.variables]
    module.loaded = [layer.loaded for layer in layers if hasattr(layer, "loaded")]
    return module


def save_module(module: tf.Module, path: Path, signatures: Mapping[str, Any]) -> None:
    """Writes a SavedModel to exactly this folder, without any check.

    Args:
        module: what `module_of` returned.
        path: a folder that does not exist.
        signatures: name -> `tf.function`.
    """
    # An opaque source refuses its gradient, which TensorFlow would ask for and store.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures=dict(signatures), options=options)
