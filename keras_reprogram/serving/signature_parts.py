"""Signature definitions of models that are no SavedModel as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

PREDICT_METHOD = "tensorflow/serving/predict"


def tensor_info(*, is_text: bool, row_shape: Sequence[int]) -> Any:
    """The `TensorInfo` of any number of rows.

    Args:
        is_text: or else float32.
        row_shape: of a row.
    """
    dtype = tf.string if is_text else tf.float32
    info = meta_graph_pb2.TensorInfo(dtype=dtype.as_datatype_enum)
    for size in (-1, *row_shape):
        info.tensor_shape.dim.add(size=size)
    return info


def signature_definition(
    inputs: Mapping[str, Any], outputs: Mapping[str, Any], method: str = PREDICT_METHOD
) -> Any:
    """A `SignatureDef`.

    Args:
        inputs: name -> `TensorInfo`.
        outputs: name -> `TensorInfo`.
        method: what TF Serving may do with it.
    """
    return meta_graph_pb2.SignatureDef(inputs=inputs, outputs=outputs, method_name=method)
