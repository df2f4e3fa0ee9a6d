"""The graph of an export: one traced core, and the signatures around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_reprogram.export.encoded_images import file_decoder
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source

EXAMPLE_FEATURE = "image/encoded"


def write_saved_model(
    model: ReprogrammedModel, path: Path, *, source: Source | None = None
) -> None:
    """Writes a SavedModel with `serving_default` alone to exactly this folder, without any check.

    Args:
        model: a model whose export is not blocked.
        path: a folder that does not exist.
        source: a twin of its source, or `None`.
    """
    module = _weights_of(model, source or model.source)
    _save(module, path, {"serving_default": _core(model, source or model.source)})


def write_serving_graph(
    model: ReprogrammedModel,
    path: Path,
    source: Source,
    class_names: Sequence[str],
    labels_file: Path,
    *,
    takes_files: bool,
) -> tuple[str, ...]:
    """Writes a SavedModel with all signatures to exactly this folder, without any check.

    Args:
        model: a model whose export is not blocked.
        path: a folder that does not exist.
        source: what is embedded, the model's own or its twin.
        class_names: a name for each score.
        labels_file: stored as an asset.
        takes_files: write `image_bytes` and `classify` too.

    Returns:
        The signatures' names.
    """
    module = _weights_of(model, source)
    module.labels = tf.saved_model.Asset(str(labels_file))
    core = _core(model, source)
    signatures = {"serving_default": core}
    if takes_files:
        signatures["image_bytes"] = image_bytes = _image_bytes(model, core, class_names)
        signatures["classify"] = _classify(image_bytes)
    _save(module, path, signatures)
    return tuple(signatures)


def _weights_of(model: ReprogrammedModel, source: Source) -> tf.Module:
    module = tf.Module()
    # Keras's own writer stores every weight twice; a plain list of the variables does not.
    module.weights = [
        variable.value
        for layer in (model.program, source, model.output_map)
        for variable in layer.variables
    ]
    module.loaded = getattr(source, "loaded", None)
    return module


def _core(model: ReprogrammedModel, source: Source) -> Any:
    spec = tf.TensorSpec(model.input_shape, tf.float32, name="image")

    @tf.function(input_signature=[spec], autograph=False)
    def serving_default(image: Any) -> dict[str, Any]:
        return {"scores": model.output_map(source(model.program(image)))}

    return serving_default


def _image_bytes(model: ReprogrammedModel, core: Any, class_names: Sequence[str]) -> Any:
    decode = file_decoder(model.input_shape[1:], model.program.target_range)

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False
    )
    def image_bytes(image_bytes: Any) -> dict[str, Any]:
        scores = core(decode(image_bytes))["scores"]
        # A batching server cuts every output into rows.
        classes = tf.tile(tf.constant([list(class_names)]), [tf.shape(scores)[0], 1])
        return {"classes": classes, "scores": scores}

    return image_bytes


def _classify(image_bytes: Any) -> Any:
    features = {EXAMPLE_FEATURE: tf.io.FixedLenFeature([], tf.string)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")], autograph=False)
    def classify(inputs: Any) -> dict[str, Any]:
        return image_bytes(tf.io.parse_example(inputs, features)[EXAMPLE_FEATURE])

    return classify


def _save(module: tf.Module, path: Path, signatures: dict[str, Any]) -> None:
    # An opaque source refuses its gradient, which TensorFlow would ask for and store.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures=signatures, options=options)
