"""`demo --full`: nine ways from traffic signs to handwritten digits, beside each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
from matplotlib.figure import Figure
from rich.console import Console

from keras_reprogram.command_line.demo_methods import (
    BEST,
    FREQUENCY,
    METHODS,
    WHITE_BOX,
    run_methods,
)
from keras_reprogram.command_line.demo_report import errors_section, result_row, views_section
from keras_reprogram.command_line.keras_sources import embedded_keras
from keras_reprogram.command_line.run_folder import write_json
from keras_reprogram.command_line.seed_run import Outcome
from keras_reprogram.datasets import TargetData, load_target
from keras_reprogram.export import export_litert, export_saved_model
from keras_reprogram.report import (
    ReportSection,
    ResultRow,
    draw_accuracy_over_queries,
    draw_label_map,
    draw_program,
    results_json,
    results_table,
    write_html_report,
)

_TRAIN_IMAGES = 1000


def run_full_demo(
    output: Path,
    *,
    seeds: int = 3,
    quiet: bool = False,
    json_file: Path | None = None,
) -> None:
    """Runs every method, prints the table, writes SavedModel, LiteRT file and report."""
    if seeds < 1:
        raise ValueError(f"`seeds` must be at least 1. Received: {seeds}.")
    progress, console = Console(stderr=True, quiet=quiet), Console()
    digits = load_target("digits")
    progress.print(
        f"A traffic-sign classifier that returns only its 43 scores learns digits.\n"
        f"{digits.origin} {_TRAIN_IMAGES:,} training images, {len(digits.test_images)} test images."
    )
    draws = [digits.draw(_TRAIN_IMAGES, None, seed=seed) for seed in range(seeds)]
    outcomes = run_methods(METHODS, draws, progress)
    rows = [result_row(name, results) for name, results in outcomes.items()]
    title = f"Digits from traffic signs, {seeds} seed{'s' if seeds > 1 else ''}"
    console.print(results_table([replace(row, note="") for row in rows], title))
    for row in rows:
        if row.note:
            console.print(f"{row.method}: {row.note}", highlight=False)
    if json_file is not None:
        write_json(json_file, results_json(rows))
    _write_outputs(output, outcomes, rows, draws[0], progress, console)


def _write_outputs(
    output: Path,
    outcomes: dict[str, list[Outcome]],
    rows: list[ResultRow],
    data: TargetData,
    progress: Console,
    console: Console,
) -> None:
    model = outcomes[BEST][0].model
    progress.print(
        "Exporting. A .tflite source cannot become part of a graph, so the export uses the same "
        "network as a Keras model and checks that both give the same scores."
    )
    equivalent = embedded_keras()
    saved_model = export_saved_model(model, output / "digits", source=equivalent)
    # Later demos keep the first one's files: theirs have the SavedModel's version.
    suffix = "" if saved_model.name == "1" else f"-{saved_model.name}"
    litert = export_litert(
        model, output / f"digits{suffix}.tflite", source=equivalent, overwrite=True
    )
    report = output / f"report{suffix}.html"
    _write_report(report, outcomes, rows, data)
    console.print(
        f"SavedModel  {saved_model}\nLiteRT      {litert}\nReport      {report}", highlight=False
    )


def _write_report(
    path: Path, outcomes: dict[str, list[Outcome]], rows: list[ResultRow], data: TargetData
) -> Path:
    """Writes one self-contained HTML file."""
    sections = [
        ReportSection("Accuracy and price", text=_READING, table=rows),
        ReportSection("Accuracy over queries", figure=_curves(rows)),
        *_pictures(outcomes, data),
        errors_section(BEST, outcomes[BEST][0], data),
    ]
    return write_html_report(
        path,
        title="Digits from traffic signs",
        introduction=(
            "A classifier of 43 traffic signs that returns only its scores was reprogrammed to "
            f"read handwritten digits. {data.origin}"
        ),
        sections=sections,
        overwrite=True,
    )


_READING = (
    "Queries are images shown to the source: for training, and for each prediction. An SVM on the "
    "64 pixels does as well on digits: this task shows that reprogramming works, not that it is "
    "worth its queries. White-box rows use gradients or features, which an opaque source does not "
    "provide."
)


def _curves(rows: list[ResultRow]) -> Figure:
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        name = "exact map, 1 to 8 views" if row.method.startswith("exact map") else row.method
        curves.setdefault(name, []).append((row.training_queries or 0, row.mean))
    return draw_accuracy_over_queries(curves)


def _pictures(outcomes: dict[str, list[Outcome]], data: TargetData) -> list[ReportSection]:
    viewed, mapped, trained = (outcomes[name][0].model for name in (BEST, FREQUENCY, WHITE_BOX))
    value_range = viewed.source.value_range
    # P is in units of half the range: shown as what it adds to a mid-range canvas.
    middle, half = sum(value_range) / 2, (value_range[1] - value_range[0]) / 2
    program = middle + half * trained.program.program_images()
    weights = keras.ops.convert_to_numpy(mapped.output_map.label_weights.value)
    return [
        views_section(
            viewed,
            data,
            "The first four of eight views. They differ in size, place, colours and background.",
        ),
        ReportSection(
            "The program that true gradients found", figure=draw_program(program, value_range)
        ),
        ReportSection(
            "Which traffic signs stand for which digit",
            text="This is the frequency map of the papers. The exact map weighs all 43 scores "
            "instead.",
            figure=draw_label_map(weights, mapped.source.class_names, data.class_names),
        ),
    ]
