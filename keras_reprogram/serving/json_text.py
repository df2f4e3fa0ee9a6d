"""JSON as TF Serving reads and writes it: NaN and Infinity are numbers, layout included."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_reprogram.serving.serving_error import ServingError

_INDENT, _MOST_SHOWN = 4, 40


def parse_object(body: bytes) -> dict[str, Any]:
    """The object in a request's body.

    Args:
        body: as sent.

    Raises:
        ServingError: for anything else.
    """
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
    """A value of a request in an error, cut.

    Args:
        value: as `parse_object` made it.
    """
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
    """What TF Serving calls the kind of a JSON value.

    Args:
        value: as `parse_object` made it.
    """
    if value is None or isinstance(value, bool):
        return "Null" if value is None else str(value)
    kinds: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return kinds.get(type(value), "Number")


def text_of(value: str) -> str:
    """A string with its quotes.

    Args:
        value: any text.
    """
    return json.dumps(value, ensure_ascii=False)


def numbers_of(array: np.ndarray) -> list[str]:
    """Each number of an array as JSON, in order: the fewest digits that give it back.

    Args:
        array: of any shape; floats keep a point or an exponent, and may be NaN or Infinity.
    """
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
    """A list of values that are JSON already.

    Args:
        items: the values.
        level: of the list in the document; 0 is the outermost.
        one_line: all values on one line.
        closed_below: the last bracket on a line of its own, even so.
    """
    inner, outer = _line(level + 1), _line(level)
    if not items:
        return "[]"
    if one_line:
        return f"[{', '.join(items)}{outer if closed_below else ''}]"
    return f"[{inner}{f',{inner}'.join(items)}{outer}]"


def object_of(members: Sequence[tuple[str, str]], level: int) -> str:
    """An object of values that are JSON already.

    Args:
        members: names and values.
        level: of the object in the document.
    """
    inner = _line(level + 1)
    lines = (f"{inner}{text_of(name)}: {value}" for name, value in members)
    return f"{{{','.join(lines)}{_line(level)}}}"


def error_text(text: str) -> bytes:
    """The body of an error.

    Args:
        text: what went wrong.
    """
    return object_of([("error", text_of(text))], 0).encode("utf-8", "replace")


def _line(level: int) -> str:
    return "\n" + " " * (_INDENT * level)
