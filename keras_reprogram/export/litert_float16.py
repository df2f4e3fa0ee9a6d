"""float16 weights in a float32 graph, constants that logarithms depend on left alone."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import numpy as np
from ai_edge_litert.tools import flatbuffer_utils

# Numbers of the LiteRT schema, which is public and never renumbers.
_FLOAT32, _FLOAT16 = 0, 1
_DEQUANTIZE = 6
_FEWEST_NUMBERS = 256


def halve_weights(content: bytes) -> bytes:
    """Stores kernels and images in float16; a DEQUANTIZE each makes float32 of them again.

    The converter's own float16 rounds every constant: of an output map's 1e-7 before a logarithm
    it makes 1.19e-7, of its 1e-30 zero. Vectors and scalars, which are few, stay as they are.

    Args:
        content: a float32 LiteRT file.

    Returns:
        One of half the size.

    Example:
    ```python
    from keras_reprogram import embedded_path
    from keras_reprogram.export.litert_float16 import halve_weights

    content = embedded_path("traffic_signs.tflite").read_bytes()
    assert len(halve_weights(content)) < 0.55 * len(content)
    ```
    """
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
    """Where the list of operations has DEQUANTIZE, added if need be."""
    for position, known in enumerate(model.operatorCodes):
        if known.builtinCode == _DEQUANTIZE:
            return position
    code = type(model.operatorCodes[0])()
    code.builtinCode = code.deprecatedBuiltinCode = _DEQUANTIZE
    code.version = 3
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
