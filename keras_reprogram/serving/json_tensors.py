"""Arrays out of the JSON of a predict request, by rows or by columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_reprogram.serving.json_text import shown
from keras_reprogram.serving.json_values import array_of_json, is_base64
from keras_reprogram.serving.serving_error import ServingError


def inputs_of_json(document: Mapping[str, Any], signature: Any) -> dict[str, np.ndarray]:
    """The inputs of a predict request.

    Args:
        document: the request.
        signature: the `SignatureDef` that it names.

    Returns:
        Input -> array.

    Raises:
        ServingError: in TF Serving's words.
    """
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
    """The signature that a request names, or `""`.

    Args:
        document: the request.

    Raises:
        ServingError: if the name is no text.
    """
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
    """What is wrong with a row, else its shape."""
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
