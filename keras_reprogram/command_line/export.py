"""`keras-reprogram export`: a run as a SavedModel, a LiteRT or ONNX file, or a split export."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_reprogram.command_line.console import Progress, stdout_is_for_data, with_exit_codes
from keras_reprogram.command_line.litert_settings import (
    LiteRTRuntime,
    LiteRTSettings,
    with_litert_settings,
)
from keras_reprogram.command_line.options import (
    Abstain,
    ClassWise,
    Coverage,
    Quiet,
    RunFolder,
    check_folder,
)
from keras_reprogram.command_line.run_folder import read_run
from keras_reprogram.command_line.source_settings import SourceSettings, with_source_settings
from keras_reprogram.command_line.sources import ONNX_FILES, check_source, resolve_source

if TYPE_CHECKING:
    from keras_reprogram.command_line.run_folder import Run
    from keras_reprogram.command_line.sources import ResolvedSource
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
    from keras_reprogram.source import Source


class ExportFormat(StrEnum):
    """Formats of an export."""

    SAVED_MODEL = "saved-model"
    LITERT = "litert"
    BOTH = "both"
    HALVES = "halves"
    ONNX = "onnx"


_FILE_SUFFIXES = {
    ExportFormat.LITERT: ".tflite",
    ExportFormat.BOTH: ".tflite",
    ExportFormat.ONNX: ".onnx",
}


class OtherServer(StrEnum):
    """Servers, besides TensorFlow Serving, that version folders have configurations for."""

    TRITON = "triton"
    OPENVINO = "openvino"
    KSERVE = "kserve"


@with_exit_codes
@with_source_settings
@with_litert_settings
def export(
    *,
    run: RunFolder,
    kind: Annotated[
        ExportFormat | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="saved-model for TensorFlow Serving, litert for edge devices, or both; onnx for "
            "one ONNX file around an .onnx source; halves exports the program and the output map "
            "separately, for a source that runs only in Python. [default: both, or litert with "
            "--for]",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The SavedModel becomes the next version in this folder, the LiteRT or ONNX file "
            "DIR.tflite or DIR.onnx; halves and the page of --for browser go into it. [default: "
            "saved_models/NAME, of a page saved_models/NAME-page]",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="For a run with an opaque source, an equivalent one that can be embedded, named "
            "as for train. Both must give the same scores.",
        ),
    ] = None,
    settings: SourceSettings,
    litert: LiteRTSettings,
    server: Annotated[
        list[OtherServer] | None,
        typer.Option(
            metavar="NAME",
            help="Also write the configuration of another server than TensorFlow Serving for the "
            "SavedModel: triton, openvino or kserve. Repeat it for several.",
        ),
    ] = None,
    coverage: Coverage = None,
    class_wise: ClassWise = None,
    abstain: Abstain = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Write a LiteRT file even if it differs from the model."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace DIR.tflite, DIR.onnx or a page. Versions are never replaced.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write a training run as one model, or split around its source.

    Program, source and output map become a SavedModel, a LiteRT or an ONNX file, which is read
    back and compared before it gets its name. Prints the path. Example:

    keras-reprogram export runs/digits-traffic-signs --source traffic-signs
    """
    if kind is None:
        alone = litert.runtime != LiteRTRuntime.LITERT
        kind = ExportFormat.LITERT if alone else ExportFormat.BOTH
    writes_litert = kind in (ExportFormat.LITERT, ExportFormat.BOTH)
    opened = read_run(run)
    if output is not None:
        check_folder(output)
    folder, file = _places(opened, output, kind, litert)
    _check_servers(server, kind)
    if kind == ExportFormat.HALVES:
        _refuse_with_halves(source)
    elif kind in _FILE_SUFFIXES and file.exists() and not overwrite:
        raise FileExistsError(
            f"{file} exists. Pass --overwrite to replace it, or choose another --output."
        )
    if not writes_litert:
        litert.refuse(kind)
    if source is None:
        settings.refuse("a run", "they describe the file that --source names")
    else:
        check_source(source)
    resolved = opened.open_source()
    model = opened.load_model(resolved)
    _choose_sets(model, coverage, class_wise, abstain)
    if writes_litert:
        litert.check(model)
    equivalent = (
        None
        if kind == ExportFormat.HALVES
        else _equivalent(opened, model, resolved, source, settings, kind)
    )
    progress = Progress(quiet)
    progress.note("Writing, reading back and comparing with the model.")
    written: list[Path] = []
    with stdout_is_for_data():
        if kind == ExportFormat.HALVES:
            written += _write_halves(opened, model, folder, progress)
        if kind in (ExportFormat.SAVED_MODEL, ExportFormat.BOTH):
            version = _write_saved_model(opened, model, folder, equivalent, progress)
            written += [version, *_write_for_servers(version, server or [])]
        if writes_litert:
            how = {"force": force, "overwrite": overwrite}
            written.append(litert.write(opened, model, file, equivalent, progress, **how))
        if kind == ExportFormat.ONNX:
            written.append(_write_onnx(opened, model, file, equivalent, overwrite))
    for path in written:
        print(path)
    if litert.page:
        litert.note_next_steps(folder, progress)


