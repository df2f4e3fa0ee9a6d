"""The demo: few digits, an API that returns scores only, and the pixels beside it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_reprogram.command_line.calibrating import HeldOut
from keras_reprogram.command_line.demo_methods import (
    exact_map,
    joint_map,
    map_of_pixels,
    run_methods,
    without_source,
)
from keras_reprogram.command_line.demo_none_of_these import (
    ABSTAIN,
    COVERAGE,
    Judged,
    judge,
    none_of_these_json,
    none_of_these_table,
)
from keras_reprogram.command_line.demo_report import errors_section, result_row, views_section
from keras_reprogram.command_line.keras_sources import embedded_keras
from keras_reprogram.command_line.run_folder import write_json
from keras_reprogram.command_line.seed_run import Outcome
from keras_reprogram.datasets import TargetData, load_target
from keras_reprogram.export import export_saved_model
from keras_reprogram.fitting.validation import draw_stratified
from keras_reprogram.optional_packages import install_command
from keras_reprogram.report import (
    ReportSection,
    TextTable,
    results_json,
    results_table,
    write_html_report,
)
from keras_reprogram.report.tables import mean_and_spread

# Fixed before the test images were looked at, and checked on training images outside the draws:
# python examples/benchmark/joint_digits.py --training-part --views 2 --sizes 100 --draws 8
_TRAIN_IMAGES, _NUM_VIEWS = 100, 2
_CALIBRATING = 60

_BOTH = f"both, {_NUM_VIEWS} views"
_METHODS = {
    "pixels, SVM or linear": without_source,
    "pixels, exact map": map_of_pixels,
    f"API alone, {_NUM_VIEWS} views": exact_map(_NUM_VIEWS),
    _BOTH: joint_map(_NUM_VIEWS),
}


def run_demo(
    output: Path, *, seeds: int = 3, quiet: bool = False, json_file: Path | None = None
) -> None:
    """Prints what each part knows and costs, what is refused, and writes an export to try."""
    if seeds < 1:
        raise ValueError(f"`seeds` must be at least 1. Received: {seeds}.")
    progress, console = Console(stderr=True, quiet=quiet), Console(highlight=False)
    digits = load_target("digits")
    progress.print(_WHAT_THIS_IS, highlight=False)
    draws = [_draw(digits, seed) for seed in range(seeds)]
    outcomes = run_methods(_METHODS, [learned for learned, _ in draws], progress)
    rows = [result_row(name, results) for name, results in outcomes.items()]
    title = f"Digits from {_TRAIN_IMAGES} images, {seeds} seed{'s' if seeds > 1 else ''}"
    console.print(results_table([replace(row, note="") for row in rows], title))
    progress.print("Calibrating, and looking at pictures that are no digits.")
    judged = [
        judge(outcome.model, held, learned)
        for outcome, (learned, held) in zip(outcomes[_BOTH], draws, strict=True)
    ]
    refused, promised = none_of_these_table(judged), _promise(judged)
    console.print(_drawn(refused, "None of these?"))
    console.print(promised)
    if json_file is not None:
        figures = {"results": results_json(rows), "none_of_these": none_of_these_json(judged)}
        write_json(json_file, figures)
    sections = [
        ReportSection("Accuracy and price", text=_READING, table=rows),
        ReportSection("None of these?", text=promised, text_table=refused),
        views_section(outcomes[_BOTH][0].model, digits, "They differ in size, place and colours."),
        errors_section(_BOTH, outcomes[_BOTH][0], digits),
    ]
    progress.print("Exporting, and checking the export in a fresh process.")
    _write(output, outcomes[_BOTH][0], sections, console)


def _draw(digits: TargetData, seed: int) -> tuple[TargetData, HeldOut]:
    """The images to learn from, and others to calibrate on."""
    labels = digits.train_labels
    learned = draw_stratified(labels, _TRAIN_IMAGES, seed)
    # A larger draw holds the smaller one.
    both = draw_stratified(labels, _TRAIN_IMAGES + _CALIBRATING, seed)
    held = np.setdiff1d(both, learned)
    return digits.with_training(learned), HeldOut(digits.train_images[held], labels[held], None)


def _promise(judged: list[list[Judged]]) -> str:
    covered = mean_and_spread([run[0].covered or 0.0 for run in judged])
    return (
        f"The answer is a set of digits, and {COVERAGE:g} of the sets were to hold the right one: "
        f"{covered} do. At most {ABSTAIN:g} of digits were to be called foreign. Nobody promises "
        f"how many other pictures are. This took {_CALIBRATING} more images, "
        f"{_CALIBRATING * _NUM_VIEWS} queries."
    )


def _drawn(table: TextTable, title: str) -> Table:
    drawn = Table(title=title)
    for position, head in enumerate(table.heads):
        drawn.add_column(Text(head), justify="right" if position else "left")
    for cells in table.rows:
        drawn.add_row(*map(Text, cells))
    return drawn


def _write(output: Path, best: Outcome, sections: list[ReportSection], console: Console) -> None:
    """Writes the SavedModel and the report, and says how to try it."""
    saved_model = export_saved_model(
        best.model,
        output / "digits",
        source=embedded_keras(),
        metrics={"accuracy": best.accuracy},
    )
    # Later demos keep the first one's page: theirs has the SavedModel's version.
    suffix = "" if saved_model.name == "1" else f"-{saved_model.name}"
    report = write_html_report(
        output / f"report{suffix}.html",
        title="Digits from traffic signs and pixels",
        introduction=_WHAT_THIS_IS,
        sections=sections,
        overwrite=True,
    )
    console.print(f"SavedModel  {saved_model}\nReport      {report}", soft_wrap=True)
    console.print("\nDraw a digit, or something else, on the page that this serves:")
    console.print(_to_try(output / "digits"), soft_wrap=True, markup=False)


def _to_try(folder: Path) -> str:
    """The command that serves an export, and what it needs if that is not installed."""
    lines = [f"  {command_name()} serve {shlex.quote(str(folder))} --ui"]
    try:
        import keras_reprogram.serving.model_server  # noqa: F401 - is it there?
    except ImportError:
        lines.insert(0, f"  {install_command('server')}")
    return "\n".join(lines)


def command_name() -> str:
    """This command as the user's shell finds it: by its name, or by the path it was called by."""
    called = Path(sys.argv[0])
    if called.name != _NAME or shutil.which(_NAME) or not called.is_file():
        return _NAME
    path = os.path.relpath(called)
    return shlex.quote(str(called) if path.startswith(os.pardir) else path)


_NAME = "keras-reprogram"
_WHAT_THIS_IS = (
    "A classifier of 43 traffic signs stands in for a paid API: only its scores are seen, and "
    f"each image that it is shown counts. From them, and from {_TRAIN_IMAGES} handwritten digits "
    "of scikit-learn, a map learns to read digits."
)
_READING = (
    "Queries are images shown to the API: for training, and for each prediction. The pixels "
    "cost none. One exact map reads both, and weighs them by what the training images say."
)
