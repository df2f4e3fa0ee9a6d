"""`--source`: an application's name, a file, a folder or Python code becomes a source model."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_reprogram.source import FrozenSource, Source

EMBEDDED = "traffic-signs"
PIXELS = (0.0, 255.0)


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


def parse_value_range(text: str) -> tuple[float, float]:
    """Reads `--value-range`.

    Args:
        text: two numbers, such as `"0,255"` or `"-1,1"`.

    Returns:
        `(low, high)`.

    Raises:
        ValueError: for anything else.

    Example:
    ```python
    from keras_reprogram.command_line.source_option import parse_value_range

    assert parse_value_range("-1,1") == (-1.0, 1.0)
    ```
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not low < high:
        raise ValueError(
            "`--value-range` must be two numbers, the darkest and the brightest pixel that the "
            f"source expects. Received: {text!r}. Write 0,255 or 0,1 or -1,1."
        )
    return low, high


def resolve_source(
    text: str,
    *,
    opaque: bool = False,
    value_range: tuple[float, float] = PIXELS,
    features: bool = False,
) -> ResolvedSource:
    """Loads the source model that `--source` names.

    Args:
        text: `traffic-signs`, an application such as `MobileNetV2` or
            `MobileNet:alpha=0.25,input_shape=128`, a `.keras` or `.tflite` file, a SavedModel
            folder, or `FILE.py:NAME` or `MODULE:NAME` for a `Source` that Python code makes.
        opaque: use its scores only.
        value_range: pixels that a file expects; applications and `traffic-signs` know theirs.
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

    path = Path(text).expanduser()
    if text == EMBEDDED:
        return _embedded(opaque, features)
    if text.partition(":")[0] in _application_names():
        return _keras(lambda: keras_application(text), text, opaque, features)
    if path.suffix in (".keras", ".h5") and path.is_file():
        return _keras(lambda: keras_file(path, value_range), text, opaque, features)
    if path.suffix == ".tflite" and path.is_file():
        return _tflite(path, value_range, features)
    if path.is_dir():
        return _saved_model(path, value_range, opaque, features)
    if is_python_source(text):
        return _python(text, opaque, features)
    raise ValueError(_unknown(text, path))


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


def _tflite(path: Path, value_range: tuple[float, float], features: bool) -> ResolvedSource:
    from keras_reprogram.source import LiteRTSource

    if features:
        raise ValueError(_no_features("a .tflite file"))
    return ResolvedSource(LiteRTSource(path, value_range=value_range))


def _saved_model(
    path: Path, value_range: tuple[float, float], opaque: bool, features: bool
) -> ResolvedSource:
    from keras_reprogram.source import SavedModelSource

    if features:
        raise ValueError(_no_features("a SavedModel folder"))
    if not (path / "saved_model.pb").is_file():
        inside = sorted(str(file.parent) for file in path.glob("*/saved_model.pb"))
        advice = f"Choose one of: {', '.join(inside)}." if inside else "Check the path."
        raise ValueError(
            "A source folder must be a SavedModel, with a file saved_model.pb in it. "
            f"Received: {path}. {advice}"
        )
    return ResolvedSource(SavedModelSource(path, value_range=value_range, opaque=opaque))


def _python(text: str, opaque: bool, features: bool) -> ResolvedSource:
    from keras_reprogram.command_line.python_source import python_source
    from keras_reprogram.source import FrozenSource

    source = python_source(text)
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


def _unknown(text: str, path: Path) -> str:
    names = (EMBEDDED, *_application_names())
    close = difflib.get_close_matches(text.partition(":")[0], names, n=3, cutoff=0.5)
    advice = f" Did you mean {' or '.join(close)}?" if close else ""
    if path.suffix in (".keras", ".h5", ".tflite") or len(path.parts) > 1:
        advice = " There is no such file or folder."
    return (
        f"--source must be {EMBEDDED}, an application of Keras such as MobileNetV2, a .keras or "
        ".tflite file, a SavedModel folder, or FILE.py:NAME for a source that Python code makes. "
        f"Received: {text!r}.{advice}"
    )
