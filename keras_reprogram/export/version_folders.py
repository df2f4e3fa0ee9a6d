"""Version folders: written to a temporary folder, renamed when complete, never replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from keras_reprogram.files import take_free_name


def check_version(base_dir: Path, version: int | None) -> None:
    """Refuses a version that is not a positive integer, or that is there already."""
    if version is None:
        return
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"`version` must be a positive integer or None. Received: {version!r}.")
    if (base_dir / str(version)).exists():
        raise FileExistsError(
            f"{base_dir / str(version)} exists already, and no version is ever replaced. Pass "
            "another `version=`, or leave it out for the next free one."
        )


def take_version(written: Path, base_dir: Path, version: int | None = None) -> Path:
    """Renames to a version: the one asked for, or the lowest above all others."""
    return take_free_name(written, _names(base_dir, version))


def _names(base_dir: Path, version: int | None) -> Iterator[Path]:
    while True:
        # Another writer may take the version meanwhile.
        check_version(base_dir, version)
        yield base_dir / str(version or max(versions_in(base_dir), default=0) + 1)


def versions_in(base_dir: Path) -> set[int]:
    """The numbers of the versions in a folder."""
    names = (path.name for path in base_dir.iterdir()) if base_dir.is_dir() else ()
    # "²" is a digit too, but no integer.
    return {int(name) for name in names if name.isascii() and name.isdigit()}


PROGRAM, OUTPUT_MAP = "program", "output_map"
SPLIT_PARTS = (PROGRAM, OUTPUT_MAP)


def litert_name(half: str, version: int | None = None) -> str:
    """The name of a half's LiteRT file, with or without its version."""
    return f"{half}.tflite" if version is None else f"{half}-{version}.tflite"


def check_half_versions(base_dir: Path, version: int | None) -> None:
    """Refuses a version that is not a positive integer, or that a half has already."""
    for half in SPLIT_PARTS:
        check_version(base_dir / half, version)
        file = base_dir / litert_name(half, version)
        if version is not None and file.exists():
            raise FileExistsError(
                f"{file} exists already, and no version is ever replaced. Pass another "
                "`version=`, or leave it out for the next free one."
            )


def take_half_versions(written: Path, base_dir: Path, version: int | None = None) -> int:
    """Renames both halves and their LiteRT files to a version."""
    # The program is renamed last: a reader that finds `program/<version>` finds everything else
    # too. If a name is taken, the earlier renames are undone.
    while True:
        check_half_versions(base_dir, version)
        number = version or max(_taken(base_dir), default=0) + 1
        try:
            _rename_all(_moves(written, base_dir, number))
        except OSError:
            if number not in _taken(base_dir):
                raise
        else:
            return number


def _moves(written: Path, base_dir: Path, version: int) -> list[tuple[Path, Path]]:
    """Source and target paths, in order: renaming the first one reserves the version."""
    files = [
        (written / litert_name(half), base_dir / litert_name(half, version)) for half in SPLIT_PARTS
    ]
    folders = {half: (written / half, base_dir / half / str(version)) for half in SPLIT_PARTS}
    return [folders[OUTPUT_MAP], *files, folders[PROGRAM]]


def _rename_all(moves: list[tuple[Path, Path]]) -> None:
    try:
        for written, target in moves:
            target.parent.mkdir(exist_ok=True)
            # POSIX lets a folder replace an empty one, and a file any other.
            if target.exists():
                raise FileExistsError(f"{target} was taken by another writer.")
            written.rename(target)
    except BaseException:
        for written, target in reversed(moves):
            if not written.exists():
                target.rename(written)
            # What holds versions of others refuses to go.
            with contextlib.suppress(OSError):
                target.parent.rmdir()
        raise


def _taken(base_dir: Path) -> set[int]:
    files = (path.stem.rpartition("-") for path in base_dir.glob("*-*.tflite"))
    return set().union(
        *(versions_in(base_dir / half) for half in SPLIT_PARTS),
        (int(n) for half, _, n in files if half in SPLIT_PARTS and n.isascii() and n.isdigit()),
    )
