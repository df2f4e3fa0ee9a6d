"""load_keras_file: a network's file as Keras 3, or Keras 2 before it, wrote it."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras

# Beyond this an error of Keras is the whole configuration of a network.
_MOST_CHARACTERS = 300
# Layers whose `groups=1` Keras 2 writes and Keras 3 does not know.
_UNGROUPED = ("DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose")
# What Keras 2 calls a network that Keras 3 makes of a `keras.Model`.
_NETWORKS = ("Functional", "Model", "Sequential")


def load_keras_file(path: str | Path) -> keras.Model:
    """Loads a `.keras`, `.h5` or `.hdf5` file, its ending in any case.

    Args:
        path: the file. If Keras 2 wrote it (Teachable Machine's `keras_model.h5`, say), what Keras
            3 calls otherwise is renamed in a copy of its configuration.

    Returns:
        The network, not compiled.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if Keras cannot load it; the message says what wrote the file, and the way out.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no Keras model at {path}. Check the path.")
    with tempfile.TemporaryDirectory() as folder:
        # Keras goes by the suffix, in lower case.
        copy = Path(folder) / (path.stem + path.suffix.lower())
        named = path
        if path.suffix != path.suffix.lower():
            named = Path(shutil.copyfile(path, copy))
        try:
            return keras.saving.load_model(named, compile=False)
        except Exception as error:  # Layers of any kind raise whatever they like.
            writer = _writer(path)
            if writer is None or writer.startswith("3."):
                raise ValueError(_cannot_be_loaded(path, error, writer)) from error
        try:
            _translate(path, copy)
            return keras.saving.load_model(copy, compile=False)
        except Exception as error:
            raise ValueError(_cannot_be_loaded(path, error, writer)) from error


def _writer(path: Path) -> str | None:
    """The version of Keras that wrote a file, such as "2.15.0"; `None` where nothing says it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "metadata.json" not in archive.namelist():
                return None
            return json.loads(archive.read("metadata.json")).get("keras_version")
    import h5py

    if not h5py.is_hdf5(path):
        return None
    with h5py.File(path) as file:
        version = file.attrs.get("keras_version")
    return version.decode() if isinstance(version, bytes) else version


def _translate(path: Path, copy: Path) -> None:
    """Writes a copy of a file of Keras 2, with its configuration in the terms of Keras 3."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "config.json":
                    content = json.dumps(_in_new_terms(json.loads(content))).encode()
                new.writestr(name, content)
        return
    import h5py

    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        file.attrs["model_config"] = json.dumps(_in_new_terms(config))


def _in_new_terms(config: Any) -> Any:
    """A configuration of Keras 2, whole or in part, as Keras 3 reads it."""
    if isinstance(config, list):
        return [_in_new_terms(part) for part in config]
    if not isinstance(config, dict):
        return config
    config = {key: _in_new_terms(value) for key, value in config.items()}
    kind, settings = config.get("class_name"), config.get("config")
    if not isinstance(kind, str) or not isinstance(settings, dict):
        return config
    if kind in _NETWORKS:
        # Keras 3 reads a functional network by the name of its base class.
        config["class_name"] = "Sequential" if kind == "Sequential" else "Model"
        config.pop("registered_name", None)
        if "module" in config:
            config["module"] = "keras"
        _drop_repeated_shapes(settings.get("layers"))
        for ends in ("input_layers", "output_layers"):
            # A list of one tensor is a list for Keras 3, which the next layer does not take.
            if len(settings.get(ends, ())) == 1:
                (settings[ends],) = settings[ends]
    elif str(config.get("module")).partition(".")[0] == "tf_keras":
        config["module"] = "keras" + config["module"].removeprefix("tf_keras")
    if kind in _UNGROUPED and settings.get("groups") == 1:
        del settings["groups"]
    if kind == "SeparableConv2D":
        # It has two kernels, with settings of their own.
        for name in ("kernel_initializer", "kernel_regularizer", "kernel_constraint"):
            settings.pop(name, None)
    axis = settings.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        settings["axis"] = axis[0]
    return config


def _drop_repeated_shapes(layers: Any) -> None:
    """Keras 2 says the shape of the image in its `InputLayer`, and in the first layer again."""
    if isinstance(layers, list) and layers and layers[0].get("class_name") == "InputLayer":
        for layer in layers[1:]:
            layer["config"].pop("batch_input_shape", None)


def _cannot_be_loaded(path: Path, error: Exception, writer: str | None) -> str:
    reason = " ".join(str(error).split())
    if len(reason) > _MOST_CHARACTERS:
        reason = f"{reason[:_MOST_CHARACTERS]} ..."
    said = f"{path} is not a Keras model that Keras {keras.__version__} can load."
    if path.name.lower().endswith(".weights.h5"):
        way = "It holds only weights: load them into their network, and save the network as .keras."
    elif writer is not None and not writer.startswith("3."):
        way = (
            f"It was written by Keras {writer}: save it there as a SavedModel, "
            "`model.export(FOLDER)`, then pass --source FOLDER (`SavedModelSource`)."
        )
    else:
        way = (
            "A model of Keras 2: load it with `tf_keras`, and write a SavedModel with "
            "`model.export(FOLDER)`. A model with layers of its own: make the source in Python, "
            "--source FILE.py:NAME."
        )
    return f"{said} Received: {reason} {way}"
