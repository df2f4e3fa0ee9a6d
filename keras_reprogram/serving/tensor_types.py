"""TensorFlow's types in messages, and NumPy's for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

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
    """The type with a number of the wire format.

    Args:
        number: of `tensorflow.DataType`.

    Returns:
        A type, or `None` for one that cannot be sent, such as a resource.
    """
    return _BY_NUMBER.get(number)


def type_name(dtype: tf.DType) -> str:
    """What TF Serving calls a type in its messages.

    Args:
        dtype: a served type.
    """
    return _NAMES.get(dtype, dtype.name)


def array_type(dtype: tf.DType) -> Any:
    """NumPy's type for a type; texts are objects.

    Args:
        dtype: a served type.
    """
    return np.dtype(object) if dtype == tf.string else np.dtype(dtype.as_numpy_dtype)


def wanted_shape(info: Any) -> list[int] | None:
    """The shape that a `TensorInfo` asks for: -1 for any size, `None` for any rank."""
    if info.tensor_shape.unknown_rank:
        return None
    return [dim.size for dim in info.tensor_shape.dim]


def shape_fits(shape: Sequence[int], wanted: Sequence[int] | None) -> bool:
    """Whether an array of a shape may be fed where another is wanted.

    Args:
        shape: of the array.
        wanted: as of `wanted_shape`.
    """
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        need in (-1, size) for size, need in zip(shape, wanted, strict=True)
    )
