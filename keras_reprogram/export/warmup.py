"""The warm-up file: requests that TF Serving puts to a version before it takes traffic.

Its records are `PredictionLog`s. Everything in them is a field with a length, so that they are
put together here, and an export needs none of the packages that define them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.export.serving_graph import EXAMPLE_FEATURE

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"


def write_warmup(
    folder: Path,
    name: str,
    target_shape: tuple[int, int, int],
    signatures: Sequence[str],
    batch_sizes: Sequence[int],
) -> None:
    """Writes a request for each signature and batch size; one of one image for `steps`.

    Args:
        folder: the version folder.
        name: what the server calls the model.
        target_shape: `(h, w, c)`.
        signatures: those of an export.
        batch_sizes: images a request.
    """
    files = _example_files(target_shape) if "image_bytes" in signatures else []
    (folder / WARMUP_FILE).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        for signature, size in _requests(signatures, batch_sizes):
            asked = _field(1, _field(1, name.encode()) + _field(3, signature.encode()))
            contents = list(itertools.islice(itertools.cycle(files), size))
            if signature == "classify":
                writer.write(_classify_log(asked, contents))
            elif signature == "image_bytes":
                tensor = tf.make_tensor_proto(contents, tf.string)
                writer.write(_predict_log(asked, "image_bytes", tensor))
            else:
                writer.write(_predict_log(asked, "image", _zeros((size, *target_shape))))


def _requests(signatures: Sequence[str], batch_sizes: Sequence[int]) -> list[tuple[str, int]]:
    # `steps` calls what the others call, and people look at one image at a time.
    sizes = {signature: batch_sizes for signature in signatures} | {"steps": (1,)}
    return [(signature, size) for signature in signatures for size in sizes[signature]]


def _predict_log(asked: bytes, key: str, tensor: Any) -> bytes:
    entry = _field(1, key.encode()) + _field(2, tensor.SerializeToString())
    request = asked + _field(2, entry)
    return _field(6, _field(1, request))


def _classify_log(asked: bytes, contents: Sequence[bytes]) -> bytes:
    example_list = b"".join(_field(1, example_of(content)) for content in contents)
    request = asked + _field(2, _field(1, example_list))
    return _field(2, _field(1, request))


def example_of(content: bytes) -> bytes:
    """A serialized `tf.Example` that holds an image file, as `classify` takes it.

    Args:
        content: the file.

    Returns:
        The bytes.
    """
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    features = tf.train.Features(feature={EXAMPLE_FEATURE: value})
    return tf.train.Example(features=features).SerializeToString()


def _example_files(target_shape: tuple[int, int, int]) -> list[bytes]:
    """The same picture as PNG and as JPEG."""
    codes = np.random.default_rng(0).integers(0, 256, target_shape, np.uint8)
    return [tf.io.encode_png(codes).numpy(), tf.io.encode_jpeg(codes).numpy()]


def _zeros(shape: tuple[int, ...]) -> Any:
    """A tensor of one value, which is stored once however large the tensor is."""
    proto = tf.make_tensor_proto(0.0, tf.float32)
    proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return proto


def _field(number: int, payload: bytes) -> bytes:
    """A field of a protocol buffer whose payload has a length."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
