"""export_halves: split export of program and output map, without the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.export.checks import (
    ModelAnswers,
    check_reloaded,
    half_blockers,
    images_for,
    refuse_blockers,
    sample_images,
    verdict_answers,
)
from keras_reprogram.export.graphs import (
    write_map_half,
    write_program_half,
)
from keras_reprogram.export.litert_agreement import Agreement, run_litert, share_alike
from keras_reprogram.export.litert_conversion import convert_folder, convert_map
from keras_reprogram.export.litert_facts import litert_facts, with_facts
from keras_reprogram.export.raw_inputs import raw_input_of, why_no_raw_input
from keras_reprogram.export.saved_model import labels_file
from keras_reprogram.export.server_files import plain_metrics, scored_classes, write_facts
from keras_reprogram.export.verdicts import verdict_of
from keras_reprogram.export.version_folders import (
    OUTPUT_MAP,
    PROGRAM,
    check_half_versions,
    litert_name,
    take_half_versions,
)
from keras_reprogram.files import folder_aside
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel


def export_halves(
    model: ReprogrammedModel,
    base_dir: str | Path,
    *,
    version: int | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> ExportedHalves:
    """Writes a split export: program and output map by themselves, without the source.

    For a source that cannot become part of a graph: an API, a `.tflite` file, a Python
    function. A server or a device asks it between the halves:

    - `base_dir/program/<version>`, a SavedModel: `image`, float32 `(n, h, w, c)` in the target
      range -> `source_images`, float32 `(n, V, H, W, C)` in the source's range. Where target
      images have 1 or 3 channels, `image_bytes`, JPEG, PNG or plain BMP files, gives the same; of
      a model of texts `text` does, and `image` are token numbers. Of a joint source both also
      give `beside`, float32 `(n, D)`: the other parts are inside.
    - `base_dir/output_map/<version>`, a SavedModel: `source_scores`, float32
      `(n, V, num_labels)` -> `scores`, float32 `(n, classes)`; class names in assets/labels.txt.
      Of a joint source it takes `(n, 1, V * num_labels + D)`: the scores, view after view, and
      then `beside`. Of a calibrated model also `sets_of_scores`, of one of several
      findings `findings_of_scores`, see `export_saved_model`.
    - `base_dir/program-<version>.tflite` and `base_dir/output_map-<version>.tflite`, the same in
      float32 of LiteRT's builtin operations; `read_litert_facts` reads the latter's labels.

    Each SavedModel has assets.extra/keras_reprogram.json, which says what the source must be.
    Both are written aside, run by fresh processes without this package and Keras, compared with
    the model's parts, as are the files, and renamed, `program/<version>` last: where it is,
    everything is. The source is not asked.

    Args:
        model: a trained model; its source may be of any kind.
        base_dir: holds the halves; made if needed.
        version: a version that is free in both; `None` for the next one.
        metrics: results to store in keras_reprogram.json, such as `{"accuracy": 0.97}`.

    Returns:
        An `ExportedHalves`; print its `summary`.

    Raises:
        ValueError: if the output map was never fitted, before anything is written; if a half
            does not agree with the model or cannot be converted; or for arguments that do not
            fit.
        FileExistsError: if `version` is taken.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import (
        DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path
    )
    from keras_reprogram.export import export_halves

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(num_classes=3))
    x = np.random.default_rng(0).uniform(0, 255, (30, 8, 8, 1))
    model.fit_output_map(x, np.arange(30) % 3, verbose=0)
    exported = export_halves(model, "digits")
    print(exported.program, exported.output_map)  # digits/program/1 digits/output_map/1
    ```
    """
    base_dir = Path(base_dir)
    refuse_blockers(half_blockers(model))
    check_half_versions(base_dir, version)
    metrics = plain_metrics(metrics)
    class_names = scored_classes(model)
    no_raw = why_no_raw_input(model)
    with folder_aside(base_dir) as aside:
        aside.mkdir()
        program, output_map = aside / PROGRAM, aside / OUTPUT_MAP
        signatures = write_program_half(model, program, raw=raw_input_of(model))
        write_facts(program, model, model.source, class_names, signatures, metrics, PROGRAM)
        with labels_file(class_names) as labels:
            answering = write_map_half(model, output_map, class_names, labels)
        write_facts(output_map, model, model.source, class_names, answering, metrics, OUTPUT_MAP)
        difference = _convert(model, aside, signatures)
        taken = take_half_versions(aside, base_dir, version)
    notes = (no_raw,) if no_raw else ()
    return ExportedHalves(base_dir, taken, signatures, difference, notes)


def _convert(model: ReprogrammedModel, folder: Path, signatures: tuple[str, ...]) -> float:
    """Writes the LiteRT files; returns the largest difference from the model."""
    content = convert_folder(folder / PROGRAM)
    difference = check_program_half(model, folder / PROGRAM, signatures, content)
    (folder / litert_name(PROGRAM)).write_bytes(content)
    content = convert_map(model)
    other, agreement = check_map_half(model, folder / OUTPUT_MAP, content)
    facts = litert_facts(model, model.source, "float32", agreement)
    (folder / litert_name(OUTPUT_MAP)).write_bytes(with_facts(content, facts))
    return max(difference, other)


@dataclass(frozen=True)
class ExportedHalves:
    """The result of `export_halves`, usable wherever a path is taken: the folder of the export.

    Attributes:
        base_dir: holds the versions of both.
        version: that of both.
        signatures: those of the program's half.
        difference: largest difference of an output between the model and a fresh process or a
            LiteRT file; of source images, as a share of the largest pixel.
        notes: what was left out, and why.

    Example:
    ```python
    from pathlib import Path
    from keras_reprogram.export import ExportedHalves

    exported = ExportedHalves(Path("digits"), 3, ("serving_default",), 1e-7)
    assert exported.program == Path("digits/program/3")
    assert exported.output_map_file == Path("digits/output_map-3.tflite")
    print(exported.summary)
    ```
    """

    base_dir: Path
    version: int
    signatures: tuple[str, ...]
    difference: float
    notes: tuple[str, ...] = ()

    @property
    def program(self) -> Path:
        """SavedModel: target images -> source images."""
        return self.base_dir / PROGRAM / str(self.version)

    @property
    def output_map(self) -> Path:
        """SavedModel: source scores -> target probabilities."""
        return self.base_dir / OUTPUT_MAP / str(self.version)

    @property
    def program_file(self) -> Path:
        """The program as a LiteRT file."""
        return self.base_dir / litert_name(PROGRAM, self.version)

    @property
    def output_map_file(self) -> Path:
        """The output map as a LiteRT file."""
        return self.base_dir / litert_name(OUTPUT_MAP, self.version)

    @property
    def summary(self) -> str:
        """Everything above in a few lines."""
        return "\n".join(
            [
                f"{self.program}: image -> source_images, signatures "
                f"{', '.join(self.signatures)}; {self.program_file.name} beside it.",
                f"{self.output_map}: source_scores -> scores; {self.output_map_file.name} beside "
                "it.",
                f"Fresh processes and LiteRT agree with the model to {self.difference:.1e}. The "
                f"source was not asked.",
                *self.notes,
            ]
        )

    def __fspath__(self) -> str:
        return str(self.base_dir)

    def __str__(self) -> str:
        return str(self.base_dir)


_NUM_ROWS = 8


def check_program_half(
    model: ReprogrammedModel, folder: Path, signatures: Sequence[str], file: bytes
) -> float:
    """Compares the source images of both forms with those of the program."""
    inputs, images = images_for(model, signatures)
    beside = model.source.beside

    def answer(rows: np.ndarray) -> dict[str, Any]:
        found = {"source_images": model.program(rows)}
        return found if beside is None else found | {"beside": beside(rows)}

    expected = ModelAnswers(answer, images)
    found = {name: run_litert(file, images, "image", name) for name in expected.expected}
    return _compare(expected, folder, inputs, found)


def check_map_half(model: ReprogrammedModel, folder: Path, file: bytes) -> tuple[float, Agreement]:
    """Compares the probabilities of both forms with those of the output map."""
    rows = _sample_scores(model)
    answers = ModelAnswers(lambda rows: _map_answers(model, rows), rows)
    found = run_litert(file, rows, "source_scores", "scores")
    verdict = verdict_of(model)
    signatures = ("serving_default", *([verdict.names.of_scores] if verdict else []))
    inputs = dict.fromkeys(signatures, rows)
    difference = _compare(answers, folder, inputs, {"scores": found})
    if verdict is not None:
        for name in verdict.outputs:
            flags = run_litert(file, rows, "source_scores", name, verdict.names.of_images)
            answers.compare("LiteRT file", name, flags)
    expected = answers.expected["scores"]
    same = share_alike(model, found, expected)
    return difference, Agreement(len(rows), same, float(np.abs(found - expected).max()))


def _map_answers(model: ReprogrammedModel, rows: np.ndarray) -> dict[str, Any]:
    scores = model.output_map(rows)
    return {"scores": scores, **verdict_answers(model, rows, scores)}


def _compare(
    expected: ModelAnswers,
    folder: Path,
    inputs: Mapping[str, Any],
    found: Mapping[str, np.ndarray],
) -> float:
    converted = max(expected.compare("LiteRT file", *one) for one in found.items())
    reloaded, _ = check_reloaded(folder, inputs, expected)
    return max(converted, reloaded)


def _sample_scores(model: ReprogrammedModel) -> np.ndarray:
    """Random but plausible source scores, so that no query is needed."""
    shape = (_NUM_ROWS, model.queries_per_prediction, model.source.num_labels)
    scores = np.random.default_rng(0).normal(0.0, 2.0, shape)
    odds = np.exp(scores)
    if model.source.score_kind == "probabilities":
        scores = odds / odds.sum(axis=-1, keepdims=True)
    elif model.source.score_kind == "independent":
        scores = odds / (1 + odds)
    answers = model.source.answers(scores.astype(np.float32), sample_images(model, _NUM_ROWS))
    return np.asarray(answers)
