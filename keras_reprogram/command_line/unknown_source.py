"""What to say where `--source` names nothing that can be a source, and the way from there."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

_KINDS = (
    "traffic-signs, an application of Keras such as MobileNetV2, a .keras or .tflite file, a "
    "SavedModel folder, or FILE.py:NAME for a source that Python code makes"
)
_WRAPPED = (
    "Or wrap it in a function of images in Python: `OpaqueSource(function, ...)`, as --source "
    "FILE.py:NAME."
)
# What other frameworks write -> the way from there.
_ELSEWHERE = {
    ".onnx": "Convert it to a SavedModel folder, with `onnx2tf -i NET.onnx` for instance.",
    ".pt": "Convert it with litert-torch, or through ONNX, to a .tflite file.",
    ".pth": "Convert it with litert-torch, or through ONNX, to a .tflite file.",
    ".safetensors": "It holds weights alone: load them into their network and export that.",
    ".pb": "Pass the SavedModel folder around it; a frozen graph must become a SavedModel first.",
    ".json": "It describes a network without weights, or a run: pass what it belongs to.",
    ".zip": "Unpack it, and pass what is inside.",
    ".gz": "Unpack it, and pass what is inside.",
    ".tgz": "Unpack it, and pass what is inside.",
    ".tar": "Unpack it, and pass what is inside.",
}
# Beyond this an error of Keras is the whole configuration of a network.
_MOST_CHARACTERS = 300


def other_file(path: Path) -> str:
    """What to say of a file of another kind.

    Args:
        path: it exists.
    """
    said = f"--source must be {_KINDS}. Received: {path}, a file of another kind."
    if path.name == "saved_model.pb":
        return f"{said} Pass its folder: {path.parent}."
    if path.suffix == ".py":
        return f"{said} Name the source in it: {path}:NAME."
    if path.suffix == ".reprogram":
        return f"{said} It is a program without its source: name what it was trained on."
    way = _ELSEWHERE.get(path.suffix.lower(), "Convert it to one of these.")
    return f"{said} {way} {_WRAPPED}"


def unknown_source(text: str, names: Sequence[str]) -> str:
    """What to say of a name that is none.

    Args:
        text: what follows `--source`.
        names: of sources that are known.
    """
    name = text.partition(":")[0]
    same = [one for one in names if one.lower() == name.lower()]
    close = same or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    advice = f" Did you mean {' or '.join(close)}?" if close else ""
    if Path(name).suffix or len(Path(name).parts) > 1:
        advice = " There is no such file or folder."
    return f"--source must be {_KINDS}. Received: {text!r}.{advice}"


def cannot_be_loaded(path: Path, error: Exception) -> str:
    """What to say of a Keras file that Keras does not load.

    Args:
        path: the file.
        error: what Keras said, which may be very long.
    """
    reason = " ".join(str(error).split())
    if len(reason) > _MOST_CHARACTERS:
        reason = f"{reason[:_MOST_CHARACTERS]} ..."
    if path.name.endswith(".weights.h5"):
        way = "It holds weights alone: load them into their network, and save that as .keras."
    elif path.suffix != path.suffix.lower():
        name = path.stem + path.suffix.lower()
        way = f"Keras wants the ending in small letters: rename it to {name}."
    else:
        way = (
            "A model of Keras 2: load it with `tf_keras`, and write a SavedModel with "
            "`model.export(FOLDER)`. A model with layers of its own: make the source in Python, "
            "--source FILE.py:NAME."
        )
    return f"{path} is not a Keras model that Keras can load. Received: {reason} {way}"
