"""Tensors in TF Serving's messages, as a fake server reads and writes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_reprogram.testing.served_model import RefusedError

# tensorflow.DataType: the numbers are part of the wire format.
_FLOAT, _STRING = 1, 7


def images_of_tensor(tensor: Any, kind: str) -> Any:
    """Encoded images, or pixels, of a `TensorProto`.

    Args:
        tensor: as sent.
        kind: `"encoded"` or `"pixels"`.
    """
    wanted = _FLOAT if kind == "pixels" else _STRING
    if tensor.dtype != wanted:
        names = {_FLOAT: "float", _STRING: "string"}
        raise RefusedError(
            f"Expects arg[0] to be {names[wanted]} but {names.get(tensor.dtype, 'another')} is "
            "provided"
        )
    if kind == "encoded":
        return list(tensor.string_val)
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, "<f4").reshape(shape)
    return np.array(tensor.float_val, np.float32).reshape(shape)


def fill_tensor(tensor: Any, rows: list[Any]) -> None:
    """Writes numbers or words into a `TensorProto`.

    Args:
        tensor: an empty one.
        rows: of one length.
    """
    values = np.array(rows)
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    if values.dtype.kind == "U":
        tensor.dtype = _STRING
        tensor.string_val.extend(value.encode() for value in values.ravel())
    else:
        tensor.dtype = _FLOAT
        tensor.float_val.extend(values.ravel())


def describe_tensor(info: Any, is_string: bool, shape: list[int]) -> None:
    """Writes type and shape into a `TensorInfo`.

    Args:
        info: an empty one.
        is_string: or else float.
        shape: -1 for any number of images.
    """
    info.dtype = _STRING if is_string else _FLOAT
    for size in shape:
        info.tensor_shape.dim.add(size=size)
