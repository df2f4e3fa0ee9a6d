"""`--source`: an application's name, a file, a folder or Python code becomes a source model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_reprogram.command_line.source_settings import SourceSettings, needs_value_range
from keras_reprogram.command_line.unknown_source import other_file, unknown_source

if TYPE_CHECKING:
    from keras_reprogram.source import FrozenSource, Source

EMBEDDED = "traffic-signs"
PIXELS = (0.0, 255.0)
KERAS_FILES, LITERT_FILES = (".keras", ".h5", ".hdf5"), (".tflite", ".lite")


@dataclass(frozen=True)
class ResolvedSource:
    """What `--source` stands for.

    Args:
        source: the source model, opaque or not.
        keras_source: loads the same network as a transparent Keras model, or `None` where there
            is only a file or a black box. It serves baselines and exports, never the training.
        twin: what `export --source` takes where `source` itself cannot be exported, or `None`.
    """

    source: Source
    keras_source: Callable[[], FrozenSource] | None = None
    twin: str | None = None


def resolve_source(
    text: str,
    *,
    opaque: bool = False,
    settings: SourceSettings | None = None,
    features: bool = False,
) -> ResolvedSource:
    """Loads the source model that `--source` names.

    Args:
        text: `traffic-signs`, an application such as `MobileNetV2` or
            `MobileNet:alpha=0.25,input_shape=128`, a `.keras` or `.tflite` file, a SavedModel
            folder, or `FILE.py:NAME` or `MODULE:NAME` for a `Source` that Python code makes.
        opaque: use its scores only.
        settings: what was said of a file; applications, `traffic-signs` and Python code know it.
        features: penultimate features instead of scores, for a new head.

    Returns:
        A `ResolvedSource`.

    Raises:
        ValueError: if there is no such source, or it cannot do what is asked.
        ConnectionError: if weights must be downloaded and cannot.

    Example:
    ```python
    from keras_reprogram.command_line.source_option import resolve_source

    source = resolve_source("traffic-signs", opaque=True).source
    assert source.num_labels == 43 and not source.differentiable
    ```
    """
    from keras_reprogram.command_line.keras_sources import keras_application, keras_file
    from keras_reprogram.command_line.python_source import is_python_source

    settings = settings or SourceSettings()
    path = Path(text).expanduser()
    kind = path.suffix.lower()
    if text == EMBEDDED:
        why = f"{EMBEDDED} has pixels of 0 to 255 and probabilities"
        settings.refuse(text, why, *_own(settings, PIXELS))
        return _embedded(opaque, features)
    if text.partition(":")[0] in _application_names():
        why = "an application of Keras has pixels of 0 to 255, and says what it answers"
        settings.refuse(text, why, *_own(settings, PIXELS))
        return _keras(lambda: keras_application(text), text, opaque, features)
    if kind in KERAS_FILES and path.is_file():
        return _keras(lambda: keras_file(path, settings), text, opaque, features)
    if kind in LITERT_FILES and path.is_file():
        return _tflite(path, settings, features)
    if text and path.is_dir():
        return _saved_model(path, settings, opaque, features)
    if text and path.exists():
        raise ValueError(other_file(path))
    if is_python_source(text):
        return _python(text, settings, opaque, features)
    raise ValueError(unknown_source(text, (EMBEDDED, *_application_names())))


def _own(settings: SourceSettings, value_range: tuple[float, float]) -> tuple[str, ...]:
    """`--value-range` may be given where it says what is so anyway."""
    return ("--value-range",) if settings.value_range == value_range else ()


def _application_names() -> tuple[str, ...]:
    from keras_reprogram.source import application_names

    return application_names()


def _keras(
    load: Callable[[], FrozenSource], text: str, opaque: bool, features: bool
) -> ResolvedSource:
    from keras_reprogram.command_line.keras_sources import features_of, scores_only

    frozen = load()
    if opaque and features:
        raise ValueError(_no_features("a source used with --opaque"))
    if features:
        return ResolvedSource(features_of(frozen), lambda: frozen)
    if opaque:
        return ResolvedSource(scores_only(frozen, text), lambda: frozen, twin=text)
    return ResolvedSource(frozen, lambda: frozen)


def _embedded(opaque: bool, features: bool) -> ResolvedSource:
    from keras_reprogram.command_line.keras_sources import embedded_keras

    if not opaque:
        return _keras(embedded_keras, EMBEDDED, opaque, features)
    from keras_reprogram.source import LiteRTSource, embedded_path
    from keras_reprogram.source.embedded import TRAFFIC_SIGN_LABELS

    if features:
        raise ValueError(_no_features("a source used with --opaque"))
    source = LiteRTSource(
        embedded_path("traffic_signs.tflite"), value_range=PIXELS, labels=TRAFFIC_SIGN_LABELS
    )
    return ResolvedSource(source, embedded_keras, twin=EMBEDDED)


def _tflite(path: Path, settings: SourceSettings, features: bool) -> ResolvedSource:
    from keras_reprogram.source import LiteRTSource

    if features:
        raise ValueError(_no_features("a .tflite file"))
    names = ("value_range", "scores", "sum_tolerance", "data_format", "source_size")
    why = "a .tflite file has one signature and one output, and says how its scores are rounded"
    settings.refuse(str(path), why, *_options(names))
    return ResolvedSource(LiteRTSource(path, **settings.arguments(*names)))


def _options(names: tuple[str, ...]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names]


def _saved_model(
    path: Path, settings: SourceSettings, opaque: bool, features: bool
) -> ResolvedSource:
    from keras_reprogram.source import SavedModelSource

    if features:
        raise ValueError(_no_features("a SavedModel folder"))
    if not (path / "saved_model.pb").is_file():
        raise ValueError(_no_saved_model(path))
    names = tuple(field.name for field in dataclasses.fields(SourceSettings))
    if settings.value_range is None:
        raise ValueError(needs_value_range(path))
    return ResolvedSource(SavedModelSource(path, opaque=opaque, **settings.arguments(*names)))


def _no_saved_model(path: Path) -> str:
    inside = sorted(str(file.parent) for file in path.glob("*/saved_model.pb"))
    advice = "Check the path."
    if inside:
        advice = f"Choose one of: {', '.join(inside)}."
    elif (path / "run.json").is_file():
        advice = "It is a run folder: name the source that the run was trained on."
    return (
        "A source folder must be a SavedModel, with a file saved_model.pb in it. "
        f"Received: {path}. {advice}"
    )


def _python(text: str, settings: SourceSettings, opaque: bool, features: bool) -> ResolvedSource:
    from keras_reprogram.command_line.python_source import python_source
    from keras_reprogram.source import FrozenSource

    source = python_source(text)
    why = f"the Python code says these things; its source takes pixels {source.value_range}"
    settings.refuse(text, why, *_own(settings, source.value_range))
    if isinstance(source, FrozenSource):
        return _keras(lambda: source, text, opaque, features)
    if features:
        raise ValueError(_no_features("a source that Python code makes"))
    if opaque and source.differentiable:
        raise ValueError(
            "--opaque needs a source that shows its scores only. Received: "
            f"{text!r}, a {type(source).__name__} with gradients. Make it with `opaque=True`, or "
            "leave --opaque out."
        )
    return ResolvedSource(source)


def _no_features(what: str) -> str:
    return (
        f"--output-map new-head reads the source's penultimate features. Received: {what}, which "
        "shows scores only. Choose --output-map dense."
    )
