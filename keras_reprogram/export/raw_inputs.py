"""RawInput: what people send to an export in place of numbers, image files or texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_reprogram.arguments import pixels_of_codes
from keras_reprogram.export.graph_decoder import file_decoder, why_no_files
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.program.vocabulary import END, Vocabulary


class RawInput(NamedTuple):
    """The signature that takes them, which is also its input's name, and a `tf.Example`'s feature.

    `classify` takes examples of the same.
    """

    signature: str
    feature: str


FILES = RawInput("image_bytes", "image/encoded")
TEXTS = RawInput("text", "text")
RAW_INPUTS = (FILES, TEXTS)


def vocabulary_of(model: ReprogrammedModel) -> Vocabulary | None:
    """What reads the texts of a model, `None` for one of no texts."""
    found = getattr(model.program, "vocabulary", None)
    return found if isinstance(found, Vocabulary) else None


def raw_input_of(model: ReprogrammedModel) -> RawInput | None:
    """What a model's exports take in place of numbers."""
    if vocabulary_of(model) is not None:
        return TEXTS
    return FILES if why_no_files(model) is None else None


def why_no_raw_input(model: ReprogrammedModel) -> str | None:
    """The reason why there is nothing but numbers, or `None`."""
    return None if raw_input_of(model) else why_no_files(model)


def raw_input_named(signatures: Any) -> RawInput | None:
    """The one that an export with these signatures takes."""
    return next((raw for raw in RAW_INPUTS if raw.signature in signatures), None)


def raw_reader(model: ReprogrammedModel) -> Callable[[Any], Any]:
    """A function for a graph: raw inputs, string `(n,)` -> float32 target rows."""
    vocabulary = vocabulary_of(model)
    if vocabulary is None:
        shape = model.input_shape[1:]
        return file_decoder(shape, model.program.target_range, model.image_reading)
    return text_reader(vocabulary)


def text_reader(vocabulary: Vocabulary) -> Callable[[Any], Any]:
    """A function for a graph: texts `(n,)` -> token numbers, float32 `(n, length)`."""

    def read(texts: Any) -> Any:
        numbers = vocabulary.layer(texts)
        tf.debugging.assert_none_equal(
            numbers[:, 0],
            tf.constant(END, numbers.dtype),
            message="Each text must have a token. Received: an empty one. Leave it out.",
        )
        return tf.cast(numbers, tf.float32)

    return read


def sample_raw_inputs(model: ReprogrammedModel, count: int) -> tuple[list[bytes], np.ndarray]:
    """Seeded random raw inputs, and the target rows that they are."""
    random = np.random.default_rng(0)
    shape = (count, *model.input_shape[1:])
    vocabulary = vocabulary_of(model)
    if vocabulary is None:
        codes = random.integers(0, 256, shape, np.uint8)
        files = [tf.io.encode_png(image).numpy() for image in codes]
        return files, pixels_of_codes(codes.astype(np.float32), model.program.target_range)
    between = " " if vocabulary.unit == "words" else ""
    texts = [between.join(random.choice(vocabulary.tokens, size)) for size in _sizes(count, shape)]
    return [text.encode() for text in texts], vocabulary.encode(texts).astype(np.float32)


def _sizes(count: int, shape: tuple[int, ...]) -> list[int]:
    """From texts of one token to full ones."""
    return [1 + index * (shape[1] - 1) // max(count - 1, 1) for index in range(count)]
