"""export_saved_model: a version folder as TensorFlow Serving reads it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tensorflow.core.protobuf import saved_model_pb2

from keras_reprogram.export.checks import (
    ModelAnswers,
    check_equivalent,
    check_reloaded,
    export_blockers,
    images_for,
    refuse_blockers,
    verdict_answers,
)
from keras_reprogram.export.graphs import write_serving_graph
from keras_reprogram.export.raw_inputs import TEXTS, RawInput, raw_input_of, why_no_raw_input
from keras_reprogram.export.server_files import (
    docker_command,
    plain_metrics,
    scored_classes,
    served_name,
    write_facts,
    write_server_files,
    write_warmup,
)
from keras_reprogram.export.verdicts import OF_SCORES
from keras_reprogram.export.version_folders import check_version, take_version
from keras_reprogram.files import folder_aside
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
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
      source's range, `source_scores`, `(n, V, num_labels)`, and `scores`; of a joint source also
      `beside`, `(n, D)`, the numbers of its other parts.

    A calibrated model (`model.calibrate`) has three more, for its calibration's coverage:

    - `sets`: `image`, as above -> `classes` and `scores`, as above, `probabilities`, float32
      `(n, classes)`, calibrated, `set`, bool `(n, classes)`, the classes that an image may have,
      `distance`, float32 `(n,)`, `foreign` and `accepted`, bool `(n,)`; see `Calibration`.
    - `sets_of_files`: `image_bytes`, as above -> the same.
    - `sets_of_scores`: `source_scores`, `(n, V, num_labels)`, of a joint source
      `(n, 1, V * num_labels + D)`, the scores, view after view, and then `beside` -> the same.

    A model of several findings (`DenseMap(targets="multi_label")`) has `findings`,
    `findings_of_files` and `findings_of_scores` instead, with the same inputs -> `classes`,
    `scores`, a sigmoid for each finding, and `findings`, bool `(n, classes)`, by the thresholds in
    the facts below.

    `image_bytes`, `classify` and `..._of_files` are written where target images have 1 or 3
    channels. A model of texts (`TextProgram`) has in place of them `text`: `text`, string `(n,)` ->
    `classes` and `scores`, and a `classify` of examples with the feature `text`; `image` are then
    token numbers. A text without a token is refused, unknown tokens are read as one.

    Beside the graph: class names (assets/labels.txt), keras_reprogram.json and warm-up requests
    (assets.extra); beside the version, unless they are there: models.config,
    batching.config and serve.sh for docker.

    The version is written aside, run by a fresh process without this package and Keras, compared
    with the model, and renamed: a server that watches the folder never sees half of it, and no
    version is ever replaced.

    Args:
        model: a trained model.
        base_dir: holds the versions; made if needed. Its name is what the server calls the model.
        source: an equivalent source that can be embedded, such as the Keras model that a `.tflite`
            file was made from. Both are shown `8 * V` images and must agree.
        twin_tolerance: largest difference of a score between the two sources.
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
        check_equivalent(model, source, twin_tolerance)
    embedded = model.source.with_asked(source) if source else model.source
    raw, no_raw = raw_input_of(model), why_no_raw_input(model)
    with folder_aside(base_dir) as aside:
        signatures = _write_graph(model, aside, embedded, class_names, raw)
        write_facts(aside, model, embedded, class_names, signatures, metrics)
        shape, name = model.input_shape[1:], served_name(base_dir)
        inputs, images = images_for(model, signatures)
        contents = inputs[raw.signature][:2] if raw is TEXTS else None
        answer_shape = model.asker.answer_shape
        write_warmup(aside, name, shape, signatures, batch_sizes, answer_shape, texts=contents)
        for name in set(OF_SCORES) & set(signatures):
            answers = embedded.answers(embedded(model.program(images)), images)
            inputs[name] = keras.ops.convert_to_numpy(answers)
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
        notes=(no_raw,) if no_raw else (),
    )


def _write_graph(
    model: ReprogrammedModel,
    folder: Path,
    source: Source,
    class_names: Sequence[str],
    raw: RawInput | None,
) -> tuple[str, ...]:
    with labels_file(class_names) as labels:
        signatures = write_serving_graph(model, folder, source, class_names, labels, raw=raw)
    if raw is not None:
        set_classify_method(folder)
    return signatures


def _answer(model: ReprogrammedModel, source: Source) -> Callable[[np.ndarray], dict[str, Any]]:
    def answer(images: np.ndarray) -> dict[str, Any]:
        source_images = model.program(images)
        source_scores = source(source_images)
        answers = source.answers(source_scores, images)
        scores = model.output_map(answers)
        steps = {"source_images": source_images, "source_scores": source_scores}
        if source.beside is not None:
            steps["beside"] = source.beside(images)
        return {**steps, "scores": scores, **verdict_answers(model, answers, scores)}

    return answer


def _check_batch_sizes(batch_sizes: Sequence[int]) -> None:
    sizes = list(batch_sizes)
    if not sizes or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sizes):
        raise ValueError(
            f"`batch_sizes` must be positive integers, at least one. Received: {batch_sizes!r}."
        )


@dataclass(frozen=True)
class ExportedModel:
    """The result of `export_saved_model`, usable wherever a path is taken: its version folder.

    Attributes:
        folder: the version folder.
        signatures: names of the signatures.
        weight_bytes: size of the stored weights.
        difference: largest difference of an output between the model and a fresh process; of
            outputs that reach beyond 1, as a share of the largest.
        warmup_requests: how many were written, and replayed in that process.
        serve_command: the `docker run` line that serves it.
        notes: what was left out, and why.

    Example:
    ```python
    from pathlib import Path
    from keras_reprogram.export import ExportedModel

    exported = ExportedModel(Path("digits/1"), ("serving_default",), 1024, 1e-7, 3, "docker run")
    assert str(exported) == "digits/1" and exported.name == "1"
    print(exported.summary)
    ```
    """

    folder: Path
    signatures: tuple[str, ...]
    weight_bytes: int
    difference: float
    warmup_requests: int
    serve_command: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The version."""
        return self.folder.name

    @property
    def summary(self) -> str:
        """Everything above in a few lines."""
        return "\n".join(
            [
                f"{self.folder}: {self.weight_bytes / 1e6:.2f} MB of weights, signatures "
                f"{', '.join(self.signatures)}.",
                f"A fresh process agrees to {self.difference:.1e}; {self.warmup_requests} warm-up "
                "requests replayed there.",
                *self.notes,
                f"Serve it: {self.serve_command}",
            ]
        )

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return str(self.folder)


@contextlib.contextmanager
def labels_file(class_names: Sequence[str]) -> Iterator[Path]:
    """A labels.txt for the length of a block: TensorFlow copies it and keeps its name."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "labels.txt"
        file.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
        yield file


CLASSIFY_METHOD = "tensorflow/serving/classify"


def set_classify_method(folder: Path, signature: str = "classify") -> None:
    """Gives a signature the method name that TF Serving's Classify asks for."""
    # `tf.saved_model.save` writes `tensorflow/serving/predict` everywhere, which servers started
    # with `--enable_signature_method_name_check` refuse.
    file = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (graph,) = saved_model.meta_graphs
    graph.signature_def[signature].method_name = CLASSIFY_METHOD
    file.write_bytes(saved_model.SerializeToString(deterministic=True))
    # It is optional, and its checksum is of the file as it was.
    (folder / "fingerprint.pb").unlink(missing_ok=True)
