"""The graph of an export: three traced stages, and the signatures around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_reprogram.export.graph_decoder import grey_pixels
from keras_reprogram.export.raw_inputs import FILES, RawInput, raw_reader, vocabulary_of
from keras_reprogram.export.verdicts import Verdict, verdict_of
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.joint_source import Beside, JointSource
from keras_reprogram.source.pixel_source import PlacedSource
from keras_reprogram.source.saved_model_source import SavedModelSource
from keras_reprogram.source.source import Source


class _Stages(NamedTuple):
    """The three parts of a model, traced; of a joint source also what is beside the asked one."""

    program: Any
    source: Any
    output_map: Any
    beside: Any
    join: Callable[[Any, Any], Any]

    def asked(self, image: Any) -> dict[str, Any]:
        """What target images become, up to the answers that a map reads."""
        source_images = self.program(image)
        found = {"source_images": source_images, "source_scores": self.source(source_images)}
        if self.beside is not None:
            found["beside"] = self.beside(image)
        return found

    def answers(self, image: Any) -> Any:
        """The answers that a map reads."""
        found = self.asked(image)
        return self.join(found["source_scores"], found.get("beside"))

    def steps(self, image: Any) -> dict[str, Any]:
        """What happens to target images, from source images to probabilities."""
        found = self.asked(image)
        answers = self.join(found["source_scores"], found.get("beside"))
        return found | {"scores": self.output_map(answers)}


def write_saved_model(
    model: ReprogrammedModel,
    path: Path,
    *,
    source: Source | None = None,
    batch: int | None = None,
    rgb_input: bool = False,
    scores_only: bool = False,
) -> None:
    """Writes a SavedModel with `serving_default` alone to this folder, unchecked.

    Of a model with a verdict it also gives that, unless `scores_only`: what is converted from it is
    one graph. With a `batch` it takes that many images and no other number, and no shape is left to
    be computed. With `rgb_input` grey images come in three channels.
    """
    embedded = model.source.with_asked(source) if source else model.source
    module = module_of(model.program, embedded, model.output_map)
    stages = _stages(model, embedded, batch)
    judge = _scores_alone if scores_only else _judge(model)
    spec = image_spec(model, batch)
    if rgb_input:
        spec = tf.TensorSpec((*spec.shape[:-1], 3), spec.dtype, name=spec.name)

    @tf.function(input_signature=[spec], autograph=False)
    def serving_default(image: Any) -> dict[str, Any]:
        if rgb_input:
            # The converter to int8 leaves what bears the program's name in float.
            with tf.name_scope(model.program.name):
                image = grey_pixels(image)
        answers = stages.answers(image)
        return judge(answers, stages.output_map(answers))

    save_module(module, path, {"serving_default": serving_default})


def write_map(model: ReprogrammedModel, path: Path) -> None:
    """As `write_saved_model`, for source scores in place of images."""
    output_map = traced(model.output_map, model.asker.answer_shape)
    judge = _judge(model)

    @tf.function(input_signature=[scores_spec(model)], autograph=False)
    def serving_default(source_scores: Any) -> dict[str, Any]:
        return judge(source_scores, output_map(source_scores))

    save_module(module_of(model.output_map), path, {"serving_default": serving_default})


def _scores_alone(source_scores: Any, scores: Any) -> dict[str, Any]:
    return {"scores": scores}


def _judge(model: ReprogrammedModel) -> Callable[[Any, Any], dict[str, Any]]:
    verdict = verdict_of(model)
    if verdict is None:
        return _scores_alone

    def judge(source_scores: Any, scores: Any) -> dict[str, Any]:
        # The converter to int8 leaves what bears the map's name in float.
        with tf.name_scope(model.output_map.name):
            return {"scores": scores, **verdict.judge(source_scores, scores)}

    return judge


def write_serving_graph(
    model: ReprogrammedModel,
    path: Path,
    source: Source,
    class_names: Sequence[str],
    labels_file: Path,
    *,
    raw: RawInput | None,
) -> tuple[str, ...]:
    """Writes a SavedModel with all signatures, unchecked; returns the signatures' names."""
    module = module_of(model.program, source, model.output_map)
    keep_vocabulary(module, model)
    module.labels = tf.saved_model.Asset(str(labels_file))
    stages = _stages(model, source)
    serving_default = _serving_default(model, stages)
    signatures = {"serving_default": serving_default}
    if raw is not None:
        of_raw = raw_signature(model, raw, _with_classes(serving_default, class_names))
        signatures |= {raw.signature: of_raw, "classify": _classify(raw, of_raw)}
    signatures["steps"] = _steps(model, stages)
    if (verdict := verdict_of(model)) is not None:
        signatures |= _verdict_signatures(model, verdict, stages, class_names, raw)
    save_module(module, path, signatures)
    return tuple(signatures)


