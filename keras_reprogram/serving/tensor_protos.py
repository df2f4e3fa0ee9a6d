"""Arrays in and out of TensorFlow's `TensorProto`, from clients that may send anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.serving.tensor_types import array_type, served_type

# Type -> the field that holds its values where `tensor_content` does not.
_FIELDS = {
    tf.bool: "bool_val",
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int8: "int_val",
    tf.int16: "int_val",
    tf.int32: "int_val",
    tf.int64: "int64_val",
    tf.uint8: "int_val",
    tf.uint16: "int_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.string: "string_val",
}
_HALVES = (tf.float16, tf.bfloat16)


def array_of_proto(proto: Any, most_bytes: int) -> np.ndarray:
    """The array in a `TensorProto`.

    Args:
        proto: as sent. As in TensorFlow, a field with fewer values than the shape has repeats its
            last one.
        most_bytes: that the array may take; a shape costs the sender nothing.

    Returns:
        An array; texts are objects that hold bytes.

    Raises:
        ServingError: if type, shape and values do not go together.
    """
    dtype = served_type(proto.dtype)
    if dtype is None:
        raise ServingError(f"Tensors of type {proto.dtype} cannot be sent.")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape) or len(shape) > 32:
        raise ServingError(f"A tensor must have a full shape. Received: {_shown(shape)}.")
    kind = array_type(dtype)
    size = math.prod(shape)
    if size * kind.itemsize > most_bytes:
        raise ServingError(
            f"A tensor must take at most {most_bytes:,} bytes. Received: shape {_shown(shape)}."
        )
    if proto.tensor_content:
        return _content(proto.tensor_content, kind, shape)
    return _filled(_values(proto, dtype, kind), size, kind).reshape(shape)


def proto_of_array(array: np.ndarray) -> Any:
    """A `TensorProto` of an array.

    Args:
        array: numbers, or objects that hold bytes.
    """
    if array.dtype == object:
        return tf.make_tensor_proto(array, tf.string)
    dtype = tf.as_dtype(array.dtype)
    if dtype not in _FIELDS:
        return tf.make_tensor_proto(array)
    # As TF Serving answers: clients in other languages read the typed fields.
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, _FIELDS[dtype]).extend(array.ravel().tolist())
    return proto


def array_of_texts(texts: Sequence[bytes]) -> np.ndarray:
    """A one-dimensional array of `object` that holds texts.

    Args:
        texts: as bytes; NumPy's own type for them would cut zeros at their end.
    """
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def _content(content: bytes, kind: np.dtype, shape: list[int]) -> np.ndarray:
    if kind.hasobject or len(content) != math.prod(shape) * kind.itemsize:
        raise ServingError(
            f"`tensor_content` must hold exactly the values of shape {_shown(shape)}. "
            f"Received: {len(content)} bytes."
        )
    values = np.frombuffer(content, kind)
    if kind.kind == "b":
        # Any other byte than 0 and 1 is no bool to NumPy.
        values = np.frombuffer(content, np.uint8) != 0
    return values.reshape(shape)


def _values(proto: Any, dtype: tf.DType, kind: np.dtype) -> np.ndarray:
    if dtype in _HALVES:
        return np.array([bits & 0xFFFF for bits in proto.half_val], np.uint16).view(kind)
    return np.array(getattr(proto, _FIELDS[dtype]), _wide(kind)).astype(kind)


def _wide(kind: np.dtype) -> Any:
    """The type of the field: NumPy refuses what does not fit, TensorFlow cuts it."""
    return np.int32 if kind.kind in "iu" and kind.itemsize < 4 else kind


def _filled(values: np.ndarray, size: int, kind: np.dtype) -> np.ndarray:
    if len(values) > size:
        raise ServingError(f"A tensor of {size} values was expected. Received: {len(values)}.")
    if len(values) == size:
        return values
    if not len(values):
        if kind.hasobject:
            raise ServingError(f"A tensor of {size} texts was expected. Received: none.")
        return np.zeros(size, kind)
    return np.concatenate([values, np.repeat(values[-1:], size - len(values))])


def _shown(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape[:32]))}]"
