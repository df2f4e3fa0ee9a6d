"""TensorFlow Lite's metadata of an export: what tasks APIs read of pixels and class names."""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as model_schema
from ai_edge_litert.tools import flatbuffer_utils

from keras_reprogram.export.litert_facts import LABELS_FILE, LiteRTFacts
from keras_reprogram.export.server_files import scored_classes
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.optional_packages import needs_extra

METADATA_ENTRY = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_NAMED_CLASSES = 10
# The first version of the schema; nothing that came later is used.
_MIN_PARSER_VERSION = "1.0.0"
_SCHEMA_FILE = ("tasks", "metadata", "metadata_schema_py_generated.py")


class Description(NamedTuple):
    """What a file says of itself in words.

    Args:
        name: a short name.
        description: a sentence.
        licence: terms of use, empty if nothing was said.
    """

    name: str
    description: str
    licence: str = ""


def described(
    model: ReprogrammedModel, name: str, description: str | None, licence: str
) -> Description:
    """What a file says of a model in words, unless the caller said it."""
    classes = ", ".join(scored_classes(model)[:_NAMED_CLASSES])
    more = ", ..." if model.output_map.num_classes > _NAMED_CLASSES else ""
    sentence = f"Tells {classes}{more}: a classifier reprogrammed by keras_reprogram."
    return Description(name, sentence if description is None else description, licence)


def schema_of_metadata() -> ModuleType:
    """The classes of the metadata's schema, which come with MediaPipe.

    Raises:
        ImportError: without MediaPipe; it names the command that installs it.
    """
    with needs_extra("mediapipe", "mediapipe"):
        package = importlib.util.find_spec("mediapipe")
        if package is None or not package.submodule_search_locations:
            raise ImportError("No module named 'mediapipe'")
        # Importing it as a part of its package would load OpenCV and the native library, which
        # machines without a screen often lack.
        file = Path(package.submodule_search_locations[0], *_SCHEMA_FILE)
        loader = SourceFileLoader("litert_metadata_schema", str(file))
        schema = ModuleType(loader.name)
        try:
            loader.exec_module(schema)
        except OSError as error:
            raise ImportError(f"{file} is missing; 1.2 has it") from error
        return schema


def with_metadata(content: bytes, facts: LiteRTFacts, said: Description) -> bytes:
    """Adds the metadata to a file, in the place of any that it has."""
    file = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    (graph,) = file.subgraphs
    (image,) = (graph.tensors[index] for index in graph.inputs)
    # Sets and findings have outputs beside the scores.
    names = {one.tensorIndex: one.name.decode() for one in file.signatureDefs[-1].outputs}
    outputs = [names[index] for index in graph.outputs]
    written = _pack(schema_of_metadata(), facts, said, int(image.shape[-1]), outputs)
    buffer = model_schema.BufferT()
    buffer.data = np.frombuffer(written, np.uint8)
    entry = model_schema.MetadataT()
    entry.name, entry.buffer = METADATA_ENTRY.encode(), len(file.buffers)
    file.buffers.append(buffer)
    file.metadata = [one for one in file.metadata or [] if one.name != entry.name] + [entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))


def _pack(
    schema: ModuleType, facts: LiteRTFacts, said: Description, channels: int, outputs: list[str]
) -> bytes:
    graph = schema.SubGraphMetadataT()
    graph.inputTensorMetadata = [_image(schema, facts, channels)]
    graph.outputTensorMetadata = [_output(schema, name) for name in outputs]
    model = schema.ModelMetadataT()
    model.name, model.description = said.name, said.description
    if said.licence:
        model.license = said.licence
    model.subgraphMetadata = [graph]
    model.minParserVersion = _MIN_PARSER_VERSION
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _image(schema: ModuleType, facts: LiteRTFacts, channels: int) -> Any:
    """Metadata of the input: codes of 0 to 255 become pixels as `(code - mean) / std`."""
    if facts.target_range is None:
        raise ValueError(
            "Metadata must say what pixels become. Received: a program without `target_range`."
        )
    low, high = facts.target_range
    normalisation = schema.NormalizationOptionsT()
    normalisation.mean = [-low * 255 / (high - low)]
    normalisation.std = [255 / (high - low)]
    unit = schema.ProcessUnitT()
    unit.optionsType = schema.ProcessUnitOptions.NormalizationOptions
    unit.options = normalisation
    kind = schema.ImagePropertiesT()
    colours = schema.ColorSpaceType
    kind.colorSpace = {1: colours.GRAYSCALE, 3: colours.RGB}.get(channels, colours.UNKNOWN)
    image = schema.TensorMetadataT()
    height, width, _ = facts.target_shape
    image.name = "image"
    image.description = f"Images of {height} x {width} pixels, {low:g} to {high:g}."
    image.content = schema.ContentT()
    image.content.contentPropertiesType = schema.ContentProperties.ImageProperties
    image.content.contentProperties = kind
    image.processUnits = [unit]
    image.stats = _limits(schema, low, high)
    return image


def _output(schema: ModuleType, name: str) -> Any:
    output = schema.TensorMetadataT()
    output.name = name
    output.content = schema.ContentT()
    output.content.contentPropertiesType = schema.ContentProperties.FeatureProperties
    output.content.contentProperties = schema.FeaturePropertiesT()
    if name == "scores":
        labels = schema.AssociatedFileT()
        labels.name, labels.description = LABELS_FILE, "Class names, one a line."
        labels.type = schema.AssociatedFileType.TENSOR_AXIS_LABELS
        output.description = "Probability of each class."
        output.associatedFiles = [labels]
        output.stats = _limits(schema, 0.0, 1.0)
    return output


def _limits(schema: ModuleType, low: float, high: float) -> Any:
    limits = schema.StatsT()
    limits.min, limits.max = [low], [high]
    return limits
