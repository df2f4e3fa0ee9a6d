"""export_saved_model: a version folder as TensorFlow Serving reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.export.blockers import export_blockers, refuse_blockers
from keras_reprogram.export.classify_method import set_classify_method
from keras_reprogram.export.encoded_images import why_no_files
from keras_reprogram.export.exported_model import ExportedModel
from keras_reprogram.export.labels_file import labels_file
from keras_reprogram.export.model_answers import ModelAnswers
from keras_reprogram.export.model_facts import plain_metrics, scored_classes, write_facts
from keras_reprogram.export.reload_check import check_reloaded, images_for
from keras_reprogram.export.server_files import docker_command, served_name, write_server_files
from keras_reprogram.export.serving_graph import write_serving_graph
from keras_reprogram.export.twin import check_twin
from keras_reprogram.export.version_folder import check_version, take_version, written_aside
from keras_reprogram.export.warmup import write_warmup
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source


def export_saved_model(
    model: ReprogrammedModel,
    base_dir: str | Path,
    *,
    source: Source | None = None,
    twin_tolerance: float = 1e-3,
    version: int | None = None,
    metrics: Mapping[str, Any] | None = None,
    batch_sizes: Sequence[int] = (1, 4, 16),
) -> ExportedModel:
    """Writes a SavedModel into a version of a folder: `base_dir/1`, `base_dir/2`, ...

    Signatures, all of any batch size, around one graph in which each weight is stored once:

    - `serving_default`: `image`, float32 `(n, h, w, c)` in the target range -> `scores`, float32
      `(n, classes)`.
    - `image_bytes`: `image_bytes`, string `(n,)`, JPEG, PNG or plain BMP files of any size ->
      `classes`, string `(n, classes)`, and `scores`. The target's channels, its size (bilinear with
      antialiasing, rounded to 8 bits) and its range are made inside.
    - `classify`: `inputs`, string `(n,)`, each a `tf.Example` with `image/encoded`, as TF
      Serving's Classify sends them -> `classes` and `scores`.
    - `steps`: what happens inside. `image`, as above -> `source_images`, `(n, V, H, W, C)` in the
      source's range, `source_scores`, `(n, V, num_labels)`, and `scores`.

    `image_bytes` and `classify` are written where target images have 1 or 3 channels. Beside the
    graph: class names (assets/labels.txt), keras_reprogram.json and warm-up requests
    (assets.extra); beside the version, unless they are there: models.config, batching.config and
    serve.sh for docker.

    The version is written aside, run by a fresh process without this package and Keras, compared
    with the model, and renamed: a server that watches the folder never sees half of it, and no
    version is ever replaced.

    Args:
        model: a trained model.
        base_dir: holds the versions; made if needed. Its name is what the server calls the model.
        source: a twin of the model's source that can be embedded, such as the Keras model that a
            `.tflite` file was made from. Both are shown `8 * V` images and must agree.
        twin_tolerance: largest difference of a score between source and twin.
        version: a version that is free; `None` for the next one.
        metrics: results to store in keras_reprogram.json, such as `{"accuracy": 0.97}`.
        batch_sizes: of the warm-up requests, and those that batching.config allows.

    Returns:
        An `ExportedModel`. It goes wherever a path does; print its `summary`.

    Raises:
        ValueError: listing every blocker, before anything is written; if the export does not
            agree with the model; or for arguments that do not fit.
        FileExistsError: if `version` is taken.

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
    exported = export_saved_model(model, "digits", metrics={"accuracy": 0.97})
    print(exported)  # digits/1
    print(exported.summary)
    ```
    """
    base_dir = Path(base_dir)
    refuse_blockers(export_blockers(model, source))
    check_version(base_dir, version)
    _check_batch_sizes(batch_sizes)
    metrics = plain_metrics(metrics)
    class_names = scored_classes(model)
    if source is not None:
        check_twin(model, source, twin_tolerance)
    embedded = source or model.source
    no_files = why_no_files(model)
    with written_aside(base_dir) as aside:
        signatures = _write_graph(model, aside, embedded, class_names, takes_files=not no_files)
        write_facts(aside, model, embedded, class_names, signatures, metrics)
        write_warmup(aside, served_name(base_dir), model.input_shape[1:], signatures, batch_sizes)
        inputs, images = images_for(model, signatures)
        expected = ModelAnswers(_answer(model, embedded), images)
        difference, replayed = check_reloaded(aside, inputs, expected)
        folder = take_version(aside, base_dir, version)
    write_server_files(base_dir, batch_sizes)
    return ExportedModel(
        folder=folder,
        signatures=signatures,
        weight_bytes=sum(file.stat().st_size for file in folder.glob("variables/*.data-*")),
        difference=difference,
        warmup_requests=replayed,
        serve_command=docker_command(base_dir),
        notes=(no_files,) if no_files else (),
    )


def _write_graph(
    model: ReprogrammedModel,
    folder: Path,
    source: Source,
    class_names: Sequence[str],
    *,
    takes_files: bool,
) -> tuple[str, ...]:
    with labels_file(class_names) as labels:
        signatures = write_serving_graph(
            model, folder, source, class_names, labels, takes_files=takes_files
        )
    if takes_files:
        set_classify_method(folder)
    return signatures


def _answer(model: ReprogrammedModel, source: Source) -> Callable[[np.ndarray], dict[str, Any]]:
    def answer(images: np.ndarray) -> dict[str, Any]:
        source_images = model.program(images)
        source_scores = source(source_images)
        scores = model.output_map(source_scores)
        return {"source_images": source_images, "source_scores": source_scores, "scores": scores}

    return answer


def _check_batch_sizes(batch_sizes: Sequence[int]) -> None:
    sizes = list(batch_sizes)
    if not sizes or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sizes):
        raise ValueError(
            f"`batch_sizes` must be positive integers, at least one. Received: {batch_sizes!r}."
        )
