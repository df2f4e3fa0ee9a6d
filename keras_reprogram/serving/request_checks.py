"""Whether a request goes with a signature, before the model sees it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.serving.tensor_types import (
    array_type,
    served_type,
    shape_fits,
    type_name,
    wanted_shape,
)


def check_inputs(signature: Any, inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses inputs that are not the signature's, in name, type and shape.

    Args:
        signature: a `SignatureDef`.
        inputs: name -> array.

    Raises:
        ServingError: in TF Serving's words where it has any.
    """
    _check_names(set(inputs), set(signature.inputs))
    for name, array in inputs.items():
        info = signature.inputs[name]
        dtype = served_type(info.dtype)
        if dtype is None or array.dtype != array_type(dtype):
            sent = type_name(tf.string if array.dtype == object else tf.as_dtype(array.dtype))
            wanted = type_name(dtype) if dtype else f"type {info.dtype}"
            raise ServingError(f"Expects {name} to be {wanted} but {sent} is provided")
        wanted_sizes = wanted_shape(info)
        if not shape_fits(array.shape, wanted_sizes):
            sizes = ",".join("?" if size < 0 else str(size) for size in wanted_sizes or ())
            received = ",".join(map(str, array.shape))
            raise ServingError(f"Expected shape [{sizes}] but got [{received}] for {name}")


def check_outputs(signature: Any, wanted: Iterable[str]) -> None:
    """Refuses a filter of outputs that the signature does not have, or that names one twice.

    Args:
        signature: a `SignatureDef`.
        wanted: names.

    Raises:
        ServingError: in TF Serving's words.
    """
    seen: set[str] = set()
    for name in wanted:
        if name not in signature.outputs:
            raise ServingError(
                f"output tensor alias not found in signature: {name} Outputs expected to be in the "
                f"set {_braced(signature.outputs)}."
            )
        if name in seen:
            raise ServingError(f"duplicate output tensor alias: {name}")
        seen.add(name)


def rows_of(signature: Any, inputs: Mapping[str, np.ndarray]) -> int:
    """How many rows a request has: the largest first size that the signature leaves open.

    Args:
        signature: a `SignatureDef`.
        inputs: name -> array, checked.
    """
    sizes = [1]
    for name, array in inputs.items():
        wanted = wanted_shape(signature.inputs[name])
        if array.ndim and (wanted is None or wanted[0] == -1):
            sizes.append(len(array))
    return max(sizes)


def _check_names(sent: set[str], wanted: set[str]) -> None:
    if sent != wanted:
        raise ServingError(
            f"input size does not match signature: {len(sent)}!={len(wanted)} "
            f"len({_braced(sent)}) != len({_braced(wanted)}). Sent extra: {_braced(sent - wanted)}."
            f" Missing but required: {_braced(wanted - sent)}."
        )


def _braced(names: Collection[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
