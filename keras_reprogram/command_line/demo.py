"""The demo: an opaque traffic-sign classifier learns handwritten digits, offline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from keras_reprogram.command_line.demo_methods import BEST, METHODS, Outcome, transparent_source
from keras_reprogram.command_line.demo_report import write_demo_report
from keras_reprogram.datasets import TargetData, load_target
from keras_reprogram.export import export_litert, export_saved_model
from keras_reprogram.report import ResultRow, results_json, results_table

_TRAIN_IMAGES = 1000


def run_demo(
    output: Path,
    *,
    seeds: int = 3,
    quiet: bool = False,
    json_file: Path | None = None,
) -> None:
    """Runs every method, prints the table, writes SavedModel, LiteRT file and report.

    Args:
        output: folder for what is written, e.g. `saved_models`.
        seeds: how many draws of training images, >= 1.
        quiet: no progress bar.
        json_file: where to write the figures, or `None`.

    Raises:
        ValueError: if `seeds` is smaller than 1.
    """
    if seeds < 1:
        raise ValueError(f"`seeds` must be at least 1. Received: {seeds}.")
    progress, console = Console(stderr=True, quiet=quiet), Console()
    digits = load_target("digits")
    progress.print(
        f"A traffic-sign classifier of which only the 43 scores are seen learns digits.\n"
        f"{digits.origin} {_TRAIN_IMAGES:,} training images, {len(digits.test_images)} test images."
    )
    draws = [digits.draw(_TRAIN_IMAGES, None, seed=seed) for seed in range(seeds)]
    outcomes = _run_methods(draws, progress)
    rows = [_row(name, results) for name, results in outcomes.items()]
    title = f"Digits from traffic signs, {seeds} seeds"
    console.print(results_table([replace(row, note="") for row in rows], title))
    for row in rows:
        if row.note:
            console.print(f"{row.method}: {row.note}", highlight=False)
    if json_file is not None:
        json_file.write_text(json.dumps(results_json(rows), indent=1) + "\n")
    _write_outputs(output, outcomes, rows, draws[0], progress, console)


def _run_methods(draws: list[TargetData], console: Console) -> dict[str, list[Outcome]]:
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn())
    outcomes: dict[str, list[Outcome]] = {name: [] for name in METHODS}
    with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("starting", total=len(draws) * len(METHODS))
        for seed, data in enumerate(draws):
            for name, method in METHODS.items():
                bar.update(task, description=name)
                outcomes[name].append(method(data, seed))
                bar.advance(task)
        bar.update(task, description="done")
    return outcomes


def _row(name: str, results: list[Outcome]) -> ResultRow:
    first = results[0]
    notes = list(dict.fromkeys(result.note for result in results if result.note))
    return ResultRow(
        name,
        tuple(result.accuracy for result in results),
        first.training_queries,
        first.queries_per_prediction,
        sum(result.seconds for result in results) / len(results),
        ", ".join(notes),
    )


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
        "Exporting. A .tflite source cannot become part of a graph: the export is handed the same "
        "network as a Keras model, and checks that both answer alike."
    )
    twin = transparent_source()
    saved_model = export_saved_model(model, output / "digits", source=twin)
    # Later demos write beside the first one, under the SavedModel's version.
    suffix = "" if saved_model.name == "1" else f"-{saved_model.name}"
    litert = export_litert(model, output / f"digits{suffix}.tflite", source=twin, overwrite=True)
    report = output / f"report{suffix}.html"
    write_demo_report(report, outcomes, rows, data)
    console.print(
        f"SavedModel  {saved_model}\nLiteRT      {litert}\nReport      {report}", highlight=False
    )
