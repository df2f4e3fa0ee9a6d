"""What TF Serving's messages hold: images, scores, and the signatures of a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_reprogram.source.remote.failures import SourceRefusedError
from keras_reprogram.source.remote.pixel_payloads import decoded, pixel_levels

SIGNATURES_FIELD = "signature_def"
# tensorflow.DataType: the numbers are part of the wire format.
_FLOAT, _DOUBLE, _STRING = 1, 2, 7
_FLOATS = {_FLOAT: ("<f4", "float_val"), _DOUBLE: ("<f8", "double_val")}


def fill_with_files(tensor: Any, payloads: list[bytes]) -> None:
    """Writes encoded images into an empty tensor.

    Args:
        tensor: a `TensorProto`.
        payloads: the images.
    """
    tensor.dtype = _STRING
    tensor.tensor_shape.dim.add(size=len(payloads))
    tensor.string_val.extend(payloads)


def fill_with_pixels(tensor: Any, payloads: list[bytes], value_range: tuple[float, float]) -> None:
    """Writes the pixels of encoded images into an empty tensor.

    Args:
        tensor: a `TensorProto`.
        payloads: the images.
        value_range: `(low, high)` of the pixels.
    """
    pixels = pixel_levels(value_range)[decoded(payloads)]
    tensor.dtype = _FLOAT
    for size in pixels.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = pixels.astype("<f4").tobytes()


def array_of(tensor: Any) -> np.ndarray:
    """The scores in a `TensorProto`.

    Raises:
        ValueError: for any other type than floats.
    """
    if tensor.dtype not in _FLOATS:
        raise ValueError(
            f"Scores must be of type DT_FLOAT or DT_DOUBLE. Received: type {tensor.dtype}. "
            "Pass the `output_name` of the scores."
        )
    dtype, field = _FLOATS[tensor.dtype]
    values = np.frombuffer(tensor.tensor_content, dtype)
    if not tensor.tensor_content:
        values = np.array(getattr(tensor, field), dtype)
    return values.reshape([dim.size for dim in tensor.tensor_shape.dim])


def only_input(answer: Any, signature_name: str) -> str:
    """The name of a signature's input.

    Args:
        answer: a `GetModelMetadataResponse`.
        signature_name: of a signature that should be in it.

    Raises:
        SourceRefusedError: if there is no such signature, or it has several inputs.
    """
    from tensorflow_serving.apis import get_model_metadata_pb2 as metadata

    found = metadata.SignatureDefMap()
    answer.metadata[SIGNATURES_FIELD].Unpack(found)
    if signature_name not in found.signature_def:
        raise SourceRefusedError(
            f"`signature_name` must be a signature of the model: "
            f"{', '.join(sorted(found.signature_def))}. Received: {signature_name!r}."
        )
    inputs = sorted(found.signature_def[signature_name].inputs)
    if len(inputs) != 1:
        raise SourceRefusedError(
            f"The signature {signature_name!r} must have one input, for the images. "
            f"Received: {', '.join(inputs)}. Pass another `signature_name`."
        )
    return inputs[0]
