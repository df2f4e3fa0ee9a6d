"""Converts between arrays and `TensorProto`, and validates what clients send."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from keras_reprogram.serving.errors import ServingError

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
    """The array in a `TensorProto`, at most `most_bytes`; texts are bytes in objects."""
    # As in TensorFlow, a field with fewer values than its shape repeats the last value. The limit
    # is needed because a large shape costs the sender nothing.
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
    """A `TensorProto` of an array."""
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
    """An object array of texts; NumPy's own type would cut zeros at their end."""
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
    """The wire field's type: NumPy refuses values that a narrow type cannot hold."""
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


# Types that JSON and TensorProto carry; TensorFlow has more, which no client can send.
_SERVED = (
    tf.bool,
    tf.bfloat16,
    tf.float16,
    tf.float32,
    tf.float64,
    tf.int8,
    tf.int16,
    tf.int32,
    tf.int64,
    tf.uint8,
    tf.uint16,
    tf.uint32,
    tf.uint64,
    tf.string,
)
# C++'s own where Python's differ.
_NAMES = {tf.float16: "half", tf.float32: "float", tf.float64: "double"}
_BY_NUMBER = {dtype.as_datatype_enum: dtype for dtype in _SERVED}


def served_type(number: int) -> tf.DType | None:
    """The type with a number of the wire format, `None` if it cannot be sent."""
    return _BY_NUMBER.get(number)


def type_name(dtype: tf.DType) -> str:
    """TF Serving's name of a type."""
    return _NAMES.get(dtype, dtype.name)


def array_type(dtype: tf.DType) -> Any:
    """NumPy's type for a type; texts are objects."""
    return np.dtype(object) if dtype == tf.string else np.dtype(dtype.as_numpy_dtype)


def wanted_shape(info: Any) -> list[int] | None:
    """The shape that a `TensorInfo` asks for: -1 for any size, `None` for any rank."""
    if info.tensor_shape.unknown_rank:
        return None
    return [dim.size for dim in info.tensor_shape.dim]


def shape_fits(shape: Sequence[int], wanted: Sequence[int] | None) -> bool:
    """Whether an array of a shape may be fed where another is wanted."""
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        need in (-1, size) for size, need in zip(shape, wanted, strict=True)
    )
