"""Full int8 of the source but for its first layers; program and output map stay in float."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from ai_edge_litert.tools import flatbuffer_utils

from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source

# int8 scores come in steps of 1/256: a logarithm makes noise of the small ones, and a division by
# a sum that was rounded to 0 stops the interpreter.
_FLOAT_OPERATIONS = ["SOFTMAX", "LOG", "DIV"]
# What `Source.call` and `FrozenSource.answer` put around the network itself.
_AROUND_THE_NETWORK = re.compile(r"(Reshape|Cast|Reverse|[Mm]ul|[Aa]dd)\w*(;|$)")
# Numbers of CONV_2D and DEPTHWISE_CONV_2D in the LiteRT schema, which never renumbers.
_CONVOLUTIONS = {3, 4}
# What the first layers round goes through all others. MobileNetV2, digits, one view, 200 test
# images: the share of equal answers is .79 with none of its 53 convolutions in float, .91 with
# one, .97 with three, .98 with six, for a file as small; and .79 with the last four instead. The
# seven convolutions of the embedded source are as good in int8.
_PER_FLOAT_CONVOLUTION = 8


class _Step(NamedTuple):
    """An operation: what it is, and the name of what it computes."""

    operation: int
    computes: str


def convert_source_to_int8(
    converter: Any, images: np.ndarray, model: ReprogrammedModel, source: Source
) -> bytes:
    """Converts with int8 weights and activations in the source, float32 in the rest.

    The first eighth of the source's convolutions belongs to the rest.

    Measured on the digits through the embedded source, three views: the share of equal answers
    is .60 with everything in int8, .83 with a float map, and 1.00 with a float program too, whose
    placement matrices int8 blurs. Program and map are a percent of the work.

    Args:
        converter: a `TFLiteConverter` that was told to optimise.
        images: float32 `(n, h, w, c)`, which ranges are taken from.
        model: whose program and output map stay as they are.
        source: what is embedded.

    Returns:
        The file's content; input and output are float32.
    """

    def samples() -> Iterator[dict[str, np.ndarray]]:
        for image in images:
            yield {"image": image[None]}

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
    layers = {layer.name: layer for layer in (model.program, source, model.output_map)}
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
    """What is computed up to the end of the first eighth of the convolutions."""
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
