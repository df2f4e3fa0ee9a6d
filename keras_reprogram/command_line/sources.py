"""`--source`: an application's name, a file, a folder or Python code becomes a source model."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from keras_reprogram.command_line.source_settings import SourceSettings, needs_value_range
from keras_reprogram.source.applications import application_names

if TYPE_CHECKING:
    from keras_reprogram.source import FrozenSource, Source


EMBEDDED = "traffic-signs"
PIXELS = (0.0, 255.0)
KERAS_FILES, LITERT_FILES, ONNX_FILES = (".keras", ".h5", ".hdf5"), (".tflite", ".lite"), (".onnx",)


@dataclass(frozen=True)
class ResolvedSource:
    """The source that `--source` names, and its Keras model, if there is one.

    Args:
        source: the source model, opaque or not.
        keras_source: loads the same network as a transparent Keras model, or `None` where there
            is only a file or a black box. It serves baselines and exports, never the training.
        equivalent: what `export --source` takes where `source` cannot be exported, or `None`.
    """

    source: Source
    keras_source: Callable[[], FrozenSource] | None = None
    equivalent: str | None = None


def resolve_source(
    text: str,
    *,
    opaque: bool = False,
    settings: SourceSettings | None = None,
    features: bool = False,
) -> ResolvedSource:
    """Loads the source model that `--source` names."""
    return _loader(text)(text, settings or SourceSettings(), opaque, features)


def check_source(text: str) -> None:
    """Refuses a `--source` that names nothing, before TensorFlow is imported."""
    _loader(text)


_Load = Callable[[str, SourceSettings, bool, bool], ResolvedSource]


def _loader(text: str) -> _Load:
    """The function that loads what `--source` names; a ValueError where it names nothing."""
    path = Path(text).expanduser()
    kind = path.suffix.lower()
    names = (EMBEDDED, *application_names())
    if text == EMBEDDED:
        return _embedded
    if text.partition(":")[0] in names:
        return _application
    if kind in KERAS_FILES and path.is_file():
        return _keras_file
    if kind in LITERT_FILES and path.is_file():
        return _tflite
    if kind in ONNX_FILES and path.is_file():
        return _onnx
    if text and path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ValueError(_no_saved_model(path))
        return _saved_model
    if text and path.exists():
        raise ValueError(other_file(path))
    if is_python_source(text):
        _check_python_file(text)
        return _python
    raise ValueError(unknown_source(text, names))


def _own(settings: SourceSettings, value_range: tuple[float, float]) -> tuple[str, ...]:
    """`--value-range` may be given where it says what is so anyway."""
    return ("--value-range",) if settings.value_range == value_range else ()


def _application(
    text: str, settings: SourceSettings, opaque: bool, features: bool
) -> ResolvedSource:
    from keras_reprogram.command_line.keras_sources import keras_application

    why = "an application of Keras takes pixels from 0 to 255 and declares its scores"
    settings.refuse(text, why, *_own(settings, PIXELS))
    return _keras(lambda: keras_application(text), text, opaque, features)


def _keras_file(
    text: str, settings: SourceSettings, opaque: bool, features: bool
) -> ResolvedSource:
    from keras_reprogram.command_line.keras_sources import keras_file

    path = Path(text).expanduser()
    return _keras(lambda: keras_file(path, settings), text, opaque, features)


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
        return ResolvedSource(scores_only(frozen, text), lambda: frozen, equivalent=text)
    return ResolvedSource(frozen, lambda: frozen)


def _embedded(text: str, settings: SourceSettings, opaque: bool, features: bool) -> ResolvedSource:
    from keras_reprogram.command_line.keras_sources import embedded_keras

    why = f"{EMBEDDED} takes pixels from 0 to 255 and returns probabilities"
    settings.refuse(text, why, *_own(settings, PIXELS))
    if not opaque:
        return _keras(embedded_keras, EMBEDDED, opaque, features)
    from keras_reprogram.source import LiteRTSource, embedded_path
    from keras_reprogram.source.embedded import TRAFFIC_SIGN_LABELS

    if features:
        raise ValueError(_no_features("a source used with --opaque"))
    source = LiteRTSource(
        embedded_path("traffic_signs.tflite"), value_range=PIXELS, class_names=TRAFFIC_SIGN_LABELS
    )
    return ResolvedSource(source, embedded_keras, equivalent=EMBEDDED)


def _tflite(text: str, settings: SourceSettings, opaque: bool, features: bool) -> ResolvedSource:
    from keras_reprogram.source import LiteRTSource

    # It shows its scores only, whether that was asked for or not.
    del opaque
    path = Path(text).expanduser()
    if features:
        raise ValueError(_no_features("a .tflite file"))
    names = (
        *("value_range", "scores", "sum_tolerance", "data_format", "source_size"),
        *("channel_order", "class_names"),
    )
    why = "a .tflite file has one signature and one output, and states how its scores are rounded"
    settings.refuse(str(path), why, *_options((*names, "pixel_scale", "pixel_offset")))
    return ResolvedSource(LiteRTSource(path, **settings.arguments(*names, "preprocessing")))


def _onnx(text: str, settings: SourceSettings, opaque: bool, features: bool) -> ResolvedSource:
    from keras_reprogram.source import ONNXSource

    # It shows its scores only, whether that was asked for or not.
    del opaque
    path = Path(text).expanduser()
    if features:
        raise ValueError(_no_features("an .onnx file"))
    settings.refuse(str(path), "an .onnx file has no signatures", *_all_but("signature"))
    names = ("preprocessing", *(field.name for field in dataclasses.fields(SourceSettings)))
    kept = [name for name in names if name not in ("signature", "pixel_scale", "pixel_offset")]
    return ResolvedSource(ONNXSource(path, **settings.arguments(*kept)))


def _all_but(*names: str) -> list[str]:
    fields = (field.name for field in dataclasses.fields(SourceSettings))
    return _options(tuple(name for name in fields if name not in names))


def _options(names: tuple[str, ...]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names]


def _saved_model(
    text: str, settings: SourceSettings, opaque: bool, features: bool
) -> ResolvedSource:
    from keras_reprogram.source import SavedModelSource

    path = Path(text).expanduser()
    if features:
        raise ValueError(_no_features("a SavedModel folder"))
    names = (*(field.name for field in dataclasses.fields(SourceSettings)), "preprocessing")
    names = tuple(name for name in names if name not in ("pixel_scale", "pixel_offset"))
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
        "A source folder must be a SavedModel, which contains a file saved_model.pb. "
        f"Received: {path}. {advice}"
    )


def _python(text: str, settings: SourceSettings, opaque: bool, features: bool) -> ResolvedSource:
    from keras_reprogram.source import FrozenSource
    from keras_reprogram.source.answer_probe import probe_source

    source = python_source(text)
    why = f"the Python code sets these; its source takes pixels {source.value_range}"
    settings.refuse(text, why, *_own(settings, source.value_range))
    if isinstance(source, FrozenSource):
        probe_source(source, text)
        return _keras(lambda: source, text, opaque, features)
    if features:
        raise ValueError(_no_features("a source that Python code makes"))
    if opaque and source.differentiable:
        raise ValueError(
            "--opaque needs a source that returns only scores. Received: "
            f"{text!r}, a {type(source).__name__} with gradients. Make it with `opaque=True`, or "
            "leave --opaque out."
        )
    return ResolvedSource(source)


def _no_features(what: str) -> str:
    return (
        f"--output-map new-head reads the source's penultimate features. Received: {what}, which "
        "returns scores only. Choose --output-map dense."
    )


def is_python_source(text: str) -> bool:
    """Whether a text is `FILE.py:NAME` or `MODULE:NAME`."""
    place, _, name = text.rpartition(":")
    if not name.isidentifier():
        return False
    return place.endswith(".py") or all(part.isidentifier() for part in place.split("."))


def python_source(text: str) -> Source:
    """The source that Python code names: a `Source`, or a function without arguments for one."""
    from keras_reprogram import register_classes
    from keras_reprogram.source import Source

    # The code may open a file of ours.
    register_classes()
    place, _, name = text.rpartition(":")
    module = _file(place) if place.endswith(".py") else _module(place, text)
    if not hasattr(module, name):
        raise ValueError(
            f"{place} must define the source that --source names. Received: no {name}. It has "
            f"{', '.join(_candidates(module)) or 'no names of its own'}."
        )
    found = getattr(module, name)
    source = found if isinstance(found, Source) or not callable(found) else found()
    if not isinstance(source, Source):
        raise ValueError(
            f"{text} must be a keras_reprogram.Source, or a function without arguments that "
            f"returns one. Received: {type(source).__name__}."
        )
    return source


def _check_python_file(text: str) -> None:
    place = text.rpartition(":")[0]
    if place.endswith(".py") and not Path(place).expanduser().is_file():
        raise ValueError(
            f"--source FILE.py:NAME must name a file. Received: {text!r}. There is no {place}."
        )


def _file(place: str) -> ModuleType:
    path = Path(place).expanduser()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{place} must be a file of Python code. Received: another kind of file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _module(place: str, text: str) -> ModuleType:
    # Where a command starts, Python looks beside the command, not in the current folder.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"--source MODULE:NAME must name a module that Python can import. Received: {text!r}; "
            f"there is no module {error.name}."
        ) from None


def _candidates(module: Any) -> list[str]:
    return [name for name in vars(module) if not name.startswith("_")]


_KINDS = (
    "traffic-signs, an application of Keras such as MobileNetV2, a .keras, .tflite or .onnx file, "
    "a SavedModel folder, or FILE.py:NAME for a source that Python code makes"
)
_WRAPPED = (
    "Or wrap it in a function of images in Python: `OpaqueSource(function, ...)`, as --source "
    "FILE.py:NAME."
)
# What other frameworks write -> the way from there.
_ELSEWHERE = {
    ".pt": "Write it as .onnx with `torch.onnx.export`.",
    ".pth": "Write it as .onnx with `torch.onnx.export`.",
    ".safetensors": "It holds only weights: load them into their network and export the network.",
    ".pb": "Pass the SavedModel folder around it; a frozen graph must become a SavedModel first.",
    ".json": "It describes a network without weights, or a run: pass the model file or the run's "
    "source instead.",
    ".zip": "Unpack it, and pass the file or folder in it.",
    ".gz": "Unpack it, and pass the file or folder in it.",
    ".tgz": "Unpack it, and pass the file or folder in it.",
    ".tar": "Unpack it, and pass the file or folder in it.",
}


def other_file(path: Path) -> str:
    """The error message for a file of another kind."""
    said = f"--source must be {_KINDS}. Received: {path}, a file of another kind."
    if path.name == "saved_model.pb":
        return f"{said} Pass its folder: {path.parent}."
    if path.suffix == ".py":
        return f"{said} Name the source that it defines: {path}:NAME."
    if path.suffix == ".reprogram":
        return f"{said} It is a program without its source: name the source that it was trained on."
    way = _ELSEWHERE.get(path.suffix.lower(), "Convert it to one of these.")
    return f"{said} {way} {_WRAPPED}"


def unknown_source(text: str, names: Sequence[str]) -> str:
    """The error message for an unknown name."""
    name = text.partition(":")[0]
    same = [one for one in names if one.lower() == name.lower()]
    close = same or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    advice = f" Did you mean {' or '.join(close)}?" if close else ""
    if Path(name).suffix or len(Path(name).parts) > 1:
        advice = " There is no such file or folder."
    return f"--source must be {_KINDS}. Received: {text!r}.{advice}"
