"""`keras-reprogram report`: a training run as one HTML file, made again from its folder."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from keras_reprogram.command_line.console import Progress, stdout_is_for_data, with_exit_codes
from keras_reprogram.command_line.options import Price, Quiet, RunFolder
from keras_reprogram.command_line.run_folder import REPORT, Run, read_run

if TYPE_CHECKING:
    from keras_reprogram.command_line.run_page import RunContents
    from keras_reprogram.datasets import TargetData


_LEFT_OUT = "Left out with --no-pictures."

Opened = TypeVar("Opened")


@with_exit_codes
def report(
    run: RunFolder,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write. [default: RUN/report.html, or report-2.html ... if taken]",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it exists.")
    ] = False,
    no_pictures: Annotated[
        bool,
        typer.Option(
            "--no-pictures",
            help="Leave out target images, for example if their licence forbids sharing them.",
        ),
    ] = False,
    price: Price = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write a training run's report as one HTML file.

    Program, images, label map, errors, curves and costs, from what the run folder keeps. The
    source is opened for its names but not asked: no query is spent. Parts that
    cannot be shown give the reason, such as stopped training or missing data. Example:

    keras-reprogram report runs/digits-traffic-signs --no-pictures
    """
    opened = read_run(run)
    path = _free_path(opened, output, overwrite)
    from keras_reprogram.command_line.run_page import write_run_page

    with stdout_is_for_data():
        contents = _contents(opened, price, no_pictures, Progress(quiet))
        written = write_run_page(path, contents, overwrite=overwrite)
    print(written)
    if open_it and not webbrowser.open(written.resolve().as_uri()):
        Progress(quiet).note("No browser was found.")


def _free_path(run: Run, output: Path | None, overwrite: bool) -> Path:
    if output is not None:
        path = output.expanduser()
        if path.is_dir():
            path /= REPORT
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path} exists. Pass --overwrite to replace it, or choose another --output."
            )
        return path
    path, number = run.folder / REPORT, 1
    while path.exists() and not overwrite:
        number += 1
        path = path.with_name(f"{Path(REPORT).stem}-{number}.html")
    return path


def _contents(run: Run, price: float | None, no_pictures: bool, progress: Progress) -> RunContents:
    from keras_reprogram.command_line.run_page import RunContents

    model, no_model = _try(
        "the source", lambda: run.load_model(run.open_source(), check_probe=False), progress
    )
    if no_pictures:
        target, no_target = None, _LEFT_OUT
    else:
        target, no_target = _try("the images", lambda: _target(run), progress)
    return RunContents(run.facts, model, target, no_model, no_target, price)


def _try(what: str, load: Callable[[], Opened], progress: Progress) -> tuple[Opened | None, str]:
    """Loads a part of a run, or returns the reason why it cannot."""
    progress.note(f"Opening {what}.")
    try:
        return load(), ""
    except Exception as error:  # A source of one's own may raise anything.
        reason = f"Not shown: {what} cannot be opened. {type(error).__name__}: {error}"
        progress.note(reason)
        return None, reason


def _target(run: Run) -> TargetData:
    target, facts = run.load_target(), run.facts["target"]
    found = (list(target.target_shape), list(target.class_names))
    if found != (facts["target_shape"], facts["class_names"]):
        raise ValueError(
            f"The images of {facts['given']} are no longer those of the run. Expected: shape "
            f"{facts['target_shape']}, {len(facts['class_names'])} classes. Received: shape "
            f"{found[0]}, {len(found[1])} classes. Restore the images of the run."
        )
    return target
