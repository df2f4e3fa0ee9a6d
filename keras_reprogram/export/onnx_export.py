"""export_onnx: program, ONNX source and output map as one `.onnx` file."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.asking.asker import say
from keras_reprogram.export import onnx_process
from keras_reprogram.export.checks import (
    ModelAnswers,
    check_equivalent,
    different_facts,
    half_blockers,
    refuse_blockers,
    run_afresh,
    sample_images,
    verdict_answers,
)
from keras_reprogram.export.litert_facts import FACTS_FILE
from keras_reprogram.export.onnx_graphs import (
    LEAST_OPSET,
    LEAST_OPSET_TO_ROUND,
    exports,
    images_a_call,
    joined_graph,
    main_opset,
)
from keras_reprogram.export.server_files import export_facts, plain_metrics, scored_classes
from keras_reprogram.files import write_whole_file
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.onnx_source import ONNXSource
from keras_reprogram.source.source import Source

# Of a protocol buffer.
_MOST_BYTES = 2**31 - 1


def export_onnx(
    model: ReprogrammedModel,
    path: str | Path,
    *,
    source: Source | None = None,
    twin_tolerance: float = 1e-3,
    metrics: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    verbose: int = 0,
) -> Path:
    """Writes a model around an `ONNXSource` as one `.onnx` file.

    Input `image`, float32 `(n, h, w, c)` in the target range; output `scores`, float32
    `(n, classes)`. Program, preprocessing, the source's own graph and the output map are inside,
    in the source's opset; so are weights that the source has in other files. A source of a fixed
    batch makes a file of a fixed batch. A model of several findings also gives `findings`, bool
    `(n, classes)`, by its thresholds. The file's metadata has `keras_reprogram.json` and
    `labels.txt`, as other exports have files of these names.

    A fresh process without this package, Keras and TensorFlow runs it on onnxruntime, and it is
    compared with the model, before it gets its name. Needs
    `pip install 'keras-reprogram[onnx]'`.

    Args:
        model: a trained model. Its program is a `ProgramLayer`, `DecoderProgram`, `ScaledProgram`
            or another one with a `fixed()` form; its map a `DenseMap`, `MultiLabelMap` or
            `NewHead`.
        path: file name ending in `.onnx`.
        source: an equivalent `ONNXSource` if the model's source is none; both are shown `8 * V`
            images and must agree.
        twin_tolerance: largest difference of a score between the two sources.
        metrics: results to store in keras_reprogram.json, such as `{"accuracy": 0.97}`.
        overwrite: replace an existing file.
        verbose: 1 prints size and agreement.

    Returns:
        The path.

    Raises:
        ImportError: without onnxruntime and onnx.
        ValueError: for another suffix, listing every blocker, before anything is written; or if
            the file does not agree with the model.
        FileExistsError: if the file exists and `overwrite` is false.

    Example:
    ```python
    import numpy as np
    import onnx
    from keras_reprogram import DenseMap, ONNXSource, ProgramLayer, ReprogrammedModel, export_onnx

    network = onnx.parser.parse_model(\'\'\'
    <ir_version: 8, opset_import: ["" : 17]>
    main_colour (float[n, 3, 16, 16] image) => (float[n, 3] scores) {
        mean = ReduceMean <axes = [2, 3], keepdims = 0> (image)
        scores = Softmax <axis = 1> (mean)
    }\'\'\')
    onnx.save(network, "main_colour.onnx")
    source = ONNXSource("main_colour.onnx", value_range=(0, 255), preprocessing=(0.1, 0))
    program = ProgramLayer((8, 8, 3), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(num_classes=2))
    images = np.random.default_rng(0).uniform(0, 255, (20, 8, 8, 3))
    model.fit_output_map(images, np.arange(20) % 2, verbose=0)
    print(export_onnx(model, "whole.onnx"))  # whole.onnx
    ```
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"An ONNX file must end in `.onnx`. Received: {path.name}.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already. Pass `overwrite=True` to replace it.")
    refuse_blockers(onnx_blockers(model, source))
    metrics, class_names = plain_metrics(metrics), scored_classes(model)
    if source is not None:
        check_equivalent(model, source, twin_tolerance)
    embedded: Any = source or model.source
    facts = export_facts(model, embedded, class_names, ("image",), metrics)
    if facts.pop("calibration", None) is not None:
        warnings.warn(
            "The ONNX file has the model's scores, without its calibrated prediction sets; a "
            "SavedModel (--format saved-model) or --format halves has both.",
            stacklevel=2,
        )
    metadata = {
        FACTS_FILE: json.dumps(facts, ensure_ascii=False),
        "labels.txt": "".join(f"{name}\n" for name in class_names),
    }
    content = _content(model, embedded, metadata)
    difference = _check(model, embedded, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole_file(path, content)
    if verbose:
        say(f"{path}: {len(content) / 1e6:.2f} MB; scores differ by at most {difference:.3g}.")
    return path


def onnx_blockers(model: ReprogrammedModel, source: Source | None = None) -> list[str]:
    """Reasons why a model cannot become one `.onnx` file, empty if it can."""
    embedded = source or model.source
    blockers = half_blockers(model)
    if model.program.fixed() is None:
        blockers.append(
            f"The program is a {type(model.program).__name__}, which is more than a placed image "
            "with constants around it. Use `export_halves` (--format halves), or give it a "
            "`fixed()` that says it in constants."
        )
    if not exports(model.output_map):
        blockers.append(
            f"The output map is a {type(model.output_map).__name__}. Use DenseMap, MultiLabelMap "
            "or NewHead, or `export_halves` (--format halves)."
        )
    if model.source.beside is not None:
        blockers.append(
            "The source is joint: what is beside the asked part cannot be written in ONNX here. "
            "Use `export_saved_model` or `export_litert` if every part can be embedded, else "
            "`export_halves` (--format halves)."
        )
    if not isinstance(embedded, ONNXSource):
        blockers.append(
            f"The source is a {type(embedded).__name__}. If you have the same network as an .onnx "
            "file, pass it as `source=` (--source); a model around a Keras source writes itself: "
            '`model.export(PATH, format="onnx")`.'
        )
        return blockers
    return blockers + _source_blockers(model, embedded) + different_facts(model, embedded)


def _source_blockers(model: ReprogrammedModel, source: ONNXSource) -> list[str]:
    with needs_extra("onnx", "onnx"):
        import onnx

    blockers = []
    opset = main_opset(onnx.load(str(source.model_path), load_external_data=False))
    least = LEAST_OPSET if source.file.dtype.kind == "f" else LEAST_OPSET_TO_ROUND
    if opset < least:
        blockers.append(
            f"The source is of opset {opset}; {least} is needed. Convert it with "
            "`onnx.version_converter`, or export the network anew."
        )
    if source.file.score_names is not None:
        blockers.append(
            f"The source answers with tables of named scores ({source.file.output_name!r}), which "
            "no operation of ONNX reads. Take its `ZipMap` out (--score-output names what went "
            "into it, once that is an output of the graph)."
        )
    if images_a_call(model, source) == 0:
        blockers.append(
            f"The source answers {source.images_a_call} image(s) at a time, and a target image "
            f"becomes {model.queries_per_prediction}. Export the network for any batch (with "
            "`dynamic_axes` or `dynamic_shapes` in PyTorch), or use one view."
        )
    return blockers


def _content(model: ReprogrammedModel, source: ONNXSource, metadata: dict[str, str]) -> bytes:
    from onnx import helper

    try:
        whole = joined_graph(model, model.program.fixed(), source)
        helper.set_model_props(whole, metadata)
        content = whole.SerializeToString() if whole.ByteSize() <= _MOST_BYTES else b""
    except Exception as error:  # Whatever onnx's composer and checker raise.
        raise ValueError(
            f"{source.model_path} cannot be joined with a program and an output map; nothing was "
            f"written. Received: {error} Use `export_halves` (--format halves)."
        ) from error
    if not content:
        raise ValueError(
            "A file of ONNX holds at most 2 GiB; nothing was written. Received: "
            f"{whole.ByteSize() / 2**30:.1f} GiB. Use `export_halves` (--format halves)."
        )
    return content


def _check(model: ReprogrammedModel, source: ONNXSource, content: bytes) -> float:
    """Runs the file in a fresh process; the largest difference of a score from the model's."""
    images = sample_images(model)
    size = images_a_call(model, source)
    # As many as whole calls of a file of a fixed batch take.
    images = (
        images if size is None else np.resize(images, (-(-8 // size) * size, *images.shape[1:]))
    )

    def answer(rows: np.ndarray) -> dict[str, Any]:
        source_scores = source(model.program(rows))
        scores = model.output_map(source_scores)
        return {"scores": scores, **_findings(model, source_scores, scores)}

    expected = ModelAnswers(answer, images)
    with tempfile.TemporaryDirectory() as folder:
        file, exchange = Path(folder, "model.onnx"), Path(folder)
        file.write_bytes(content)
        np.save(exchange / "images.npy", images)
        without = ("keras", "keras_reprogram", "tensorflow")
        run_afresh("ONNX file", onnx_process, str(file), folder, without=without)
        return max(
            expected.compare("ONNX file", file.stem, np.load(file))
            for file in exchange.glob("*.npy")
            if file.stem != "images"
        )


def _findings(model: ReprogrammedModel, source_scores: Any, scores: Any) -> dict[str, Any]:
    """The verdict of a model of several findings; sets are not in the file."""
    several = model.output_map.multi_label
    return verdict_answers(model, source_scores, scores) if several else {}


def read_onnx_facts(path: str | Path) -> dict[str, Any]:
    """Reads what `export_onnx` stored in its file.

    Args:
        path: the `.onnx` file.

    Returns:
        The facts: `"class_names"`, `"target_shape"`, `"target_range"`, `"source"` and others.

    Raises:
        ImportError: without onnx.
        ValueError: for a file without them.

    Example:
    ```python
    from keras_reprogram.export import read_onnx_facts

    try:
        print(read_onnx_facts("whole.onnx")["class_names"])
    except (FileNotFoundError, ValueError) as error:
        print(error)
    ```
    """
    with needs_extra("onnx", "onnx"):
        import onnx
    try:
        model = onnx.load(str(path), load_external_data=False)
        found = {entry.key: entry.value for entry in model.metadata_props}
        return json.loads(found[FACTS_FILE])
    except OSError:
        raise
    except Exception as error:  # Protocol buffers raise errors of their own.
        raise ValueError(
            f"Expected a file that `export_onnx` wrote. Received: {path}, which has no "
            f"{FACTS_FILE} among its metadata ({error}). Export the model again."
        ) from error
