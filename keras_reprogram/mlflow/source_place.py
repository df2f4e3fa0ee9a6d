"""Where a program's source is: files that are found by their digest, or Python code."""

from __future__ import annotations

import copy
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from keras_reprogram.source.fingerprints import sha256_of
from keras_reprogram.source.onnx_file import onnx_sha256
from keras_reprogram.source.source import Source

_SAVED_MODEL = "saved_model.pb"
_CODE = (
    "`source` must be `MODULE:NAME`: a keras_reprogram.Source in a module that Python can import, "
    "or a function there, without arguments, that returns one."
)


def check_place(text: str, source: Source) -> None:
    """Refuses a place where there is no source, or another one than a model's."""
    if not _names_code(text):
        raise ValueError(f"{_CODE} Received: {text!r}.")
    found = _from_code(text)
    if found.fingerprint != source.fingerprint:
        raise ValueError(
            "`source` must name the source of the model, so that it is found again. Expected: "
            f"{source.describe()}, fingerprint {source.fingerprint[:16]}. Received: {text!r}, "
            f"which is {found.describe()}, fingerprint {found.fingerprint[:16]}. Name the one that "
            "the model was trained on."
        )


def describe_files(source: Source) -> dict[str, Any]:
    """How a source is made again from its files; a ValueError for one that is not.

    A configuration is enough where the source made from it has the same fingerprint. That of a
    Keras network holds its layers without their weights, and Python code has none.
    """
    described = None
    try:
        described = keras.saving.serialize_keras_object(source)
        for config in _files_in(described):
            config["path"] = str(Path(config["path"]).resolve())
        same = _rebuilt(described).fingerprint == source.fingerprint
    except (ValueError, TypeError, NotImplementedError):
        same = False
    if described is None or not same:
        raise ValueError(
            "The source is not made from a .tflite or .onnx file or a SavedModel, so `source` must "
            f"say how to make it again. Received: a {type(source).__name__} and no `source`. Pass "
            '`source="MODULE:NAME"`, a function without arguments that returns it, and MLflow\'s '
            '`code_paths=["MODULE.py"]` to keep the module with the program.'
        )
    return described


def source_at(text: str, described: dict[str, Any] | None) -> Source:
    """The source that Python code names, or one made from files, where they were or at a path.

    Args:
        text: `"MODULE:NAME"`, the path of a file or of a folder that holds it, or `""`.
        described: what `describe_files` returned, if the source is made from files.
    """
    if text and _names_code(text):
        return _from_code(text)
    if described is None:
        raise ValueError(
            f"{_CODE} Received: {text!r} for a program whose source is not made from files."
        )
    if text and not Path(text).expanduser().exists():
        raise FileNotFoundError(
            f"There is nothing at {text}. Expected the file of the program's source, or a folder "
            "that holds it. Check `source`."
        )
    return _rebuilt(_with_places(described, Path(text).expanduser() if text else None))


def _names_code(text: str) -> bool:
    module, _, name = text.partition(":")
    parts = [*module.split("."), *name.split(".")]
    return bool(name) and all(part.isidentifier() for part in parts)


def _from_code(text: str) -> Source:
    try:
        found = pkgutil.resolve_name(text)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{_CODE} Received: {text!r}: {error}.") from error
    source = found if isinstance(found, Source) or not callable(found) else found()
    if not isinstance(source, Source):
        raise ValueError(f"{_CODE} Received: {text!r}, a {type(source).__name__}.")
    return source


def _rebuilt(described: dict[str, Any]) -> Any:
    return keras.saving.deserialize_keras_object(described)


def _with_places(described: dict[str, Any], place: Path | None) -> dict[str, Any]:
    """The description with the files' places of now."""
    described = copy.deepcopy(described)
    for config in _files_in(described):
        known = Path(config["path"])
        if place is not None:
            config["path"] = str(_found(known, config["sha256"], place))
        elif not known.exists():
            raise FileNotFoundError(
                f"The program's source is no longer at {known}. Expected a file with sha256 "
                f"{config['sha256']}. Put it there, or pass where it is: "
                '`model_config={"source": PATH}` of `mlflow.pyfunc.load_model`, the environment '
                "variable MLFLOW_PYFUNC_INFERENCE_CONFIG='{\"source\": PATH}' of `mlflow models "
                "serve`, or `source=` of `keras_reprogram.mlflow.load_model`; PATH is the file, or "
                "a folder that holds it."
            )
    return described


def _files_in(described: Any) -> Iterator[dict[str, Any]]:
    """Every configuration inside that names a file and its digest."""
    if isinstance(described, dict):
        if {"path", "sha256"} <= described.keys():
            yield described
        described = list(described.values())
    if isinstance(described, list):
        for part in described:
            yield from _files_in(part)


def _found(known: Path, digest: str, place: Path) -> Path:
    """The file or SavedModel with this digest at a path, or in the folder there."""
    candidates = list(_candidates(known.suffix.lower(), place))
    for candidate in candidates:
        if _digest(candidate) == digest:
            return candidate
    raise ValueError(
        f"The program was trained on another source. Expected: {known.name} with sha256 {digest}. "
        f"Received: {place}, where {len(candidates)} files of its kind have other digests. Pass "
        "the file that it was trained on, or a folder that holds it."
    )


def _candidates(suffix: str, place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    elif suffix in (".tflite", ".lite", ".onnx"):
        yield from (file for file in sorted(place.rglob("*")) if file.suffix.lower() == suffix)
    else:
        yield from (file.parent for file in sorted(place.rglob(_SAVED_MODEL)))


def _digest(path: Path) -> str:
    return onnx_sha256(path, None) if path.suffix.lower() == ".onnx" else sha256_of(path)
