"""Suppresses TensorFlow's startup messages.

TensorFlow writes to file descriptor 2 while it is imported, before anything can tell it not to. So
a command does this first of all; programs that import the package are left as they are.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def hold_back_noise() -> None:
    """Filters file descriptor 2 through a process that drops startup noise.

    `sys.stderr` stays what it was: Python's own messages and progress bars go there directly.
    """
    try:
        sys.stderr.flush()
        terminal = os.dup(2)
        filtering = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("noise_filter.py"))],
            stdin=subprocess.PIPE,
            stdout=terminal,
        )
    except (AttributeError, OSError):
        # Nothing is printed without stderr; without another process, noise beats no command.
        return
    pipe: Any = filtering.stdin
    sys.stderr = open(  # noqa: SIM115, PTH123 - for as long as the process lives
        terminal, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors
    )
    os.dup2(pipe.fileno(), 2)
    pipe.close()
    atexit.register(_let_go, filtering, terminal)


def _let_go(filtering: subprocess.Popen, terminal: int) -> None:
    """Restores stderr after the filter has shown all output; other processes may hold the pipe."""
    sys.stderr.flush()
    os.dup2(terminal, 2)
    try:
        filtering.wait(timeout=2)
    except subprocess.TimeoutExpired:
        filtering.returncode = 0
