"""Converts the JSON of predict requests to arrays of TensorFlow's types."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.json_answers import kind_of, shown
from keras_reprogram.serving.tensors import array_of_texts, array_type, served_type, type_name

_MOST_DIMENSIONS = 32
# Binary digits of the floats: larger integers are not exact.
_DIGITS = {tf.float16: 11, tf.bfloat16: 8, tf.float32: 24, tf.float64: 53}


def array_of_json(value: Any, type_number: int) -> np.ndarray:
    """An array of a number, a text, or evenly nested lists of them."""
    dtype = served_type(type_number)
    if dtype is None:
        raise ServingError(f"Conversion of JSON values to type {type_number} is not possible.")
    shape: list[int] = []
    values = [value]
    # Level by level, so that a deep document needs no deep stack.
    while values and isinstance(values[0], list):
        size = len(values[0])
        if len(shape) == _MOST_DIMENSIONS or not all(_is_list(one, size) for one in values):
            raise ServingError(_uneven(values, shape, size))
        shape.append(size)
        values = list(chain.from_iterable(values))
    _check_leaves(values, shape)
    return _leaves(values, dtype).reshape(shape)


def is_base64(value: Any) -> bool:
    """Whether a JSON value stands for bytes: `{"b64": "..."}`."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def bytes_of(value: Any) -> bytes:
    """The bytes of a text, or of a base64 object."""
    try:
        if isinstance(value, str):
            return value.encode()
        text = "".join(value["b64"].split())
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ServingError("Unable to base64 decode") from None
    # UnicodeEncodeError is one too.
    except ValueError:
        raise ServingError(f"JSON Value: {shown(value)} is not formatted correctly.") from None


def _is_list(value: Any, size: int) -> bool:
    return type(value) is list and len(value) == size


def _uneven(values: list[Any], shape: list[int], size: int) -> str:
    level = len(shape)
    if level == _MOST_DIMENSIONS:
        return f"Encountered list at unexpected level: {level} expected < {level}"
    wrong = next(one for one in values if not _is_list(one, size))
    if isinstance(wrong, list):
        return (
            f"Encountered list at unexpected size: {len(wrong)} at level: {level} expected size: "
            f"{size}"
        )
    return (
        f"JSON Value: {shown(wrong)} found at incorrect level: {level + 1} in the JSON DOM. "
        f"Expected at level: {level + _depth(values[0])}"
    )


def _depth(value: Any) -> int:
    depth = 0
    while isinstance(value, list):
        value, depth = value[0] if value else None, depth + 1
    return depth


def _check_leaves(values: list[Any], shape: list[int]) -> None:
    if any(type(value) is list for value in values):
        level = len(shape)
        raise ServingError(f"Encountered list at unexpected level: {level} expected < {level}")


def _leaves(values: list[Any], dtype: tf.DType) -> np.ndarray:
    kind = array_type(dtype)
    if dtype == tf.string:
        return array_of_texts([bytes_of(_checked(value, dtype, _is_text)) for value in values])
    fits: set[type] = {int}
    if dtype == tf.bool or dtype.is_floating:
        fits = {bool} if dtype == tf.bool else {int, float}
    if not set(map(type, values)) <= fits:
        for value in values:
            _checked(value, dtype, lambda one: type(one) in fits)
    return _numbers(values, dtype, kind)


def _numbers(values: list[Any], dtype: tf.DType, kind: np.dtype) -> np.ndarray:
    if dtype.is_floating:
        _check_precision(values, dtype)
    try:
        # NumPy refuses integers that the type cannot hold.
        return np.array(values, kind)
    except OverflowError:
        low, high = dtype.limits
        wrong = next(value for value in values if not low <= value <= high)
        raise ServingError(_type_error(wrong, dtype)) from None


