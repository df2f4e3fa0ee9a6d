"""Atomic writes of files and folders: to a temporary name first, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO


def write_whole_file(path: Path, content: bytes) -> None:
    """Writes a file atomically; its folder must exist."""
    with whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A temporary file that is renamed to `path` when the block succeeds."""
    # A full disk or Ctrl-C leaves what was there before, and nothing else.
    aside = _aside(path)
    try:
        with aside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def folder_aside(parent: Path) -> Iterator[Path]:
    """A hidden temporary path in `parent`, for a folder to rename when complete.

    `parent` is made if needed. After the block nothing is left at the path, nor an empty folder
    that was made for it.
    """
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(parent / "folder")
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        # What holds something by now refuses to go.
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()


def take_free_name(written: Path, names: Iterable[Path]) -> Path:
    """Renames a whole folder to the first free one of `names`; replaces nothing."""
    for target in names:
        # POSIX lets a folder replace an empty one, hence the look before the rename.
        if target.exists():
            continue
        try:
            return written.rename(target)
        except OSError:
            # Another writer may have taken the name in between.
            if not target.exists():
                raise
    raise FileExistsError(f"All names for {written} are taken.")


def replace_folder(written: Path, target: Path) -> Path:
    """Renames a whole folder to `target`, and removes the folder that was there."""
    older = _aside(target)
    if target.exists():
        target.rename(older)
    written.rename(target)
    shutil.rmtree(older, ignore_errors=True)
    return target


def _aside(path: Path) -> Path:
    # Not tempfile.mkstemp: its files stay readable by their owner alone.
    return path.with_name(f".{secrets.token_hex(8)}.part")
