"""Writes a file whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path


def write_whole_file(path: Path, content: bytes) -> None:
    """Writes a file so that nobody ever sees half of it.

    The bytes go to a new file beside `path`, which takes its name when all of them have
    reached the disk. A full disk or Ctrl-C leaves what was there before, and nothing else.

    Args:
        path: Where the file goes; its folder exists. An older file is replaced.
        content: Everything in it.

    Raises:
        OSError: If it cannot be written.

    Example:
        ```python
        import tempfile
        from pathlib import Path
        from keras_reprogram.files import write_whole_file

        with tempfile.TemporaryDirectory() as folder:
            write_whole_file(Path(folder, "a.txt"), b"all of it")
            assert Path(folder, "a.txt").read_bytes() == b"all of it"
        ```
    """
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
