"""The graph of an export: three traced stages, and the signatures around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_reprogram.export.graph_decoder import file_decoder
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.saved_model_source import SavedModelSource
from keras_reprogram.source.source import Source

EXAMPLE_FEATURE = "image/encoded"


class _Stages(NamedTuple):
    """The three parts of a model, traced."""

    program: Any
    source: Any
    output_map: Any


def write_saved_model(
    model: ReprogrammedModel, path: Path, *, source: Source | None = None
) -> None:
    """Writes a SavedModel with `serving_default` alone to this folder, unchecked."""
    embedded = source or model.source
    module = module_of(model.program, embedded, model.output_map)
    serving_default = _serving_default(model, _stages(model, embedded))
    save_module(module, path, {"serving_default": serving_default})


def write_serving_graph(
    model: ReprogrammedModel,
    path: Path,
    source: Source,
    class_names: Sequence[str],
    labels_file: Path,
    *,
    takes_files: bool,
) -> tuple[str, ...]:
    """Writes a SavedModel with all signatures, unchecked; returns the signatures' names."""
    module = module_of(model.program, source, model.output_map)
    module.labels = tf.saved_model.Asset(str(labels_file))
    stages = _stages(model, source)
    serving_default = _serving_default(model, stages)
    signatures = {"serving_default": serving_default}
    if takes_files:
        image_bytes = file_signature(model, _with_classes(serving_default, class_names))
        signatures |= {"image_bytes": image_bytes, "classify": _classify(image_bytes)}
    signatures["steps"] = _steps(model, stages)
    save_module(module, path, signatures)
    return tuple(signatures)


def image_spec(model: ReprogrammedModel) -> tf.TensorSpec:
    """Target images as a signature takes them, any number of them."""
    return tf.TensorSpec(model.input_shape, tf.float32, name="image")


def file_signature(model: ReprogrammedModel, answer: Callable[[Any], dict[str, Any]]) -> Any:
    """The signature `image_bytes`: string `(n,)`, image files -> the outputs."""
    decode = file_decoder(model.input_shape[1:], model.program.target_range)

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False
    )
    def image_bytes(image_bytes: Any) -> dict[str, Any]:
        return answer(decode(image_bytes))

    return image_bytes


def _stages(model: ReprogrammedModel, source: Source) -> _Stages:
    num_views = model.queries_per_prediction
    return _Stages(
        traced(model.program, model.input_shape[1:]),
        traced(source, (num_views, *source.source_shape)),
        traced(model.output_map, (num_views, source.num_labels)),
    )


def _serving_default(model: ReprogrammedModel, stages: _Stages) -> Any:
    @tf.function(input_signature=[image_spec(model)], autograph=False)
    def serving_default(image: Any) -> dict[str, Any]:
        return {"scores": stages.output_map(stages.source(stages.program(image)))}

    return serving_default


def _steps(model: ReprogrammedModel, stages: _Stages) -> Any:
    @tf.function(input_signature=[image_spec(model)], autograph=False)
    def steps(image: Any) -> dict[str, Any]:
        source_images = stages.program(image)
        source_scores = stages.source(source_images)
        return {
            "source_images": source_images,
            "source_scores": source_scores,
            "scores": stages.output_map(source_scores),
        }

    return steps


def _with_classes(
    serving_default: Any, class_names: Sequence[str]
) -> Callable[[Any], dict[str, Any]]:
    def answer(image: Any) -> dict[str, Any]:
        scores = serving_default(image)["scores"]
        # A batching server cuts every output into rows.
        classes = tf.tile(tf.constant([list(class_names)]), [tf.shape(scores)[0], 1])
        return {"classes": classes, "scores": scores}

    return answer


def _classify(image_bytes: Any) -> Any:
    features = {EXAMPLE_FEATURE: tf.io.FixedLenFeature([], tf.string)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")], autograph=False)
    def classify(inputs: Any) -> dict[str, Any]:
        return image_bytes(tf.io.parse_example(inputs, features)[EXAMPLE_FEATURE])

    return classify


def traced(layer: keras.layers.Layer, shape: tuple[int, ...]) -> Any:
    """A layer as a graph of its own, for float32 `(n, *shape)`."""
    spec = tf.TensorSpec((None, *shape), tf.float32)

    @tf.function(input_signature=[spec], autograph=False)
    def stage(rows: Any) -> Any:
        return layer(rows)

    return stage


def module_of(*layers: keras.layers.Layer) -> tf.Module:
    """The module that holds each weight of the layers once; assets may be set on it."""
    module = tf.Module()
    # Keras's own writer stores every weight twice; a plain list of the variables does not.
    module.weights = [variable.value for layer in layers for variable in layer.variables]
    module.loaded = [layer.loaded for layer in layers if isinstance(layer, SavedModelSource)]
    return module


def save_module(module: tf.Module, path: Path, signatures: Mapping[str, Any]) -> None:
    """Writes a SavedModel to this folder, unchecked."""
    # An opaque source refuses its gradient, which TensorFlow would ask for and store.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures=dict(signatures), options=options)


def write_program_half(
    model: ReprogrammedModel, path: Path, *, takes_files: bool
) -> tuple[str, ...]:
    """Writes target images -> source images as a SavedModel, unchecked."""
    program = traced(model.program, model.input_shape[1:])

    @tf.function(input_signature=[image_spec(model)], autograph=False)
    def serving_default(image: Any) -> dict[str, Any]:
        return {"source_images": program(image)}

    signatures = {"serving_default": serving_default}
    if takes_files:
        signatures["image_bytes"] = file_signature(
            model, lambda images: {"source_images": program(images)}
        )
    save_module(module_of(model.program), path, signatures)
    return tuple(signatures)


def write_map_half(model: ReprogrammedModel, path: Path, labels_file: Path) -> tuple[str, ...]:
    """Writes source scores -> target probabilities as a SavedModel, unchecked."""
    shape = (model.queries_per_prediction, model.source.num_labels)
    output_map = traced(model.output_map, shape)
    spec = tf.TensorSpec((None, *shape), tf.float32, name="source_scores")

    @tf.function(input_signature=[spec], autograph=False)
    def serving_default(source_scores: Any) -> dict[str, Any]:
        return {"scores": output_map(source_scores)}

    module = module_of(model.output_map)
    module.labels = tf.saved_model.Asset(str(labels_file))
    save_module(module, path, {"serving_default": serving_default})
    return ("serving_default",)
