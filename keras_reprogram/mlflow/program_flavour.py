"""save_model, log_model and load_model: a program file as an MLflow model, without its source."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.mlflow.source_place import check_place, describe_files, source_at
from keras_reprogram.model.program_file import load_program, read_description, save_program
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.source import Source
from keras_reprogram.version import __version__

_LOADER = "keras_reprogram.mlflow"
_PROGRAM, _SOURCE = "program.reprogram", "source.json"


def save_model(
    model: ReprogrammedModel, path: str | Path, *, source: str | None = None, **options: Any
) -> None:
    """Writes a model's program as a folder that `mlflow.pyfunc` and `load_model` read.

    As `log_model`, for a folder of one's own instead of a tracking server.

    Args:
        model: a trained model.
        path: a folder that is not there yet.
        source: as for `log_model`.
        options: further arguments of `mlflow.pyfunc.save_model`.

    Raises:
        ImportError: without MLflow (extra `mlflow`); it names the command that installs it.
        ValueError: as `log_model`.

    Example:
    ```python
    from keras_reprogram.mlflow import save_model

    help(save_model)
    # save_model(model, "digits", source="my_sources:signs", code_paths=["my_sources.py"])
    ```
    """
    mlflow = _package()
    with _as_pyfunc(model, source, options) as arguments:
        mlflow.pyfunc.save_model(str(path), **arguments)


def log_model(
    model: ReprogrammedModel, name: str = "program", *, source: str | None = None, **options: Any
) -> Any:
    """Logs a model's program to MLflow: a program file of kilobytes, without the source.

    `mlflow.pyfunc.load_model`, `mlflow models serve` and `load_model` join it to its source
    again, and refuse any other by its fingerprint. Where that source is, is kept with it:

    - Sources that are made from files (`.tflite`, `.onnx`, SavedModels) are made again from these
      files; if they moved, `model_config={"source": FOLDER}` on loading says where to look, and
      they are found by their digest.
    - Of any other (a Keras network, a service, a function) `source` names Python code that makes
      it: `"MODULE:NAME"`, a `Source` or a function without arguments that returns one. MLflow's
      `code_paths=["my_sources.py"]` stores the module, too.

    Target images go in, float32 `(n, h, w, c)` in the target range, and probabilities
    `(n, classes)` come out; the signature says so. No object is pickled.

    Args:
        model: a trained model.
        name: of the logged model.
        source: `"MODULE:NAME"`, or `None` for a source that is made from files.
        options: further arguments of `mlflow.pyfunc.log_model`, such as `registered_model_name`.

    Returns:
        MLflow's `ModelInfo`.

    Raises:
        ImportError: without MLflow (extra `mlflow`); it names the command that installs it.
        ValueError: if `source` is not the model's source, or is missing where it is needed.

    Example:
    ```python
    from keras_reprogram.mlflow import log_model

    help(log_model)
    # with mlflow.start_run():
    #     logged = log_model(model, source="my_sources:signs", code_paths=["my_sources.py"])
    # mlflow.pyfunc.load_model(logged.model_uri).predict(images)
    ```
    """
    mlflow = _package()
    with _as_pyfunc(model, source, options) as arguments:
        return mlflow.pyfunc.log_model(name=name, **arguments)


def load_model(model_uri: str, *, source: Source | str | None = None) -> ReprogrammedModel:
    """Reads what `log_model` or `save_model` wrote, as a model that trains and predicts.

    Args:
        model_uri: as MLflow takes it: `models:/...`, `runs:/...`, or a folder.
        source: the source itself; or where it is: `"MODULE:NAME"`, or the path of its file or of
            a folder that holds it. `None` for where it was.

    Returns:
        A model that is not compiled.

    Raises:
        ImportError: without MLflow (extra `mlflow`); it names the command that installs it.
        ValueError: for another source than the program's, and for models that are no programs.
        FileNotFoundError: if the source's file is neither where it was nor where `source` says.

    Example:
    ```python
    from keras_reprogram.mlflow import load_model

    help(load_model)
    # model = load_model("models:/digits/1", source="/srv/networks")
    ```
    """
    mlflow = _package()
    folder = mlflow.artifacts.download_artifacts(artifact_uri=str(model_uri))
    facts = mlflow.models.Model.load(folder).flavors.get("python_function", {})
    if facts.get("loader_module") != _LOADER:
        raise ValueError(
            "`model_uri` must name a model that `keras_reprogram.mlflow` wrote. Received: "
            f"{model_uri}, which {facts.get('loader_module')} loads. Load it with MLflow's "
            "function of that flavour."
        )
    if isinstance(source, Source):
        return load_program(Path(folder, facts["data"], _PROGRAM), source)
    chosen = None if source is None else {"source": str(source)}
    return mlflow.pyfunc.load_model(folder, model_config=chosen).get_raw_model()


def load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> ProgramPredictor:
    """What `mlflow.pyfunc.load_model` calls with the folder of data that was stored."""
    stored = Path(path) / _SOURCE
    described = json.loads(stored.read_text()) if stored.is_file() else None
    source = source_at((model_config or {}).get("source") or "", described)
    return ProgramPredictor(load_program(Path(path) / _PROGRAM, source))


class ProgramPredictor:
    """What MLflow calls to predict.

    Args:
        model: the program, joined to its source.
    """

    def __init__(self, model: ReprogrammedModel) -> None:
        self.model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """Probabilities `(n, classes)` of target images `(n, h, w, c)`."""
        del params
        return self.model.predict(np.asarray(model_input, np.float32), verbose=0)

    def get_raw_model(self) -> ReprogrammedModel:
        """The model itself."""
        return self.model


def _package() -> Any:
    with needs_extra("mlflow", "mlflow"):
        import mlflow
        import mlflow.artifacts
        import mlflow.models
        import mlflow.pyfunc
    return mlflow


@contextlib.contextmanager
def _as_pyfunc(
    model: ReprogrammedModel, source: str | None, options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Arguments of MLflow's functions for Python models, while the files they name are there."""
    described = None
    if source is None:
        described = describe_files(model.source)
    else:
        check_place(source, model.source)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "program"
        program = save_program(model, data / _PROGRAM)
        if described is not None:
            (data / _SOURCE).write_text(json.dumps(described, indent=1))
        arguments = {
            "loader_module": _LOADER,
            "data_path": str(data),
            # Only what is there already may be set to something else when a model is loaded.
            "model_config": {"source": source or ""},
            "signature": _signature(model),
            "pip_requirements": _requirements(),
            "metadata": {"keras_reprogram": _facts(program, model)},
        }
        yield {**arguments, **options}


def _signature(model: ReprogrammedModel) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    # Tensors without names: callers pass an array, not a dictionary.
    images = TensorSpec(np.dtype(np.float32), (-1, *model.input_shape[1:]))
    scores = TensorSpec(np.dtype(np.float32), (-1, model.output_map.num_classes))
    return ModelSignature(Schema([images]), Schema([scores]))


def _requirements() -> list[str]:
    return [
        f"keras-reprogram=={__version__}",
        f"tensorflow=={tf.__version__}",
        f"keras=={keras.__version__}",
        f"numpy=={version('numpy')}",
    ]


def _facts(program: Path, model: ReprogrammedModel) -> dict[str, Any]:
    described = read_description(program)
    kept = ("class_names", "queries_used", "source", "fingerprint")
    return {name: described[name] for name in kept} | {
        "target_shape": list(model.input_shape[1:]),
        "target_range": model.data_checks.target_range and list(model.data_checks.target_range),
    }
