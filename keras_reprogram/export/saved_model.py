"""export_saved_model: a version folder as TensorFlow Serving reads it."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.export.blockers import refuse_blockers
from keras_reprogram.export.twin import check_twin, sample_images
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source

# The same float32 operations in the same graph: anything above is a broken export.
_PARITY = 1e-5


def export_saved_model(
    model: ReprogrammedModel,
    folder: str | Path,
    *,
    source: Source | None = None,
    twin_tolerance: float = 1e-3,
) -> Path:
    """Writes a SavedModel into the next free version of a folder: `folder/1`, `folder/2`, ...

    The signature `serving_default` takes `image`, float32 `(n, h, w, c)` in the program's target
    range, and gives `scores`, float32 `(n, classes)`. Each weight is stored once. The version is
    written aside, reloaded, compared with the model, and renamed: a server that watches the
    folder never sees half of it, and no version is ever replaced.

    Args:
        model: a trained model.
        folder: holds the versions; made if needed.
        source: a twin of the model's source that can be embedded, such as the Keras model that a
            `.tflite` file was made from. Both are shown `8 * V` images and must agree.
        twin_tolerance: largest difference of a score between source and twin.

    Returns:
        The version folder.

    Raises:
        ValueError: listing every blocker, before anything is written; or if the export does not
            agree with the model.

    Example:
    ```python
    import keras
    from keras_reprogram import (
        FrozenSource, NewHead, ProgramLayer, ReprogrammedModel, embedded_path, export_saved_model
    )

    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255), output="features")
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, NewHead(num_classes=10))
    print(export_saved_model(model, "digits"))  # digits/1
    ```
    """
    refuse_blockers(model, source)
    if source is not None:
        check_twin(model, source, twin_tolerance)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{secrets.token_hex(8)}.part"
    try:
        write_saved_model(model, beside, source=source)
        _check_reloaded(model, beside, source or model.source)
        return _take_next_version(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_saved_model(
    model: ReprogrammedModel, path: Path, *, source: Source | None = None
) -> None:
    """Writes the graph to exactly this folder, without any check.

    Args:
        model: a model whose export is not blocked.
        path: a folder that does not exist.
        source: a twin of its source, or `None`.
    """
    embedded = source or model.source
    module = tf.Module()
    # Keras's own writer stores every weight twice; a plain list of the variables does not.
    module.weights = [
        variable.value
        for layer in (model.program, embedded, model.output_map)
        for variable in layer.variables
    ]
    module.loaded = getattr(embedded, "loaded", None)

    image = tf.TensorSpec(model.input_shape, tf.float32, name="image")

    @tf.function(input_signature=[image], autograph=False)
    def serve(image: Any) -> dict[str, Any]:
        return {"scores": model.output_map(embedded(model.program(image)))}

    # An opaque source refuses its gradient, which TensorFlow would ask for and store.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve}, options=options)


def _check_reloaded(model: ReprogrammedModel, path: Path, embedded: Source) -> None:
    image = sample_images(model)
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    scores = serve(image=tf.constant(image))["scores"].numpy()
    expected = keras.ops.convert_to_numpy(model.output_map(embedded(model.program(image))))
    difference = float(np.abs(scores - expected).max())
    if not difference <= _PARITY:
        raise ValueError(
            f"The SavedModel does not agree with the model: scores differ by {difference:.3g}, at "
            f"most {_PARITY:g} is allowed. Nothing was kept. Check custom layers in the source "
            "for operations that behave differently in a graph."
        )


def _take_next_version(written: Path, folder: Path) -> Path:
    """Renames to the lowest number above all versions; another writer may take it first."""
    while True:
        versions = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
        target = folder / str(max(versions, default=0) + 1)
        try:
            return written.rename(target)
        except OSError:
            if not target.exists():
                raise
