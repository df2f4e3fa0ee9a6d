"""Writes a file whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path


def write_whole_file(path: Path, content: bytes) -> None:
    """Writes a file so that nobody ever sees half of it."""
    # Not tempfile.mkstemp: its files stay readable by their owner alone.
    beside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise
