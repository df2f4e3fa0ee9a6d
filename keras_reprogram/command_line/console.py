"""Output of the commands: data on stdout, progress and notes on stderr."""

from __future__ import annotations

import contextlib
import functools
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from rich import progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_reprogram.source.errors import SourceError

# A pipe has no width: wide enough that no cell is ever cut.
_PIPE_WIDTH = 200


class Progress:
    """Progress bars and notes on stderr, none if `quiet`."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def note(self, text: str) -> None:
        """Writes a line."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def bar(self, description: str, total: int | None) -> Iterator[Callable[..., None]]:
        """Shows a bar while the block runs; yields a function that reports progress.

        It takes what is done, and the total where that was not known before. Then the bar waits for
        the first report: an error may come before the work starts.
        """
        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
        )
        console = Console(stderr=True)
        # Left alone, rich would send to stderr what a command prints on stdout meanwhile.
        shown = progress.Progress(
            *columns, console=console, redirect_stdout=False, disable=self.quiet
        )
        task = shown.add_task(description, total=total)

        def report(done: int, total: int | None = total) -> None:
            shown.start()
            shown.update(task, completed=done, total=total)

        if total is not None:
            shown.start()
        try:
            yield report
        finally:
            # Stopping what was not started would print an empty line.
            if shown.live.is_started:
                shown.stop()


def print_table(table: Table) -> None:
    """Prints a table on stdout, whole even where stdout is a pipe."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(width=width).print(table)


def facts_table(title: str, facts: dict[str, Any]) -> Table:
    """A table of names and values."""
    table = Table(title=Text(title), show_header=False)
    for name, value in facts.items():
        shown = f"{value:,}" if type(value) is int else "-" if value is None else str(value)
        table.add_row(Text(name), Text(shown))
    return table


@contextlib.contextmanager
def stdout_is_for_data() -> Iterator[None]:
    """Redirects to stderr what libraries print in the block, such as Keras's downloads."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


INPUT_ERROR = 2
INTERRUPTED = 130


def name_bad_image(name: str, reason: str) -> None:
    """Says on stderr why an image could not be read."""
    typer.echo(f"Error: {reason}" if name in reason else f"Error: {name}: {reason}", err=True)


_PACKAGE = Path(__file__).parent.parent


def with_exit_codes(command: Callable[..., None]) -> Callable[..., None]:
    """Turns known errors of a command into a message on stderr and an exit code.

    Known are the errors that this package raises on purpose, what sources and services refuse (a
    spent budget, a wrong key), whatever the operating system refuses (a missing file, a full disk,
    no network), and Ctrl-C. Anything else is a fault of the program and keeps its traceback.
    """

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            typer.echo("\nStopped. Nothing was kept.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # `keras-reprogram predict ... | head` is no error; typer ends quietly.
            raise
        except (ValueError, ImportError, OSError, SourceError) as error:
            if not _is_known(error):
                raise
            typer.echo(f"Error: {_message(error)}", err=True)
            raise typer.Exit(INPUT_ERROR) from None

    return run


def _is_known(error: BaseException) -> bool:
    """Raised by this package on purpose, by a source, or by the operating system."""
    if isinstance(error, OSError | SourceError):
        return True
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    # What NumPy raises at a line of ours ends there too, but that line is no `raise`.
    return Path(innermost.filename).is_relative_to(_PACKAGE) and (
        not innermost.line or innermost.line.startswith("raise")
    )


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        name = f": {error.filename}" if error.filename is not None else ""
        return f"{error.strerror}{name}."
    return str(error) or type(error).__name__


@contextlib.contextmanager
def notes_for_warnings() -> Iterator[None]:
    """Shows warnings as single lines on stderr, without their location in the code.

    Only what is meant for users (`UserWarning`); the rest is left as it is.
    """
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **options: Any) -> None:
            if category is UserWarning:
                print(f"Note: {message}", file=sys.stderr)
            else:
                usual(message, category, *place, **options)

        warnings.showwarning = show
        yield