def image_spec(model: ReprogrammedModel, batch: int | None = None) -> tf.TensorSpec:
    """Target images as a signature takes them, any number of them unless `batch` says."""
    return tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32, name="image")


def scores_spec(model: ReprogrammedModel) -> tf.TensorSpec:
    """Answers of the source as a signature takes them, any number of them."""
    return tf.TensorSpec((None, *model.asker.answer_shape), tf.float32, name="source_scores")


def raw_signature(
    model: ReprogrammedModel, raw: RawInput, answer: Callable[[Any], dict[str, Any]]
) -> Any:
    """The signature `image_bytes` or `text`: string `(n,)` -> the outputs."""
    read = raw_reader(model)

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name=raw.signature)], autograph=False
    )
    def of_raw(contents: Any) -> dict[str, Any]:
        return answer(read(contents))

    return of_raw


def _stages(model: ReprogrammedModel, source: Source, batch: int | None = None) -> _Stages:
    num_views = model.queries_per_prediction
    beside = source.beside
    return _Stages(
        traced(model.program, model.input_shape[1:], batch),
        traced(source, (num_views, *source.source_shape), batch),
        traced(model.output_map, source.answer_shape(num_views), batch),
        None if beside is None else traced(beside, model.input_shape[1:], batch),
        source.join,
    )


def _serving_default(model: ReprogrammedModel, stages: _Stages) -> Any:
    @tf.function(input_signature=[image_spec(model)], autograph=False)
    def serving_default(image: Any) -> dict[str, Any]:
        return {"scores": stages.output_map(stages.answers(image))}

    return serving_default


def _steps(model: ReprogrammedModel, stages: _Stages) -> Any:
    @tf.function(input_signature=[image_spec(model)], autograph=False)
    def steps(image: Any) -> dict[str, Any]:
        return stages.steps(image)

    return steps


def _with_classes(
    serving_default: Any, class_names: Sequence[str]
) -> Callable[[Any], dict[str, Any]]:
    def answer(image: Any) -> dict[str, Any]:
        scores = serving_default(image)["scores"]
        return {"classes": _named_rows(scores, class_names), "scores": scores}

    return answer


def _named_rows(scores: Any, class_names: Sequence[str]) -> Any:
    # A batching server cuts every output into rows.
    return tf.tile(tf.constant([list(class_names)]), [tf.shape(scores)[0], 1])


def _verdict_signatures(
    model: ReprogrammedModel,
    verdict: Verdict,
    stages: _Stages,
    class_names: Sequence[str],
    raw: RawInput | None,
) -> dict[str, Any]:
    """What a verdict adds: that of images, of image files, and of answers of the source."""
    of_scores = verdict_of_scores(model, verdict, stages.output_map, class_names)

    @tf.function(input_signature=[image_spec(model)], autograph=False)
    def of_images(image: Any) -> dict[str, Any]:
        return of_scores(stages.answers(image))

    found = {verdict.names.of_images: of_images}
    if raw is FILES:
        found[verdict.names.of_files] = raw_signature(model, raw, of_images)
    return found | {verdict.names.of_scores: of_scores}


def verdict_of_scores(
    model: ReprogrammedModel, verdict: Verdict, output_map: Any, class_names: Sequence[str]
) -> Any:
    """The signature that reads answers of the source: `source_scores` -> verdict and scores."""

    @tf.function(input_signature=[scores_spec(model)], autograph=False)
    def of_scores(source_scores: Any) -> dict[str, Any]:
        scores = output_map(source_scores)
        found = verdict.judge(source_scores, scores)
        return {"classes": _named_rows(scores, class_names), "scores": scores, **found}

    return of_scores


