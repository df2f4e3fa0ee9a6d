"""Converts the model to the bytes of a `.tflite` file, in one of four forms."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from ai_edge_litert.tools import flatbuffer_utils

from keras_reprogram.export.graphs import write_map, write_saved_model
from keras_reprogram.export.litert_agreement import calls_of
from keras_reprogram.export.litert_targets import LiteRTPlan
from keras_reprogram.export.verdicts import verdict_of
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.frozen_source import FrozenSource
from keras_reprogram.source.network_input import quantised_layers
from keras_reprogram.source.source import Source


def convert(
    model: ReprogrammedModel,
    source: Source | None,
    plan: LiteRTPlan,
    calibrating: np.ndarray,
    report: Callable[[int], None] = lambda images: None,
) -> bytes:
    """Converts program, source and output map, with LiteRT's builtin operations only.

    Args:
        model: the model.
        source: what stands in for its source, or `None`.
        plan: the file's form, batch and input.
        calibrating: target images that ranges are taken from, of a form that calibrates.
        report: is called with the number of images after each that calibrated.
    """
    form = plan.form
    scores_only = plan.target.scores_only
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "saved_model"
        write_saved_model(
            model,
            saved,
            source=source,
            batch=plan.batch,
            rgb_input=plan.rgb_input,
            scores_only=scores_only,
        )
        converter = _converter(saved)
        if form.eight_bit:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        with _plain_failures(_advice(source or model.source)):
            if form.calibrates:
                embedded = model.source.with_asked(source) if source else model.source
                calls = calls_of(plan.taken(calibrating), plan.batch)
                content = convert_source_to_int8(converter, calls, model, embedded, report)
            else:
                content = bytes(converter.convert())
            content = halve_weights(content) if form.name == "float16" else content
        return content if scores_only else with_verdict_signature(content, model)


def convert_map(model: ReprogrammedModel) -> bytes:
    """Converts source scores -> probabilities in float32, with builtin operations only."""
    with tempfile.TemporaryDirectory() as folder:
        write_map(model, Path(folder) / "saved_model")
        content = convert_folder(Path(folder) / "saved_model")
    return with_verdict_signature(content, model)


def with_verdict_signature(content: bytes, model: ReprogrammedModel) -> bytes:
    """Gives a file of a model with a verdict two signatures: scores alone, and all outputs."""
    if (verdict := verdict_of(model)) is None:
        return content
    # Both are of the one subgraph, so that nothing is stored twice.
    file = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    (everything,), (graph,) = file.signatureDefs, file.subgraphs
    plain = copy.copy(everything)
    everything.signatureKey = verdict.names.of_images.encode()
    plain.outputs = [one for one in everything.outputs if one.name == b"scores"]
    # Clients that ask for the first output by its place find the scores.
    first = plain.outputs[0].tensorIndex
    others = [index for index in graph.outputs if index != first]
    graph.outputs = np.array([first, *others], np.int32)
    file.signatureDefs = [plain, everything]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))


def convert_folder(folder: Path) -> bytes:
    """Converts a SavedModel's `serving_default` in float32, with builtin operations only."""
    with _plain_failures():
        return _converter(folder).convert()


def _converter(folder: Path) -> Any:
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder), signature_keys=["serving_default"]
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter


@contextlib.contextmanager
def _plain_failures(advice: str = "") -> Iterator[None]:
    try:
        with _quiet():
            yield
    # TensorFlow's class for it is private, and other errors come out of the converter too.
    except Exception as error:
        raise ValueError(
            "This model cannot be converted with LiteRT's builtin operations; nothing was "
            f"written. Received: {_first_lines(error)}\n{advice or _way(error)}"
        ) from error


def _way(error: Exception) -> str:
    # What a recurrent layer is converted to, where the batch is open.
    if "TensorListReserve" in str(error):
        return (
            "A recurrent layer needs a fixed number of images a call: pass `batch=1` (--batch 1), "
            "or use `export_saved_model`."
        )
    return "Replace the layer that the message names, or use `export_saved_model`."


