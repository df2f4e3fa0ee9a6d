"""How a command ends: 0, 2 for what the user can mend, 130 for Ctrl-C, 1 for what we must mend."""

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

INPUT_ERROR = 2
INTERRUPTED = 130

_PACKAGE = Path(__file__).parent.parent


def with_exit_codes(command: Callable[..., None]) -> Callable[..., None]:
    """Turns known errors of a command into a message on stderr and an exit code.

    Known are the errors that this package raises on purpose, whatever the operating system
    refuses (a missing file, a full disk, no network), and Ctrl-C. Anything else is a fault of the
    program and keeps its traceback.

    Args:
        command: a function that typer runs.

    Returns:
        A function with the same signature.

    Example:
    ```python
    import typer
    from keras_reprogram.command_line.exit_codes import with_exit_codes

    @with_exit_codes
    def command(path: str) -> None:
        open(path)

    try:
        command("no such file")
    except typer.Exit as end:
        assert end.exit_code == 2
    ```
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
        except (ValueError, ImportError, OSError) as error:
            if not _is_known(error):
                raise
            typer.echo(f"Error: {_message(error)}", err=True)
            raise typer.Exit(INPUT_ERROR) from None

    return run


def _is_known(error: BaseException) -> bool:
    """Raised by this package on purpose, or by the operating system."""
    if isinstance(error, OSError):
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
    """Shows a warning as one line on stderr, without the place in the code that it came from.

    Only what is meant for users (`UserWarning`); the rest is left as it is.

    Example:
    ```python
    import warnings
    from keras_reprogram.command_line.exit_codes import notes_for_warnings

    with notes_for_warnings():
        warnings.warn("The image is shrunk.")
    ```
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
