"""JSON bodies: parses requests and formats answers byte for byte as TF Serving does."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_reprogram.serving.errors import ServingError


def predictions_text(outputs: Mapping[str, np.ndarray]) -> bytes:
    """The answer to a predict request by rows."""
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
    """The answer to a predict request by columns."""
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        return _body("outputs", _whole(name, array, 1))
    members = [(name, _whole(name, array, 2)) for name, array in outputs.items()]
    return _body("outputs", object_of(members, 1))


def classes_text(rows: Sequence[Sequence[tuple[bytes, float]]]) -> bytes:
    """The answer to a classify request: `(label, score)` of each class of each example."""
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
    """The answer to a regress request."""
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


_INDENT, _MOST_SHOWN = 4, 40


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body."""
    if not body:
        raise ServingError("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except RecursionError:
        raise ServingError("JSON Parse error: the document is nested too deeply") from None
    except ValueError as error:
        # Not the document itself: it may be long, and no text at all.
        said = "the document is no UTF-8 text"
        if isinstance(error, json.JSONDecodeError):
            said = f"{error.msg} at offset: {error.pos}"
        raise ServingError(f"JSON Parse error: {said}") from None
    if not isinstance(document, dict):
        raise ServingError(f"JSON Value: {shown(document)} Is not object")
    return document


def shown(value: Any) -> str:
    """A value of a request in an error, shortened."""
    if isinstance(value, str):
        value = value[:_MOST_SHOWN]
    elif isinstance(value, list | dict) and len(value) > _MOST_SHOWN:
        return "[...]" if isinstance(value, list) else "{...}"
    try:
        text = json.dumps(value)
    except RecursionError:
        return "[...]"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def kind_of(value: Any) -> str:
    """TF Serving's name for the kind of a JSON value."""
    if value is None or isinstance(value, bool):
        return "Null" if value is None else str(value)
    kinds: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return kinds.get(type(value), "Number")


def text_of(value: str) -> str:
    """A string with its quotes."""
    return json.dumps(value, ensure_ascii=False)


def numbers_of(array: np.ndarray) -> list[str]:
    """Each number of an array as JSON, in order: the fewest digits that give it back."""
    flat = array.ravel()
    if flat.dtype == bool:
        return ["true" if value else "false" for value in flat.tolist()]
    if flat.dtype.kind in "iu":
        return [str(value) for value in flat.tolist()]
    exact = flat if flat.dtype == np.float64 else flat.astype(np.float32)
    digits = 17 if exact.dtype == np.float64 else 9
    values = exact.tolist()
    texts = [f"{value:.6g}" for value in values]
    for index in np.flatnonzero(np.array(texts, exact.dtype) != exact):
        texts[index] = f"{values[index]:.{digits}g}"
    return [_SPECIAL.get(text) or _pointed(text) for text in texts]


_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _pointed(text: str) -> str:
    return text if "." in text or "e" in text else f"{text}.0"


def list_of(items: Sequence[str], level: int, *, one_line: bool, closed_below: bool = False) -> str:
    """A list of values that are JSON already; level 0 is the outermost."""
    inner, outer = _line(level + 1), _line(level)
    if not items:
        return "[]"
    if one_line:
        return f"[{', '.join(items)}{outer if closed_below else ''}]"
    return f"[{inner}{f',{inner}'.join(items)}{outer}]"


def object_of(members: Sequence[tuple[str, str]], level: int) -> str:
    """An object of values that are JSON already."""
    inner = _line(level + 1)
    lines = (f"{inner}{text_of(name)}: {value}" for name, value in members)
    return f"{{{','.join(lines)}{_line(level)}}}"


def error_text(text: str) -> bytes:
    """The body of an error."""
    return object_of([("error", text_of(text))], 0).encode("utf-8", "replace")


def _line(level: int) -> str:
    return "\n" + " " * (_INDENT * level)