def _classify(raw: RawInput, of_raw: Any) -> Any:
    features = {raw.feature: tf.io.FixedLenFeature([], tf.string)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")], autograph=False)
    def classify(inputs: Any) -> dict[str, Any]:
        return of_raw(tf.io.parse_example(inputs, features)[raw.feature])

    return classify


def traced(layer: keras.layers.Layer, shape: tuple[int, ...], batch: int | None = None) -> Any:
    """A layer as a graph of its own, for float32 `(n, *shape)`; any `n` unless `batch` says."""
    spec = tf.TensorSpec((batch, *shape), tf.float32)

    @tf.function(input_signature=[spec], autograph=False)
    def stage(rows: Any) -> Any:
        return layer(rows)

    return stage


def module_of(*layers: keras.layers.Layer) -> tf.Module:
    """The module that holds each weight of the layers once; assets may be set on it."""
    module = tf.Module()
    # Keras's own writer stores every weight twice; a plain list of the variables does not.
    module.weights = [variable.value for layer in layers for variable in layer.variables]
    module.loaded = [loaded for layer in layers for loaded in _loaded_models(layer)]
    return module


def keep_vocabulary(module: tf.Module, model: ReprogrammedModel) -> None:
    """Keeps the table of tokens with the graph, of a model of texts."""
    if (vocabulary := vocabulary_of(model)) is not None:
        module.vocabulary = vocabulary.layer


def _loaded_models(layer: keras.layers.Layer) -> list[Any]:
    """SavedModels inside a layer, which have to be kept with the graph."""
    if isinstance(layer, SavedModelSource):
        return [layer.loaded]
    inside: list[keras.layers.Layer] = []
    if isinstance(layer, JointSource):
        inside = [layer.asked_part(), layer.beside]
    elif isinstance(layer, Beside):
        inside = list(layer.parts)
    elif isinstance(layer, PlacedSource):
        inside = [layer.source]
    return [loaded for part in inside for loaded in _loaded_models(part)]


def save_module(module: tf.Module, path: Path, signatures: Mapping[str, Any]) -> None:
    """Writes a SavedModel to this folder, unchecked."""
    # An opaque source refuses its gradient, which TensorFlow would ask for and store.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures=dict(signatures), options=options)


def write_program_half(
    model: ReprogrammedModel, path: Path, *, raw: RawInput | None
) -> tuple[str, ...]:
    """Writes target images -> source images as a SavedModel, unchecked."""
    program = traced(model.program, model.input_shape[1:])
    beside = model.source.beside
    near = None if beside is None else traced(beside, model.input_shape[1:])

    def answer(image: Any) -> dict[str, Any]:
        return {"source_images": program(image)} | ({"beside": near(image)} if near else {})

    @tf.function(input_signature=[image_spec(model)], autograph=False)
    def serving_default(image: Any) -> dict[str, Any]:
        return answer(image)

    signatures = {"serving_default": serving_default}
    if raw is not None:
        signatures[raw.signature] = raw_signature(model, raw, answer)
    layers = [model.program] if beside is None else [model.program, beside]
    module = module_of(*layers)
    keep_vocabulary(module, model)
    save_module(module, path, signatures)
    return tuple(signatures)


def write_map_half(
    model: ReprogrammedModel, path: Path, class_names: Sequence[str], labels_file: Path
) -> tuple[str, ...]:
    """Writes source scores -> target probabilities as a SavedModel, unchecked."""
    output_map = traced(model.output_map, model.asker.answer_shape)

    @tf.function(input_signature=[scores_spec(model)], autograph=False)
    def serving_default(source_scores: Any) -> dict[str, Any]:
        return {"scores": output_map(source_scores)}

    signatures = {"serving_default": serving_default}
    if (verdict := verdict_of(model)) is not None:
        signature = verdict_of_scores(model, verdict, output_map, class_names)
        signatures[verdict.names.of_scores] = signature
    module = module_of(model.output_map)
    module.labels = tf.saved_model.Asset(str(labels_file))
    save_module(module, path, signatures)
    return tuple(signatures)
