"""export_halves: program and output map by themselves, for a source that stays where it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_reprogram.export.blockers import half_blockers, refuse_blockers
from keras_reprogram.export.encoded_images import why_no_files
from keras_reprogram.export.exported_halves import ExportedHalves
from keras_reprogram.export.half_checks import check_map_half, check_program_half
from keras_reprogram.export.half_graphs import write_map_half, write_program_half
from keras_reprogram.export.half_versions import (
    OUTPUT_MAP,
    PROGRAM,
    check_half_versions,
    litert_name,
    take_half_versions,
)
from keras_reprogram.export.labels_file import labels_file
from keras_reprogram.export.litert_conversion import convert_folder
from keras_reprogram.export.litert_facts import litert_facts, with_facts
from keras_reprogram.export.model_facts import plain_metrics, scored_classes, write_facts
from keras_reprogram.export.version_folder import written_aside
from keras_reprogram.reprogrammed_model import ReprogrammedModel


def export_halves(
    model: ReprogrammedModel,
    base_dir: str | Path,
    *,
    version: int | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> ExportedHalves:
    """Writes what comes before the source and what comes after it, and leaves the source out.

    For a source that cannot become part of a graph: somebody's API, a `.tflite` file, a Python
    function. A server or a device asks it between the halves:

    - `base_dir/program/<version>`, a SavedModel: `image`, float32 `(n, h, w, c)` in the target
      range -> `source_images`, float32 `(n, V, H, W, C)` in the source's range. Where target
      images have 1 or 3 channels, `image_bytes`, JPEG, PNG or plain BMP files, gives the same.
    - `base_dir/output_map/<version>`, a SavedModel: `source_scores`, float32
      `(n, V, num_labels)` -> `scores`, float32 `(n, classes)`; class names in assets/labels.txt.
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
    no_files = why_no_files(model)
    with written_aside(base_dir) as aside:
        aside.mkdir()
        program, output_map = aside / PROGRAM, aside / OUTPUT_MAP
        signatures = write_program_half(model, program, takes_files=not no_files)
        write_facts(program, model, model.source, class_names, signatures, metrics, PROGRAM)
        with labels_file(class_names) as labels:
            answering = write_map_half(model, output_map, labels)
        write_facts(output_map, model, model.source, class_names, answering, metrics, OUTPUT_MAP)
        difference = _convert(model, aside, signatures)
        taken = take_half_versions(aside, base_dir, version)
    notes = (no_files,) if no_files else ()
    return ExportedHalves(base_dir, taken, signatures, difference, notes)


def _convert(model: ReprogrammedModel, folder: Path, signatures: tuple[str, ...]) -> float:
    """Writes the LiteRT files beside the halves; how far anything differs from the model."""
    content = convert_folder(folder / PROGRAM)
    difference = check_program_half(model, folder / PROGRAM, signatures, content)
    (folder / litert_name(PROGRAM)).write_bytes(content)
    content = convert_folder(folder / OUTPUT_MAP)
    other, agreement = check_map_half(model, folder / OUTPUT_MAP, content)
    facts = litert_facts(model, model.source, "float32", agreement)
    (folder / litert_name(OUTPUT_MAP)).write_bytes(with_facts(content, facts))
    return max(difference, other)
