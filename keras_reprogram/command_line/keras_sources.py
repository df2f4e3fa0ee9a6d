"""Keras models as sources: applications, files, the embedded one, and black-box wrappers."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import keras

from keras_reprogram import register_classes
from keras_reprogram.command_line.console import stdout_is_for_data
from keras_reprogram.command_line.source_settings import SourceSettings, needs_value_range
from keras_reprogram.source import (
    FrozenSource,
    OpaqueSource,
    Source,
    application_names,
    embedded_path,
)
from keras_reprogram.source.answer_probe import probe_source
from keras_reprogram.source.embedded import TRAFFIC_SIGN_LABELS
from keras_reprogram.source.keras_files import load_keras_file

PIXELS = (0.0, 255.0)


def embedded_keras() -> FrozenSource:
    """The traffic-sign classifier that ships with the package, as a Keras model."""
    model = keras.saving.load_model(embedded_path("traffic_signs.keras"), compile=False)
    return FrozenSource(model, value_range=PIXELS, class_names=TRAFFIC_SIGN_LABELS)


def keras_application(text: str) -> FrozenSource:
    """An application of Keras, `NAME` or `NAME:option=value,...`."""
    name, _, options = text.partition(":")
    try:
        with stdout_is_for_data():
            return FrozenSource.from_application(name, **_options(options))
    except Exception as error:  # Keras raises a bare `Exception` where a download fails.
        if "fetch failure" in str(error):
            raise ConnectionError(
                f"The weights of {name} could not be downloaded ({error}). Set the environment "
                "variable KERAS_HOME to a folder that holds them in `models/`, or choose a source "
                "on this machine."
            ) from error
        if isinstance(error, ValueError | TypeError):
            raise ValueError(f"{text} cannot be built: {error}") from error
        raise


def _options(text: str) -> dict[str, Any]:
    """`alpha=0.25,input_shape=128` as arguments for `keras.applications`."""
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, separator, value = part.partition("=")
        if not separator:
            raise ValueError(
                "Options of an application must be name=value. "
                f"Received: {part!r}. Write MobileNet:alpha=0.25,input_shape=128."
            )
        options[key.strip()] = _value(value.strip())
    if isinstance(options.get("input_shape"), int):
        options["input_shape"] = (options["input_shape"], options["input_shape"], 3)
    return options


def _value(text: str) -> Any:
    try:
        return ast.literal_eval("None" if text == "none" else text)
    except (ValueError, SyntaxError):
        return text


def keras_file(path: Path, settings: SourceSettings) -> FrozenSource:
    """A Keras model's file as a source."""
    names = (
        *("value_range", "scores", "sum_tolerance", "data_format", "source_size"),
        *("channel_order", "class_names"),
    )
    why = "a Keras model has one output, and its scores are floats"
    options = (*names, "pixel_scale", "pixel_offset")
    settings.refuse(str(path), why, *(f"--{name.replace('_', '-')}" for name in options))
    # The network may hold layers of ours.
    register_classes()
    model = load_keras_file(path)
    if settings.value_range is None:
        raise ValueError(needs_value_range(path))
    source = FrozenSource(model, **settings.arguments(*names, "preprocessing"))
    probe_source(source, str(path))
    return source


def scores_only(frozen: FrozenSource, text: str) -> Source:
    """A black box around a Keras model: compiled, and without a gradient."""
    image = keras.Input(frozen.source_shape)
    model = keras.Model(image, frozen(image))
    # Without the folder: a file that moves is the same source.
    name = f"{text}:imagenet" if text in application_names() else Path(text).name
    return OpaqueSource(
        model.predict_on_batch,
        frozen.source_shape,
        frozen.num_labels,
        value_range=frozen.value_range,
        identity=f"{name}:{frozen.fingerprint}",
        class_names=frozen.class_names,
        score_kind=frozen.score_kind,
        sum_tolerance=frozen.sum_tolerance,
        max_batch=frozen.max_batch,
        answers_at_random=frozen.answers_at_random,
    )


def features_of(frozen: FrozenSource) -> FrozenSource:
    """The same network, answering with its penultimate features."""
    return FrozenSource(
        frozen.model,
        value_range=frozen.value_range,
        preprocessing=(frozen.preprocessing[0], frozen.preprocessing[1]),
        channel_order=frozen.channel_order,
        output="features",
        max_batch=frozen.max_batch,
        data_format=frozen.data_format,
        image_size=frozen.image_size,
    )