def _advice(source: Source) -> str:
    """Advice for a source whose layers Keras quantised; empty for any other."""
    quantised = quantised_layers(source.model) if isinstance(source, FrozenSource) else {}
    if not quantised:
        return ""
    modes = ", ".join(sorted(set(quantised.values())))
    return (
        f'The source was quantised by Keras, `quantize("{modes}")`: {len(quantised)} layers, such '
        f"as `{next(iter(quantised))}`, whose arithmetic LiteRT may not support. Build the source "
        'from the network as it was before, and choose `form="int8"` (--litert-form int8), or use '
        "`export_saved_model`."
    )


def _first_lines(error: Exception, count: int = 3) -> str:
    """The converter's message without its pages of locations."""
    return "\n".join(str(error).strip().splitlines()[:count])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses the converter's C++ output on stderr, but not what Python writes there."""
    python, saved = sys.stderr, os.dup(2)
    with Path(os.devnull).open("w") as nowhere, os.fdopen(saved, "w") as loud:
        if _is_stderr(python):
            # A progress bar is shown meanwhile.
            sys.stderr = loud
        os.dup2(nowhere.fileno(), 2)
        try:
            # TensorFlow's own tools warn of each other.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            os.dup2(saved, 2)
            sys.stderr = python


def _is_stderr(stream: Any) -> bool:
    try:
        return bool(stream.fileno() == 2)
    except (AttributeError, OSError):  # A notebook's, or a test's.
        return False


# Numbers of the LiteRT schema, which is public and never renumbers.
_FLOAT32, _FLOAT16 = 0, 1
_DEQUANTIZE = 6
_FEWEST_NUMBERS = 256


def halve_weights(content: bytes) -> bytes:
    """Stores kernels and images in float16; a DEQUANTIZE each makes float32 of them again."""
    # The converter's own float16 rounds every constant: it turns an output map's 1e-7 before a
    # logarithm into 1.19e-7, and its 1e-30 into zero. Vectors and scalars are few, so they stay in
    # float32.
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    uses = Counter(tensor.buffer for graph in model.subgraphs for tensor in graph.tensors)
    for graph in model.subgraphs:
        weights = [
            index
            for index, tensor in enumerate(graph.tensors)
            if uses[tensor.buffer] == 1 and _is_large(model, tensor)
        ]
        code = _dequantize_code(model) if weights else 0
        graph.operators = [_halve(model, graph, index, code) for index in weights] + list(
            graph.operators
        )
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _is_large(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    if tensor.type != _FLOAT32 or data is None or len(tensor.shape) < 2:
        return False
    # What float16 cannot hold stays as well.
    values = np.frombuffer(bytes(data), np.float32)
    return values.size >= _FEWEST_NUMBERS and bool(np.abs(values).max() < np.finfo(np.float16).max)


def _halve(model: Any, graph: Any, index: int, code: int) -> Any:
    """Gives the weights a float16 tensor; returns the operation that fills the old one."""
    tensor = graph.tensors[index]
    stored, buffer = copy.copy(tensor), model.buffers[tensor.buffer]
    values = np.frombuffer(bytes(buffer.data), np.float32)
    buffer.data = np.frombuffer(values.astype(np.float16).tobytes(), np.uint8)
    stored.type, stored.name = _FLOAT16, bytes(tensor.name) + b"_float16"
    # Buffer 0 is empty by the format's rule.
    tensor.buffer = 0
    graph.tensors.append(stored)
    operator = type(graph.operators[0])()
    operator.opcodeIndex = code
    operator.inputs = np.array([len(graph.tensors) - 1], np.int32)
    operator.outputs = np.array([index], np.int32)
    return operator


def _dequantize_code(model: Any) -> int:
    """Position of DEQUANTIZE in the list of operations; adds it if needed."""
    for position, known in enumerate(model.operatorCodes):
        if known.builtinCode == _DEQUANTIZE:
            return position
    code = type(model.operatorCodes[0])()
    code.builtinCode = code.deprecatedBuiltinCode = _DEQUANTIZE
    code.version = 3
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


# int8 scores have steps of 1/256: a logarithm amplifies the rounding of small scores, and a
# division by a sum that was rounded to 0 stops the interpreter.
_FLOAT_OPERATIONS = ["SOFTMAX", "LOG", "DIV"]
# What `Source.call` and `FrozenSource.answer` put around the network itself.
_AROUND_THE_NETWORK = re.compile(r"(Reshape|Cast|Reverse|[Mm]ul|[Aa]dd)\w*(;|$)")
# Numbers of CONV_2D and DEPTHWISE_CONV_2D in the LiteRT schema, which never renumbers.
_CONVOLUTIONS = {3, 4}
# Rounding errors of the first layers pass through all later ones. MobileNetV2, digits, one view,
# 200 test images: the share of equal classes is .79 with none of its 53 convolutions in float, .91
# with one, .97 with three, .98 with six, at nearly the same file size; but .79 with the last four
# instead. The embedded source, with seven convolutions, is as good entirely in int8.
_PER_FLOAT_CONVOLUTION = 8


class _Step(NamedTuple):
    """An operation: what it is, and the name of what it computes."""

    operation: int
    computes: str


def convert_source_to_int8(
    converter: Any,
    calls: np.ndarray,
    model: ReprogrammedModel,
    source: Source,
    report: Callable[[int], None] = lambda images: None,
) -> bytes:
    """Converts with int8 weights and activations in the source, float32 in the rest."""
    # The first eighth of the source's convolutions stays in float too. Measured on digits through
    # the embedded source, three views: the share of equal classes is .60 with everything in int8,
    # .83 with a float map, and 1.00 with a float program too, whose placement matrices int8 blurs.
    # Program and map are one percent of the computation.

    def samples() -> Iterator[dict[str, np.ndarray]]:
        for call in calls:
            yield {"image": call}
            report(len(call))

    converter.representative_dataset = samples
    # The one public way to leave operations out of the quantisation.
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_dataset=samples)
    debugger.options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_ops=_FLOAT_OPERATIONS,
        denylisted_nodes=_float_tensors(debugger.calibrated_model, model, source),
    )
    return debugger.get_nondebug_quantized_model()