def _places(
    opened: Run, output: Path | None, kind: ExportFormat, litert: LiteRTSettings
) -> tuple[Path, Path]:
    """The folder of versions, halves or a page, and the file; a page is both."""
    named = output or Path("saved_models") / opened.folder.resolve().name
    if kind == ExportFormat.LITERT and litert.page:
        page = output or named.with_name(f"{named.name}-page")
        return page, page
    if kind == ExportFormat.BOTH and litert.page:
        raise ValueError(
            "--for browser writes a folder of its own. Received: --format both. Leave --format "
            "out, and export the SavedModel by itself."
        )
    return named, named.with_name(f"{named.name}{_FILE_SUFFIXES.get(kind, '')}")


def _check_servers(servers: list[OtherServer] | None, kind: ExportFormat) -> None:
    if servers and kind not in (ExportFormat.SAVED_MODEL, ExportFormat.BOTH):
        raise ValueError(
            f"--server is for a SavedModel. Received: --server {servers[0]} with --format {kind}. "
            "Leave it out, or choose --format saved-model."
        )


def _write_for_servers(version: Path, servers: list[OtherServer]) -> list[Path]:
    from keras_reprogram.export import write_for_server

    return [write_for_server(version, server) for server in dict.fromkeys(servers)]


def _choose_sets(
    model: ReprogrammedModel,
    coverage: float | None,
    class_wise: bool | None,
    abstain: float | None,
) -> None:
    """Sets of a calibrated run are exported for what the options ask."""
    if (coverage, class_wise, abstain) == (None, None, None):
        return
    from keras_reprogram.asking.prediction_sets import checked_calibration

    calibration = checked_calibration(model)
    rule = calibration.rule(coverage, class_wise, abstain)
    model.calibration = replace(
        calibration, coverage=rule.coverage, class_wise=rule.class_wise, abstain=rule.abstain
    )


def _refuse_with_halves(source: str | None) -> None:
    if source is not None:
        raise ValueError(
            f"--format halves leaves the source out. Received: --source {source}. Leave it out "
            "too, or choose another --format."
        )


def _equivalent(
    opened: Run,
    model: ReprogrammedModel,
    resolved: ResolvedSource,
    source: str | None,
    settings: SourceSettings,
    kind: ExportFormat,
) -> Source | None:
    if source is not None:
        return resolve_source(
            source, settings=_equivalent_settings(opened, source, settings)
        ).source
    # Around a source that is none of its own, `export_onnx` says what to do.
    if model.source.exportable or kind == ExportFormat.ONNX:
        return None
    if resolved.equivalent is not None:
        way = f"You have the same network as a Keras model: add --source {resolved.equivalent}."
    else:
        way = "If you have the same network as a Keras model or a SavedModel, add --source PATH."
    raise ValueError(
        "This run's source is opaque: it returns scores only and cannot become part of an "
        f"export. {way} Or export what comes before the source and what comes after it: --format "
        f"halves. Around an .onnx file: --format onnx."
    )


def _equivalent_settings(opened: Run, source: str, settings: SourceSettings) -> SourceSettings:
    """Settings of an equivalent source's file: pixels and scores as of the run's source."""
    path, facts = Path(source).expanduser(), opened.facts["source"]
    if path.exists() and settings.value_range is None:
        low, high = facts["value_range"]
        settings = replace(settings, value_range=(low, high))
    if (path.is_dir() or path.suffix.lower() in ONNX_FILES) and settings.scores is None:
        settings = replace(settings, scores=facts["described"]["scores"])
    return settings


def _write_saved_model(
    opened: Run,
    model: ReprogrammedModel,
    folder: Path,
    equivalent: Source | None,
    progress: Progress,
) -> Path:
    from keras_reprogram.export import export_saved_model

    metrics = opened.facts.get("metrics")
    exported = export_saved_model(model, folder, source=equivalent, metrics=metrics)
    progress.note(exported.summary)
    return exported.folder


def _write_onnx(
    opened: Run,
    model: ReprogrammedModel,
    path: Path,
    equivalent: Source | None,
    overwrite: bool,
) -> Path:
    from keras_reprogram.export import export_onnx

    metrics = opened.facts.get("metrics")
    return export_onnx(model, path, source=equivalent, metrics=metrics, overwrite=overwrite)


def _write_halves(
    opened: Run, model: ReprogrammedModel, folder: Path, progress: Progress
) -> list[Path]:
    from keras_reprogram.export import export_halves

    exported = export_halves(model, folder, metrics=opened.facts.get("metrics"))
    progress.note(exported.summary)
    folders = [exported.program, exported.output_map]
    return [*folders, exported.program_file, exported.output_map_file]
