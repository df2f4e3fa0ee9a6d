"""Data set files: where they are stored, archive formats, and downloads."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import sys
import textwrap
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

import numpy as np

from keras_reprogram.datasets.image_files import decode_image

_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


class OriginalFileError(ValueError):
    """Raised for a file that a person has to fetch: it is missing, corrupt or another one."""


class OriginalFiles:
    r"""Files in zips and folders of one folder, found by their path inside.

    Args:
        folder: Where the files were put.
        required: For each thing that must be there a tuple of glob patterns, one of which must
            match an entry of `folder`: `("signs.zip", "signs")`. A zip is read as it is, a folder
            is walked, unless its zip lies beside it, anything else is one file. Nothing else in
            `folder` is looked at.
        instructions: Where to fetch them, for the errors.
    """

    def __init__(
        self, folder: Path, required: Sequence[tuple[str, ...]], instructions: str
    ) -> None:
        self._instructions = textwrap.dedent(instructions).strip()
        self._folder = folder
        self._places: dict[str, tuple[Path, zipfile.ZipFile | None]] = {}
        for patterns in required:
            entries = sorted({entry for pattern in patterns for entry in folder.glob(pattern)})
            if not entries:
                raise OriginalFileError(
                    f"Expected {' or '.join(patterns)} in {folder}. Received: no such file. "
                    f"{self._instructions}"
                )
            packed = {entry.stem for entry in entries if entry.suffix.lower() == ".zip"}
            for entry in entries:
                # Of a zip and the folder out of it the zip, which is known to be whole.
                if not (entry.is_dir() and entry.name in packed):
                    self._add(entry)
        self._by_name: dict[str, list[str]] = {}
        for name in self._places:
            self._by_name.setdefault(PurePosixPath(name).name, []).append(name)

    def __enter__(self) -> OriginalFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _, archive in self._places.values():
            if archive is not None:
                archive.close()

    def names(self, suffix: str) -> list[str]:
        """Sorted paths that end in `suffix`, in any letter case."""
        return sorted(name for name in self._places if name.lower().endswith(suffix.lower()))

    def named(self, base_name: str) -> str:
        """The path of the one file with this name."""
        found = self._by_name.get(base_name, [])
        if len(found) != 1:
            raise OriginalFileError(
                f"Expected one file {base_name} among those in {self._folder}. Received: "
                f"{', '.join(found) or 'none'}. {self._instructions}"
            )
        return found[0]

    def read(self, name: str) -> bytes:
        """Content of a file."""
        if name not in self._places:
            raise OriginalFileError(
                f"Expected {name} among the files in {self._folder}. Received: no such file. "
                f"{self._instructions}"
            )
        place, archive = self._places[name]
        try:
            return place.read_bytes() if archive is None else archive.read(name)
        except _BROKEN_ZIP as error:
            raise _damaged(place, error) from error

    def image(self, name: str, size: tuple[int, int] | None) -> np.ndarray:
        """A picture as uint8 `(height, width, 3)`, resized to `size` if one is given."""
        content = io.BytesIO(self.read(name))
        try:
            return decode_image(content, f"{self._folder}/{name}", grey=False, size=size)
        except ValueError as error:
            raise OriginalFileError(str(error)) from error

    def table(self, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
        """Rows of a table whose first line names its columns (comma, semicolon or tab)."""
        text = self.read(name).decode("utf-8-sig", errors="replace")
        header = text.partition("\n")[0]
        reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=header.count))
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        rows = list(reader)
        cut = any(row[column] is None for row in rows for column in columns if not missing)
        if missing or cut or not rows:
            received = f"no {', '.join(missing)}" if missing else "a table that is cut off or empty"
            raise OriginalFileError(
                f"Expected {self._folder}/{name} to have rows with the columns "
                f"{', '.join(columns)}. Received: {received}. {self._instructions}"
            )
        return rows

    def _add(self, entry: Path) -> None:
        if entry.is_dir():
            for path in entry.rglob("*"):
                if path.is_file():
                    self._places[path.relative_to(self._folder).as_posix()] = (path, None)
        elif entry.suffix.lower() == ".zip":
            try:
                archive = zipfile.ZipFile(entry)
            except _BROKEN_ZIP as error:
                raise _damaged(entry, error) from error
            for name in archive.namelist():
                # macOS adds a shadow of every file to the zips that it writes.
                if not name.endswith("/") and not name.startswith("__MACOSX/"):
                    self._places[name] = (entry, archive)
        else:
            self._places[entry.name] = (entry, None)


def _damaged(path: Path, error: Exception) -> OriginalFileError:
    return OriginalFileError(
        f"Expected {path} to be complete and readable. Received: {error}. Fetch it again."
    )


VARIABLE = "KERAS_REPROGRAM_DATA"


def data_file(file_name: str) -> Path | None:
    """A file in the folder `KERAS_REPROGRAM_DATA`, `None` if it is not there."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ValueError(
            f"Expected the environment variable {VARIABLE} to name a folder. Received: {folder!r}. "
            "Correct it or unset it."
        )
    return path / file_name if (path / file_name).exists() else None


def npz_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named arrays of a .npz file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in names if name in archive}
    # NumPy returns a bare array, which is no context manager, for a file that is .npy.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"Expected {path} to be a complete .npz file. Received: {error}. Fetch it again."
        ) from error
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(
            f"Expected {path} to hold the arrays {', '.join(names)}. Received: no "
            f"{', '.join(missing)}."
        )
    return arrays


def download(name: str, expected_file: str | None) -> Any:
    """Loads one of Keras's data sets, and says what to do if it cannot be downloaded."""
    # Late, so that a command refuses an unknown target without TensorFlow.
    import keras

    try:
        # Keras prints its progress to stdout, which belongs to the data of the command line.
        with contextlib.redirect_stdout(sys.stderr):
            return getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare `Exception` where a download fails.
        file = f"set {VARIABLE} to a folder that holds {expected_file}, or "
        raise ConnectionError(
            f"Expected to find or download the data set {name!r}. Received: {error}. Without a "
            f"network, {file if expected_file else ''}set TFDS_DATA_DIR to a folder in which "
            f"TensorFlow Datasets prepared {name!r}."
        ) from error
