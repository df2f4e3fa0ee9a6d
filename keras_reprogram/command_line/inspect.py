"""`keras-reprogram inspect`: facts of a run, a program file or a source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_reprogram.command_line.console import facts_table, print_table, with_exit_codes
from keras_reprogram.command_line.options import JsonFile
from keras_reprogram.command_line.run_folder import check_json_path, is_run, read_run, write_json
from keras_reprogram.command_line.source_settings import SourceSettings, with_source_settings
from keras_reprogram.command_line.sources import resolve_source

if TYPE_CHECKING:
    from keras_reprogram.source import Source

_SHOWN_LABELS = 5


@with_exit_codes
@with_source_settings
def inspect(
    *,
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE_OR_RUN",
            help="A run folder, a .reprogram file, or a source, named as for train.",
        ),
    ],
    settings: SourceSettings,
    json_file: JsonFile = None,
) -> None:
    """Show what a run or a source is.

    Takes a run folder, a .reprogram file, or a source as train takes it. Examples:

    keras-reprogram inspect runs/digits-traffic-signs

    keras-reprogram inspect MobileNetV2
    """
    check_json_path(json_file)
    path = Path(what).expanduser()
    if is_run(path):
        facts = _run_facts(path)
    elif path.suffix == ".reprogram":
        facts = _program_facts(path)
    else:
        facts = _source_facts(what, settings)
    print_table(facts_table(what, facts))
    if json_file is not None:
        write_json(json_file, facts)


def _run_facts(folder: Path) -> dict[str, Any]:
    run = read_run(folder)
    source, target, options = (run.facts[key] for key in ("source", "target", "options"))
    facts = {
        "source": source["given"] + (" (opaque)" if source["opaque"] else ""),
        "fingerprint": source["fingerprint"],
        "target": target["given"],
        "data": " ".join((target["origin"], *target["notes"])),
        "classes": len(target["class_names"]),
        "target shape": _shape(target["target_shape"]),
        "output map": options["output_map"],
        "views": options["num_views"],
        "seed": run.facts["seed"],
        "keras_reprogram": run.facts["versions"]["keras_reprogram"],
    }
    for row in run.facts.get("results", []):
        facts[f"accuracy, {row['method']}"] = f"{row['mean']:.3f}"
        if row["training_queries"] is not None:
            facts[f"queries, {row['method']}"] = row["training_queries"]
    if not run.facts.get("complete"):
        facts["state"] = "training was stopped before it was measured"
    return facts


def _program_facts(path: Path) -> dict[str, Any]:
    from keras_reprogram.model.program_file import read_description

    described = read_description(path)
    program, output_map = described["program"]["config"], described["output_map"]
    names = described["class_names"]
    return {
        "target shape": _shape(program.get("target_shape")),
        "source shape": _shape(described["source"]["source_shape"]),
        "source": described["source"]["class"],
        "source labels": described["source"]["num_labels"],
        "fingerprint": described["fingerprint"],
        "output map": output_map["class_name"],
        "classes": _listed(names) if names else output_map["config"]["num_classes"],
        "queries used": described["queries_used"],
        "seed": described["seed"],
        "keras_reprogram": described["keras_reprogram"],
    }


def _source_facts(text: str, settings: SourceSettings) -> dict[str, Any]:
    source = resolve_source(text, settings=settings).source
    limits = source.value_range
    return {
        "kind": type(source).__name__,
        "source shape": _shape(source.source_shape),
        "pixels": "unknown" if limits is None else f"{limits[0]:g} to {limits[1]:g}",
        "scores": source.score_kind,
        "labels": source.num_labels if source.class_names is None else _listed(source.class_names),
        "gradients": "yes" if source.differentiable else "no",
        "exportable": _exportable(source),
        "fingerprint": source.fingerprint,
    }


def _exportable(source: Source) -> str:
    if type(source).__name__ == "ONNXSource":
        return "as an .onnx file"
    return "yes" if source.exportable else "no"


def _shape(shape: Any) -> str | None:
    return None if shape is None else " x ".join(str(side) for side in shape)


def _listed(names: Any) -> str:
    shown = ", ".join(names[:_SHOWN_LABELS])
    return f"{len(names):,}: {shown}" + (", ..." if len(names) > _SHOWN_LABELS else "")
