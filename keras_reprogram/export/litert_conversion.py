"""From the model to the bytes of a `.tflite` file, in one of the forms."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.export.litert_float16 import halve_weights
from keras_reprogram.export.litert_form import LiteRTForm
from keras_reprogram.export.litert_int8 import convert_source_to_int8
from keras_reprogram.export.serving_graph import write_saved_model
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.network_numbers import quantised_layers
from keras_reprogram.source.source import Source


def convert(
    model: ReprogrammedModel, source: Source | None, form: LiteRTForm, images: np.ndarray
) -> bytes:
    """Converts program, source and output map, with LiteRT's builtin operations only.

    Args:
        model: a model whose export is not blocked.
        source: a twin of its source, or `None`.
        form: in which numbers the file computes.
        images: what int8 ranges are taken from.

    Returns:
        The file, not compared with anything yet.

    Raises:
        ValueError: if an operation has no builtin.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "saved_model"
        write_saved_model(model, saved, source=source)
        converter = _converter(saved)
        if form.name in ("dynamic_int8", "int8"):
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        with _plain_failures(_advice(source or model.source)):
            if form.name == "int8":
                return convert_source_to_int8(converter, images, model, source or model.source)
            content = converter.convert()
            return halve_weights(content) if form.name == "float16" else content


def convert_folder(folder: Path) -> bytes:
    """Converts a SavedModel's `serving_default` as it is, with builtin operations only.

    Args:
        folder: holds `saved_model.pb`.

    Returns:
        The file, in float32, not compared with anything yet.

    Raises:
        ValueError: if an operation has no builtin.
    """
    with _plain_failures():
        return _converter(folder).convert()


def _converter(folder: Path) -> Any:
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder), signature_keys=["serving_default"]
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return converter


@contextlib.contextmanager
def _plain_failures(advice: str = "") -> Iterator[None]:
    try:
        with _quiet():
            yield
    # TensorFlow's class for it is private, and other errors come out of the converter too.
    except Exception as error:
        raise ValueError(
            "This model cannot be converted with LiteRT's builtin operations; nothing was "
            f"written. Received: {_first_lines(error)}\n"
            + (advice or "Replace the layer that the message names, or use `export_saved_model`.")
        ) from error


def _advice(source: Source) -> str:
    """What to do about a source whose layers Keras quantised; empty for any other."""
    network = getattr(source, "model", None)
    quantised = {} if network is None else quantised_layers(network)
    if not quantised:
        return ""
    modes = ", ".join(sorted(set(quantised.values())))
    return (
        f'The source was quantised by Keras, `quantize("{modes}")`: {len(quantised)} layers, such '
        f"as `{next(iter(quantised))}`, whose arithmetic LiteRT may not have. Build the source "
        'from the network as it was before, and choose `form="int8"` (--litert-form int8), or use '
        "`export_saved_model`."
    )


def _first_lines(error: Exception, count: int = 3) -> str:
    """The converter's message without its pages of locations."""
    return "\n".join(str(error).strip().splitlines()[:count])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converter's C++ side writes pages to stderr that say nothing about the model."""
    saved = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
