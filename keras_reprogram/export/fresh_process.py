"""Checks an export in a fresh process, as a server would use it.

`check_reloaded` hands the text of this file to another Python, in which neither this package nor
Keras can be imported; hence it imports nothing of either, and reads the warm-up file by itself.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

_PREDICT, _CLASSIFY = 6, 2


def check(version: Path, exchange: Path) -> None:
    """Runs the inputs in `exchange` through each signature, and replays the warm-up requests."""
    signatures = tf.saved_model.load(str(version)).signatures
    for name, signature in signatures.items():
        (spec,) = signature.structured_input_signature[1].values()
        asked = tf.io.parse_tensor((exchange / f"{name}.input").read_bytes(), spec.dtype)
        for output, value in ask(signature, asked).items():
            if value.dtype != object:
                np.save(exchange / f"{name}.{output}.npy", value)
    warmup = version / "assets.extra/tf_serving_warmup_requests"
    count = replay(signatures, warmup) if warmup.exists() else 0
    (exchange / "replayed").write_text(str(count))


def ask(signature, rows) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """A signature's outputs, checked to have one row for each input row."""
    ((key, _),) = signature.structured_input_signature[1].items()
    outputs = {name: value.numpy() for name, value in signature(**{key: rows}).items()}
    for name, value in outputs.items():
        # Class names without a row for each image would have one axis, as flags of images do.
        least = 2 if value.dtype == object else 1
        if value.ndim < least or len(value) != len(rows):
            raise ValueError(f"{name}: expected {len(rows)} rows. Received: {value.shape}.")
    return outputs


def replay(signatures, file: Path) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Replays all requests of a warm-up file; returns their number."""
    count = 0
    for record in tf.data.TFRecordDataset([str(file)]).as_numpy_iterator():
        name, rows = read_request(record)
        ask(signatures[name], rows)
        count += 1
    return count


def read_request(record: bytes) -> tuple[str, object]:
    """The signature and the input rows of a `PredictionLog`."""
    ((kind, log),) = fields(record)
    request = dict(fields(dict(fields(log))[1]))
    signature = dict(fields(request[1]))[3].decode()
    if kind == _PREDICT:
        tensor = dict(fields(request[2]))[2]
        return signature, tf.constant(tf.make_ndarray(tensor_pb2.TensorProto.FromString(tensor)))
    if kind == _CLASSIFY:
        ((_, example_list),) = fields(request[2])
        return signature, tf.constant([example for _, example in fields(example_list)])
    raise ValueError(f"Expected a PredictLog or a ClassifyLog. Received: field {kind}.")


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and payload of each length-delimited field of a protocol buffer."""
    position = 0
    while position < len(message):
        tag, position = varint(message, position)
        length, position = varint(message, position)
        yield tag >> 3, message[position : position + length]
        position += length


def varint(message: bytes, position: int) -> tuple[int, int]:
    """A varint, and the position after it."""
    value = shift = 0
    while True:
        byte = message[position]
        value, shift, position = value | (byte & 127) << shift, shift + 7, position + 1
        if byte < 128:
            return value, position


if __name__ == "__main__":
    check(Path(sys.argv[1]), Path(sys.argv[2]))
