"""export_litert: one .tflite file for edge devices."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_reprogram.export.blockers import refuse_blockers
from keras_reprogram.export.saved_model import write_saved_model
from keras_reprogram.export.twin import check_twin, sample_images
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source
from keras_reprogram.whole_file import write_whole_file

# float32 kernels of another runtime add up in another order.
_PARITY = 1e-4


def export_litert(
    model: ReprogrammedModel,
    path: str | Path,
    *,
    source: Source | None = None,
    twin_tolerance: float = 1e-3,
    overwrite: bool = False,
) -> Path:
    """Converts program, source and output map to one float32 `.tflite` file.

    Only LiteRT's builtin operations are used. The file is run with `ai_edge_litert` and compared
    with the model before it is written. All views are inside; input `image`, output `scores`,
    dynamic batch.

    Args:
        model: a trained model.
        path: file name ending in `.tflite`.
        source: a twin of the model's source that can be embedded; see `export_saved_model`.
        twin_tolerance: largest difference of a score between source and twin.
        overwrite: replace an existing file.

    Returns:
        The path.

    Raises:
        ValueError: for another suffix, listing every blocker, or if the file does not agree with
            the model.
        FileExistsError: if the file exists and `overwrite` is false.

    Example:
    ```python
    import keras
    from keras_reprogram import (
        FrozenSource, NewHead, ProgramLayer, ReprogrammedModel, embedded_path, export_litert
    )

    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255), output="features")
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, NewHead(num_classes=10))
    export_litert(model, "digits.tflite")
    ```
    """
    path = Path(path)
    if path.suffix != ".tflite":
        raise ValueError(f"A LiteRT file must end in `.tflite`. Received: {path.name}.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already. Pass `overwrite=True` to replace it.")
    refuse_blockers(model, source)
    if source is not None:
        check_twin(model, source, twin_tolerance)
    content = _convert(model, source)
    _check_runs(model, content, source or model.source)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole_file(path, content)
    return path


def _convert(model: ReprogrammedModel, source: Source | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "saved_model"
        write_saved_model(model, saved, source=source)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(saved), signature_keys=["serving_default"]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            with _quiet():
                return converter.convert()
        # TensorFlow's class for it is private, and other errors come out of the converter too.
        except Exception as error:
            raise ValueError(
                "This model cannot be converted with LiteRT's builtin operations; nothing was "
                f"written. Received: {_first_lines(error)}\nReplace the layer that the message "
                "names, or use `export_saved_model`."
            ) from error


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


def _check_runs(model: ReprogrammedModel, content: bytes, embedded: Source) -> None:
    image = sample_images(model)
    interpreter = Interpreter(model_content=content)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], image.shape)
    interpreter.allocate_tensors()
    scores = interpreter.get_signature_runner("serving_default")(image=image)["scores"]
    expected = keras.ops.convert_to_numpy(model.output_map(embedded(model.program(image))))
    difference = float(np.abs(scores - expected).max())
    if not difference <= _PARITY:
        raise ValueError(
            f"The LiteRT file does not agree with the model: scores differ by {difference:.3g}, "
            f"at most {_PARITY:g} is allowed. Nothing was written."
        )
