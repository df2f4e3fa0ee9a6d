"""The bodies of answers, laid out as TF Serving lays them out."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence

import numpy as np

from keras_reprogram.serving.json_text import list_of, numbers_of, object_of, text_of
from keras_reprogram.serving.serving_error import ServingError


def predictions_text(outputs: Mapping[str, np.ndarray]) -> bytes:
    """The answer to a request by rows.

    Args:
        outputs: name -> array, all with as many rows.

    Raises:
        ServingError: for outputs that have no rows, or different numbers of them.
    """
    rows = {len(array) if array.ndim else -1 for array in outputs.values()}
    if rows == {-1} or len(rows) != 1:
        shapes = {name: list(array.shape) for name, array in outputs.items()}
        raise ServingError(
            f"Outputs must have a row for each instance. Received: {shapes}. Send 'inputs' "
            "instead of 'instances'."
        )
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        rows_text = _parts(name, array, 1, one_line=True)
        listed = list_of(rows_text, 1, one_line=True, closed_below=True)
    else:
        columns = {name: _parts(name, outputs[name], 2, one_line=True) for name in outputs}
        objects = [
            object_of(list(zip(columns, row, strict=True)), 2)
            for row in zip(*columns.values(), strict=True)
        ]
        listed = list_of(objects, 1, one_line=False)
    return _body("predictions", listed)


def outputs_text(outputs: Mapping[str, np.ndarray]) -> bytes:
    """The answer to a request by columns.

    Args:
        outputs: name -> array.
    """
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        return _body("outputs", _whole(name, array, 1))
    members = [(name, _whole(name, array, 2)) for name, array in outputs.items()]
    return _body("outputs", object_of(members, 1))


def classes_text(rows: Sequence[Sequence[tuple[bytes, float]]]) -> bytes:
    """The answer to a classify request.

    Args:
        rows: `(label, score)` of each class of each example.
    """
    scores = iter(numbers_of(np.array([score for row in rows for _, score in row], np.float32)))
    listed = [
        list_of(
            [list_of([_text(label), next(scores)], 3, one_line=True) for label, _ in row],
            2,
            one_line=True,
        )
        for row in rows
    ]
    return _body("results", list_of(listed, 1, one_line=True, closed_below=True))


def values_text(values: np.ndarray) -> bytes:
    """The answer to a regress request.

    Args:
        values: one an example.
    """
    return _body("results", list_of(numbers_of(values), 1, one_line=True))


def _body(key: str, value: str) -> bytes:
    return object_of([(key, value)], 0).encode("utf-8", "replace")


def _whole(name: str, array: np.ndarray, level: int) -> str:
    return _nested(_leaves(name, array, level + array.ndim), array.shape, level, one_line=False)


def _parts(name: str, array: np.ndarray, level: int, *, one_line: bool) -> list[str]:
    """Each row of an array as JSON."""
    leaves = _leaves(name, array, level + array.ndim)
    size = math.prod(array.shape[1:])
    return [
        _nested(leaves[start * size : (start + 1) * size], array.shape[1:], level + 1, one_line)
        for start in range(len(array))
    ]


def _nested(leaves: list[str], shape: Sequence[int], level: int, one_line: bool) -> str:
    if not shape:
        return leaves[0]
    size = math.prod(shape[1:])
    parts = [
        _nested(leaves[start * size : (start + 1) * size], shape[1:], level + 1, one_line)
        for start in range(shape[0])
    ]
    return list_of(parts, level, one_line=one_line)


def _leaves(name: str, array: np.ndarray, level: int) -> list[str]:
    if array.dtype != object:
        return numbers_of(array)
    if name.endswith("_bytes"):
        return [
            object_of([("b64", text_of(base64.b64encode(value).decode()))], level)
            for value in array.ravel()
        ]
    return [_text(value) for value in array.ravel()]


def _text(value: bytes) -> str:
    return text_of(value.decode("utf-8", "replace"))
