"""What other servers than TensorFlow Serving want beside a version folder, written on request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from keras_reprogram.export.server_files import FACTS_FILE, served_name
from keras_reprogram.files import folder_aside, take_free_name, write_whole_file


def write_for_server(version_folder: str | PathLike[str], server: str) -> Path:
    """Writes the configuration with which another server serves a version folder.

    - `"triton"`: a model repository `NAME-triton` beside the folder of versions. Triton's Python
      backend runs the SavedModel, for which TensorFlow must be installed there: the backend of
      its own for TensorFlow is no longer part of Triton. Target images (`image`) and image files
      (`image_bytes`) go in, `scores` come out; Triton's classification extension names the
      classes.
    - `"openvino"`: `ovms.json` beside the versions, the configuration file of OpenVINO Model
      Server, which reads the version folder as it is and serves `serving_default`.
    - `"kserve"`: `kserve.yaml` beside the versions: an `InferenceService` of KServe, whose
      TensorFlow runtime reads the folder of versions as it is.

    Files beside the versions are samples, which users edit: they are never overwritten.

    Args:
        version_folder: what `export_saved_model` returned or wrote.
        server: `"triton"`, `"openvino"` or `"kserve"`.

    Returns:
        The path of the file, or of the repository.

    Raises:
        ValueError: for an unknown server, and for a folder that is no whole export.
        FileExistsError: if the repository holds this version already.

    Example:
    ```python
    from keras_reprogram.export import write_for_server

    help(write_for_server)
    # exported = export_saved_model(model, "saved_models/digits")
    # write_for_server(exported, "triton")  # saved_models/digits-triton
    ```
    """
    if server not in _WRITERS:
        raise ValueError(f"`server` must be one of {', '.join(SERVERS)}. Received: {server!r}.")
    return _WRITERS[server](_version_at(Path(version_folder)))


class _Version(NamedTuple):
    """A version folder, and what its file of facts says."""

    folder: Path
    facts: dict[str, Any]

    @property
    def base_dir(self) -> Path:
        return self.folder.parent

    @property
    def name(self) -> str:
        return served_name(self.base_dir)


def _version_at(folder: Path) -> _Version:
    file = folder / FACTS_FILE
    facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    if facts is None or facts.get("half"):
        what = "one half of a split export" if facts else f"a folder without {FACTS_FILE}"
        raise ValueError(
            "The version folder must be a whole export, as `export_saved_model` writes it. "
            f"Received: {folder}, {what}. Pass the path that it returned, such as "
            "saved_models/NAME/1."
        )
    return _Version(folder if folder.parent.name else folder.resolve(), facts)


# === Triton ===

_TRITON_CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: {max_batch_size}
{inputs}output [
  {{
    name: "scores"
    data_type: TYPE_FP32
    dims: [ {num_classes} ]
    label_filename: "labels.txt"
  }}
]
instance_group [ {{ kind: KIND_CPU }} ]
"""

_TRITON_INPUT = """\
input [
  {{
    name: "{name}"
    data_type: {data_type}
    dims: [ {dims} ]
    optional: {optional}
  }}
]
"""

# It is run by Triton, in a process where this package is not.
_TRITON_MODEL = '''\
"""Runs the SavedModel beside this file. It needs TensorFlow in the Python of Triton's backend."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import triton_python_backend_utils as triton

SIGNATURES = {"image": "serving_default", "image_bytes": "image_bytes"}


class TritonPythonModel:
    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        self.model = tf.saved_model.load(str(folder / "model.savedmodel"))

    def execute(self, requests):
        return [self.response(request) for request in requests]

    def response(self, request):
        given = [tensor for tensor in request.inputs() if tensor.name() in SIGNATURES]
        if len(given) != 1:
            names = ", ".join(tensor.name() for tensor in given) or "none"
            error = f"A request must have one of {', '.join(SIGNATURES)}. Received: {names}."
            return triton.InferenceResponse(error=triton.TritonError(error))
        name, value = given[0].name(), given[0].as_numpy()
        # Triton's texts have an axis of their own beside that of the batch.
        value = tf.constant(value.reshape(-1).tolist() if name == "image_bytes" else value)
        try:
            scores = self.model.signatures[SIGNATURES[name]](**{name: value})["scores"].numpy()
        except tf.errors.InvalidArgumentError as error:
            return triton.InferenceResponse(error=triton.TritonError(error.message))
        return triton.InferenceResponse([triton.Tensor("scores", scores.astype(np.float32))])
'''
_TRITON_BATCH = 64


def _write_triton(version: _Version) -> Path:
    repository = version.base_dir.with_name(f"{version.base_dir.name}-triton")
    model = repository / version.name
    target = model / version.folder.name
    if target.exists():
        raise FileExistsError(
            f"{target} exists already, and no version is ever replaced. Delete it, or export a new "
            "version."
        )
    with folder_aside(repository) as aside:
        shutil.copytree(version.folder, aside / "model.savedmodel")
        (aside / "model.py").write_text(_TRITON_MODEL, encoding="utf-8")
        model.mkdir(exist_ok=True)
        _write_samples(
            {
                model / "config.pbtxt": _triton_config(version),
                model / "labels.txt": "".join(f"{n}\n" for n in version.facts["class_names"]),
            }
        )
        take_free_name(aside, [target])
    return repository


def _triton_config(version: _Version) -> str:
    takes_files = "image_bytes" in version.facts["signatures"]
    shape = ", ".join(str(size) for size in version.facts["target_shape"])
    inputs = [("image", "TYPE_FP32", shape)]
    if takes_files:
        inputs.append(("image_bytes", "TYPE_STRING", "1"))
    # One of the two is given, so that none must be.
    optional = str(takes_files).lower()
    return _TRITON_CONFIG.format(
        name=version.name,
        max_batch_size=_TRITON_BATCH,
        inputs="".join(
            _TRITON_INPUT.format(name=name, data_type=kind, dims=dims, optional=optional)
            for name, kind, dims in inputs
        ),
        num_classes=len(version.facts["class_names"]),
    )


# === OpenVINO Model Server, KServe ===

_KSERVE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {resource}
spec:
  predictor:
    model:
      modelFormat:
        name: tensorflow
      # The folder that holds the versions, where you put it: gs://, s3://, pvc://, ...
      storageUri: pvc://models/{name}
"""


def _write_openvino(version: _Version) -> Path:
    path = version.base_dir / "ovms.json"
    served = {"name": version.name, "base_path": f"/models/{version.name}"}
    config = {"model_config_list": [{"config": served}]}
    _write_samples({path: json.dumps(config, indent=2) + "\n"})
    return path


def _write_kserve(version: _Version) -> Path:
    path = version.base_dir / "kserve.yaml"
    # Kubernetes takes small letters, digits and hyphens.
    letters = [c if c.isascii() and c.isalnum() else "-" for c in version.name.lower()]
    resource = "".join(letters).strip("-") or "model"
    _write_samples({path: _KSERVE.format(resource=resource, name=version.name)})
    return path


def _write_samples(contents: dict[Path, str]) -> None:
    for path, content in contents.items():
        if not path.exists():
            write_whole_file(path, content.encode())


_WRITERS: dict[str, Callable[[_Version], Path]] = {
    "triton": _write_triton,
    "openvino": _write_openvino,
    "kserve": _write_kserve,
}
SERVERS = tuple(_WRITERS)
