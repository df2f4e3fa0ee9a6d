"""A network of this process as a black box: a LiteRT copy of it, from which only scores come.

The copy computes in float32 and differs from the network by rounding. On a CPU it answers several
times as fast as TensorFlow, which is why all black-box methods ask copies.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from functools import cache
from pathlib import Path

import keras
import tensorflow as tf

from keras_reprogram import FrozenSource, LiteRTSource, OpaqueSource

# Larger batches are slower: every array of theirs is memory that the system maps anew.
MAX_BATCH = 64


def black_box(frozen: FrozenSource, name: str) -> OpaqueSource:
    """The source that black-box methods ask.

    Args:
        frozen: a network with its preprocessing.
        name: of the source.

    Returns:
        A source with a query count of its own; there is one copy of a network in a process.
    """
    copy = _copy(frozen)
    return OpaqueSource(
        copy.ask,
        frozen.source_shape,
        frozen.num_labels,
        value_range=frozen.value_range,
        identity=f"{name} {frozen.fingerprint}",
        class_names=frozen.class_names,
        score_kind=frozen.score_kind,
        max_batch=MAX_BATCH,
    )


_copies: dict[str, LiteRTSource] = {}


def _copy(frozen: FrozenSource) -> LiteRTSource:
    # A network of global pooling has the same weights at every size.
    key = f"{frozen.fingerprint} {frozen.source_shape}"
    if key not in _copies:
        image = keras.Input(frozen.source_shape)
        converter = tf.lite.TFLiteConverter.from_keras_model(
            keras.Model(image, frozen.answer(image))
        )
        path = Path(_folder().name) / f"{len(_copies)}.tflite"
        # It prints the network's signatures, and the figures go to stdout.
        with contextlib.redirect_stdout(io.StringIO()):
            path.write_bytes(converter.convert())
        _copies[key] = LiteRTSource(
            path,
            value_range=frozen.value_range,
            score_kind=frozen.score_kind,
        )
    return _copies[key]


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()  # removed when the process ends
