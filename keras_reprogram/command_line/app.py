"""The typer application; each command has a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from keras_reprogram.command_line.audit import audit
from keras_reprogram.command_line.console import notes_for_warnings, with_exit_codes
from keras_reprogram.command_line.estimate import estimate
from keras_reprogram.command_line.evaluate import evaluate, predict
from keras_reprogram.command_line.export import export
from keras_reprogram.command_line.inspect import inspect
from keras_reprogram.command_line.options import JsonFile, Quiet, check_folder
from keras_reprogram.command_line.probe import probe
from keras_reprogram.command_line.report import report
from keras_reprogram.command_line.run_folder import check_json_path
from keras_reprogram.command_line.score import score
from keras_reprogram.command_line.serve import serve
from keras_reprogram.command_line.student import student
from keras_reprogram.command_line.train import train
from keras_reprogram.version import __version__


class PlainUsageErrors(TyperGroup):
    """A group whose usage errors are sentences.

    typer 0.29 reads options with pydantic, which puts its own name of an error before what typer
    says of a misspelt choice.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    cls=PlainUsageErrors,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"keras-reprogram {__version__}")
        raise typer.Exit


@app.callback()
def keras_reprogram(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Re-use a trained image classifier for a new task without touching its weights.

    A program turns your images into images for the classifier (the source), the source answers as
    it always did, and an output map reads its answers as your classes. The source may be a Keras
    model, a SavedModel or a TFLite file, or a black box that shows scores only.

    Start with: keras-reprogram demo
    """


@app.command()
@with_exit_codes
def demo(
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the exports and the report.")
    ] = Path("saved_models"),
    seeds: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Runs with different seeds; the table shows their spread."
        ),
    ] = 3,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Compare nine methods on 1,000 digits, those with gradients among them: minutes.",
        ),
    ] = False,
    quiet: Quiet = False,
    json_file: JsonFile = None,
) -> None:
    """See it work, offline, in about a minute.

    The built-in classifier of traffic signs, of which only the scores are used as if it were
    somebody's paid service, and the pixels learn handwritten digits together, from 100 images.
    The model says "none of these" of other pictures, and is exported.
    """
    check_folder(output)
    check_json_path(json_file)
    if full:
        from keras_reprogram.command_line.full_demo import run_full_demo

        run_full_demo(output, seeds=seeds, quiet=quiet, json_file=json_file)
        return
    from keras_reprogram.command_line.demo import run_demo

    run_demo(output, seeds=seeds, quiet=quiet, json_file=json_file)


for _command in (
    estimate,
    train,
    evaluate,
    predict,
    report,
    export,
    student,
    score,
    serve,
    inspect,
    probe,
    audit,
):
    app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code.

    Args:
        arguments: what follows `keras-reprogram`; `None` takes the process's own.

    Raises:
        SystemExit: always.

    Example:
    ```python
    from keras_reprogram.command_line import main

    try:
        main(["--version"])
    except SystemExit as end:
        assert end.code == 0
    ```
    """
    with notes_for_warnings():
        app(args=arguments, prog_name="keras-reprogram")