def _check_precision(values: list[Any], dtype: tf.DType) -> None:
    """As TF Serving does: integers must be exact, other numbers in range."""
    exact = 2 ** _DIGITS[dtype] - 1
    integers = [value for value in values if type(value) is int]
    wrong: Any = max(integers, key=abs, default=0)
    if abs(wrong) <= exact:
        others = np.array([value for value in values if type(value) is float], np.float64)
        with np.errstate(over="ignore"):
            held = np.isfinite(others.astype(dtype.as_numpy_dtype))
        large = others[np.isfinite(others) & ~held]
        if not len(large):
            return
        wrong = float(large[0])
    raise ServingError(
        f"Cannot convert JSON value: {shown(wrong)} to {type_name(dtype)} without loss of "
        "precision."
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or is_base64(value)


def _checked(value: Any, dtype: tf.DType, fits: Callable[[Any], bool]) -> Any:
    if not fits(value):
        if isinstance(value, dict) and dtype == tf.string:
            raise ServingError(
                f"JSON Value: {shown(value)} not formatted correctly for base64 data"
            )
        raise ServingError(_type_error(value, dtype))
    return value


def _type_error(value: Any, dtype: tf.DType) -> str:
    return (
        f"JSON Value: {shown(value)} Type: {kind_of(value)} is not of expected type: "
        f"{type_name(dtype)}"
    )


def inputs_of_json(document: Mapping[str, Any], signature: Any) -> dict[str, np.ndarray]:
    """The inputs of a predict request, name -> array."""
    types = {name: signature.inputs[name].dtype for name in sorted(signature.inputs)}
    if "instances" in document and "inputs" in document:
        raise ServingError(
            f"JSON Value: {shown(document)} Not formatted correctly expecting only one of 'inputs' "
            "or 'instances' keys to exist "
        )
    if "instances" in document:
        return _rows(document, types)
    if "inputs" in document:
        return _columns(document["inputs"], types)
    raise ServingError("Missing 'inputs' or 'instances' key")


def signature_name_of(document: Mapping[str, Any]) -> str:
    """The signature that a request names, or `""`."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise ServingError(
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be "
            "a string value."
        )
    return name


def _rows(document: Mapping[str, Any], types: Mapping[str, int]) -> dict[str, np.ndarray]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise ServingError(
            f"JSON Value: {shown(document)} Excepting 'instances' to be an list/array"
        )
    if not instances:
        raise ServingError(f"JSON Value: {shown(document)} No values in 'instances' array")
    if _is_named(instances[0]):
        return _named_rows(instances, types)
    if len(types) > 1:
        raise ServingError(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    for number, row in enumerate(instances):
        if _is_named(row):
            raise ServingError(
                f"Expecting value/list but got object at item {number} of input list"
            )
    ((name, dtype),) = types.items()
    return {name: _stacked(instances, dtype)}


def _named_rows(instances: list[Any], types: Mapping[str, int]) -> dict[str, np.ndarray]:
    for number, row in enumerate(instances):
        if not _is_named(row):
            raise ServingError(f"Expecting object but got list at item {number} of input list")
        for name in row:
            if name not in types:
                raise ServingError(
                    f"Failed to process element: {number} key: {name} of 'instances' list. Error: "
                    f"INVALID_ARGUMENT: JSON object: does not have named input: {name}"
                )
        if row.keys() != types.keys():
            raise ServingError(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{shown(row)} keys must be equal to: {','.join(types)}"
            )
    return {
        name: _stacked([row[name] for row in instances], dtype, name)
        for name, dtype in types.items()
    }


def _stacked(rows: list[Any], dtype: int, name: str | None = None) -> np.ndarray:
    """All rows as one array; if that fails, the row that it fails for is named."""
    try:
        return array_of_json(rows, dtype)
    except ServingError:
        key = "" if name is None else f" key: {name}"
        first: tuple[int, ...] | None = None
        for number, row in enumerate(rows):
            said = _fault(row, dtype, first)
            if isinstance(said, str):
                raise ServingError(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: "
                    f"INVALID_ARGUMENT: {said}"
                ) from None
            first = said
        raise


def _fault(row: Any, dtype: int, first: tuple[int, ...] | None) -> str | tuple[int, ...]:
    """The error in a row, else its shape."""
    try:
        shape = array_of_json(row, dtype).shape
    except ServingError as error:
        return error.text
    if first is not None and shape != first:
        wanted, received = (",".join(map(str, sizes)) for sizes in (first, shape))
        return f"Expecting shape [{wanted}] but got: [{received}]"
    return shape


def _columns(inputs: Any, types: Mapping[str, int]) -> dict[str, np.ndarray]:
    if not _is_named(inputs):
        if len(types) > 1:
            raise ServingError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        ((name, dtype),) = types.items()
        return {name: array_of_json(inputs, dtype)}
    for name in types:
        if name not in inputs:
            raise ServingError(f"Missing named input: {name} in 'inputs' object.")
    return {name: array_of_json(inputs[name], dtype) for name, dtype in types.items()}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)
