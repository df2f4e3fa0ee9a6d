"""Converts the JSON of classify and regress requests to `tf.Example`s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.json_answers import kind_of, shown
from keras_reprogram.serving.json_requests import bytes_of, is_base64

_INT64 = np.iinfo(np.int64)


def examples_of_json(document: Mapping[str, Any]) -> list[bytes]:
    """The serialized examples of a JSON request, each with the context's features."""
    context = _example(document["context"]) if "context" in document else b""
    if "examples" not in document:
        raise ServingError(
            f"JSON Value: {shown(document)} When method is classify, key 'examples' is expected "
            "and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise ServingError(
            f"JSON Value: {shown(document)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise ServingError(f"JSON Value: {shown(document)} 'examples' value is an empty array")
    # Serialized messages merge where one follows the other.
    return [context + _example(example) for example in examples]


def _example(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise ServingError(f"Example must be JSON object but got JSON {kind_of(value)}")
    example = tf.train.Example()
    for name, content in value.items():
        values = content if isinstance(content, list) else [content]
        try:
            feature = example.features.feature[name]
        # Half a character is no UTF-8, which names must be.
        except ValueError:
            raise ServingError("Names of features must be UTF-8 text.") from None
        _fill(feature, name, values)
    return example.SerializeToString()


def _fill(feature: Any, name: str, values: list[Any]) -> None:
    kinds = {_kind(name, value) for value in values}
    if len(kinds) > 1:
        first = _kind(name, values[0])
        raise ServingError(
            f"Unexpected element type in feature: {name} expecting type: {first.split('_')[0]}"
        )
    for kind in kinds:
        read = {"bytes_list": bytes_of, "float_list": _float, "int64_list": _integer}[kind]
        getattr(feature, kind).value.extend([read(value) for value in values])


def _kind(name: str, value: Any) -> str:
    if isinstance(value, str) or is_base64(value):
        return "bytes_list"
    if isinstance(value, float):
        return "float_list"
    if isinstance(value, int):
        return "int64_list"
    raise ServingError(f"Feature: {name} has element with unexpected JSON type: {kind_of(value)}")


def _float(value: float) -> float:
    with np.errstate(over="ignore"):
        held = np.isfinite(np.float32(value))
    if np.isfinite(value) and not held:
        raise ServingError(
            f"Cannot convert JSON value: {shown(value)} to float without loss of precision."
        )
    return value


def _integer(value: int) -> int:
    if not _INT64.min <= value <= _INT64.max:
        raise ServingError(f"{shown(value)} is no int64 element. Only int64 is supported.")
    return int(value)


def serialized_examples(given: Any) -> list[bytes]:
    """The serialized examples of an `Input`, each with the context's features."""
    if given.WhichOneof("kind") == "example_list_with_context":
        listed = given.example_list_with_context
        # Serialized messages merge where one follows the other.
        context = listed.context.SerializeToString()
        return [context + example.SerializeToString() for example in listed.examples]
    return [example.SerializeToString() for example in given.example_list.examples]