def _float_tensors(content: bytes, model: ReprogrammedModel, source: Source) -> list[str]:
    """Names of the tensors that program, map and the source's first layers compute."""
    # The parts beside an asked source stay in float: their numbers are added as they are.
    parts = (model.program, source, model.output_map, source.beside)
    layers = {layer.name: layer for layer in parts if layer is not None}
    scope = re.compile(rf"(?:^|/)({'|'.join(map(re.escape, layers))})(?:_\d+)?/(.*)")
    steps, found = _steps(content)
    inside = []
    for step in steps:
        # A fused operation bears several names; what it computes is the first.
        match = scope.search(step.computes.partition(";")[0])
        if match and layers[match[1]] is source and not _AROUND_THE_NETWORK.match(match[2]):
            inside.append(step)
        elif match:
            found.add(step.computes)
    return sorted(found | _first_layers(inside))


def _first_layers(steps: list[_Step]) -> set[str]:
    """Names of the tensors up to the end of the first eighth of the convolutions."""
    convolutions = [index for index, step in enumerate(steps) if step.operation in _CONVOLUTIONS]
    count = len(convolutions) // _PER_FLOAT_CONVOLUTION
    end = convolutions[count - 1] + 1 if count else 0
    return {step.computes for step in steps[:end]}


def _steps(content: bytes) -> tuple[list[_Step], set[str]]:
    """The operations of a file as they run, and the names of its outputs."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    (graph,) = model.subgraphs
    names = [tensor.name.decode() for tensor in graph.tensors]
    steps = [
        _Step(model.operatorCodes[operator.opcodeIndex].builtinCode, names[operator.outputs[0]])
        for operator in graph.operators
    ]
    return steps, {names[index] for index in graph.outputs}
