"""Checks of requests and outputs against the signature."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.tensors import (
    array_type,
    served_type,
    shape_fits,
    type_name,
    wanted_shape,
)


def check_inputs(signature: Any, inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses inputs that differ from the signature in name, type or shape."""
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
    """Refuses an output filter with unknown or repeated names."""
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
    """Number of rows of a request: the largest first size that the signature leaves open."""
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


CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


def check_classifier(signature: Any) -> None:
    """Refuses a signature that does not classify."""
    if len(signature.inputs) != 1:
        raise ServingError("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise ServingError(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if "inputs" not in signature.inputs:
        raise ServingError("No classification inputs found in SignatureDef.", "FAILED_PRECONDITION")
    if not {"classes", "scores"} & set(signature.outputs):
        raise ServingError(
            "Expected classification signature outputs to contain at least one of "
            '"classes" or "scores".',
            "FAILED_PRECONDITION",
        )


def check_regressor(signature: Any) -> None:
    """Refuses a signature that does not regress."""
    if len(signature.inputs) != 1:
        raise ServingError("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise ServingError("Expected one output Tensor.")
    for where, name in ((signature.inputs, "inputs"), (signature.outputs, "outputs")):
        if name not in where:
            raise ServingError(
                f"No regression {name} found in SignatureDef.", "FAILED_PRECONDITION"
            )


def classes_of(outputs: Mapping[str, np.ndarray], num_rows: int) -> list[list[tuple[bytes, float]]]:
    """A row of `(label, score)` for each example; `b""` and 0 for what a model does not give."""
    classes, scores = outputs.get("classes"), outputs.get("scores")
    for name, array, kind in (("classes", classes, "O"), ("scores", scores, "f")):
        if array is None:
            continue
        if array.ndim != 2:
            raise ServingError(
                f"Expected Tensor shape: [batch_size num_classes] but got {list(array.shape)}"
            )
        if array.dtype.kind != kind:
            raise ServingError(
                f"Expected {name} Tensor of {'DT_STRING' if kind == 'O' else 'DT_FLOAT'}. "
                f"Got: {array.dtype}"
            )
        if len(array) != num_rows:
            raise ServingError(
                f"Expected {name} output batch size of {num_rows}. Got: {len(array)}"
            )
    given = [array for array in (classes, scores) if array is not None]
    if len({array.shape for array in given}) != 1:
        raise ServingError("Tensors class and score should match in dim_size(1).")
    labels = classes if classes is not None else np.full(given[0].shape, b"", object)
    values = scores if scores is not None else np.zeros(given[0].shape, np.float32)
    return [
        [(label, float(value)) for label, value in zip(names, numbers, strict=True)]
        for names, numbers in zip(labels, values, strict=True)
    ]


def values_of(outputs: Mapping[str, np.ndarray], num_rows: int) -> np.ndarray:
    """A number for each example, float32 `(num_rows,)`."""
    array = outputs["outputs"]
    if array.ndim not in (1, 2) or array.shape[1:] not in ((), (1,)):
        raise ServingError(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{list(array.shape)}"
        )
    if array.dtype != np.float32:
        raise ServingError(f"Expected output Tensor of DT_FLOAT.  Got: {array.dtype}")
    if len(array) != num_rows:
        raise ServingError(
            f"Input batch size did not match output batch size: {num_rows} vs. {len(array)}"
        )
    return array.reshape(-1)
