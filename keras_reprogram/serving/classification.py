"""TF Serving's rules for signatures that classify and regress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_reprogram.serving.serving_error import ServingError

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"


def check_classifier(signature: Any) -> None:
    """Refuses a signature that does not classify.

    Args:
        signature: a `SignatureDef`.

    Raises:
        ServingError: in TF Serving's words.
    """
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
    """Refuses a signature that does not regress.

    Args:
        signature: a `SignatureDef`.

    Raises:
        ServingError: in TF Serving's words.
    """
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
    """A row of `(label, score)` for each example; `b""` and 0 for what a model does not give.

    Args:
        outputs: of a classifying signature.
        num_rows: examples that were sent.

    Raises:
        ServingError: for outputs of other shapes or types.
    """
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
    """A number for each example, float32 `(num_rows,)`.

    Args:
        outputs: of a regressing signature.
        num_rows: examples that were sent.

    Raises:
        ServingError: for outputs of other shapes or types.
    """
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
