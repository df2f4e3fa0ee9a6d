"""Runs the command line inside the test's own process."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from keras_reprogram.command_line import main


class Ended(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


class TrainedRun(NamedTuple):
    """A run folder and what `train` said when it made it."""

    folder: Path
    ended: Ended
    figures: Path


def run_command(*arguments: object) -> Ended:
    """The exit code, stdout and stderr of `keras-reprogram ARGUMENTS`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = 0 if end.code is None else int(end.code)
    return Ended(code, out.getvalue(), err.getvalue())
