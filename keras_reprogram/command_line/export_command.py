"""`keras-reprogram export`: a training run as a SavedModel or a LiteRT file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_reprogram.command_line.console import (
    Talk,
    quiet_tensorflow,
    stdout_is_for_data,
)
from keras_reprogram.command_line.exit_codes import with_exit_codes
from keras_reprogram.command_line.run_folder import read_run

if TYPE_CHECKING:
    from keras_reprogram.export import ExportedModel


class ExportFormat(StrEnum):
    """What to write."""

    SAVED_MODEL = "saved-model"
    LITERT = "litert"
    BOTH = "both"


class LiteRTNumbers(StrEnum):
    """In which numbers a LiteRT file computes."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_INT8 = "dynamic_int8"
    INT8 = "int8"


@with_exit_codes
def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder that train left, as runs/NAME.")
    ],
    kind: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="saved-model for TensorFlow Serving, litert for edge devices, or both.",
        ),
    ] = ExportFormat.BOTH,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The SavedModel becomes the next version in this folder, the LiteRT file "
            "DIR.tflite. [default: saved_models/NAME]",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="The same network in a form that can be embedded, named as for train. An "
            "opaque source cannot leave Python; both must answer alike.",
        ),
    ] = None,
    litert_form: Annotated[
        LiteRTNumbers,
        typer.Option(
            metavar="FORM",
            help="float32, or smaller: float16, dynamic_int8, int8. The smaller ones are compared "
            "with the model on the run's training images.",
        ),
    ] = LiteRTNumbers.FLOAT32,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace DIR.tflite. Versions are never replaced.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Write a training run as one model.

    Program, source and output map become a SavedModel or a LiteRT file, which is read back and
    compared before it gets its name. Prints where it is. Example:

    keras-reprogram export runs/digits-traffic-signs --source traffic-signs
    """
    opened = read_run(run)
    folder = output if output is not None else Path("saved_models") / opened.folder.resolve().name
    litert = folder.with_name(f"{folder.name}.tflite")
    if kind != ExportFormat.SAVED_MODEL and litert.exists() and not overwrite:
        raise FileExistsError(
            f"{litert} exists. Pass --overwrite to replace it, or choose another --output."
        )
    quiet_tensorflow()
    from keras_reprogram.command_line.source_option import resolve_source

    resolved = opened.open_source()
    model = opened.load_model(resolved)
    low, high = opened.facts["source"]["value_range"]
    twin = None
    if source is not None:
        twin = resolve_source(source, value_range=(low, high)).source
    elif not model.source.exportable and resolved.twin is not None:
        raise ValueError(
            "This run's source is opaque: it shows scores only and cannot become part of an "
            f"export. You have the same network as a Keras model: add --source {resolved.twin}."
        )
    talk = Talk(quiet)
    talk.note("Writing, reading back and comparing with the model.")
    written: list[Path | ExportedModel] = []
    with stdout_is_for_data():
        from keras_reprogram.export import export_litert, export_saved_model

        if kind != ExportFormat.LITERT:
            metrics = opened.facts.get("metrics")
            exported = export_saved_model(model, folder, source=twin, metrics=metrics)
            talk.note(exported.summary)
            written.append(exported)
        if kind != ExportFormat.SAVED_MODEL:
            small = litert_form != LiteRTNumbers.FLOAT32
            images = opened.load_target().train_images if small else None
            written.append(
                export_litert(
                    model,
                    litert,
                    form=litert_form,
                    calibration_images=images,
                    source=twin,
                    overwrite=overwrite,
                )
            )
    for path in written:
        print(path)
