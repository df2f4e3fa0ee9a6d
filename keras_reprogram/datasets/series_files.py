"""Loads time series as a target: .ts, .txt and .tsv of the UCR archive, .npz, and aeon's loader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_reprogram.datasets.original_files import npz_arrays
from keras_reprogram.datasets.target_data import TargetData
from keras_reprogram.optional_packages import needs_extra

TRAIN, TEST = "_TRAIN", "_TEST"
_PARTS = re.compile(rf"({TRAIN}|{TEST})$", re.IGNORECASE)
_ARRAYS = ("X_train", "y_train", "X_test", "y_test")
_SUFFIXES = (".ts", ".txt", ".tsv")
_MISSING = ("?", "nan", "NaN", "NaN ")


class _Part(NamedTuple):
    """Series `(n, length)` or `(n, length, channels)` of one file, and their labels as written."""

    series: np.ndarray
    labels: list[str]


def load_series(file: str | Path) -> TargetData:
    r"""Loads series with the split that their files make.

    - `NAME_TRAIN.ts` and `NAME_TEST.ts`, the format of the UEA & UCR archive: values by commas,
      channels by colons, the label last.
    - `NAME_TRAIN.txt`, `.tsv` and their `_TEST`: the label first, values by blanks, tabs or commas.
    - `NAME.npz` with `X_train`, `y_train`, `X_test`, `y_test`.

    Either of two files names both. Values stay as they are. Classes are the labels in the order of
    their names (of numbers, by size): -1 and 1 are two classes.

    Args:
        file: One of the above; of two files either.

    Returns:
        A `TargetData` of float32 series and no `target_range`.

    Raises:
        ValueError: If a file is missing or damaged, for missing values, series of different
            lengths, time stamps, numbers in place of classes, and one class alone.

    Example:
        ```python
        import pathlib, tempfile
        from keras_reprogram.datasets import load_series

        folder = pathlib.Path(tempfile.mkdtemp())
        for part in ("TRAIN", "TEST"):
            text = "@classLabel true up down\n@data\n1,2,3:up\n3,2,1:down\n"
            (folder / f"Slopes_{part}.ts").write_text(text)
        target = load_series(folder / "Slopes_TRAIN.ts")
        print(target.target_shape, target.class_names)  # (3,) ('down', 'up')
        ```
    """
    path = Path(file).expanduser()
    if path.suffix.lower() == ".npz":
        parts, name = _of_archive(path), path.stem
        origin = f"{path.name}, its own split."
    else:
        files = _both(path)
        parts = tuple(_read(one) for one in files)  # type: ignore[assignment]
        name = _PARTS.sub("", path.stem)
        origin = f"{files[0].name} and {files[1].name}, their official split."
    return _target(name, *parts, origin)


def load_aeon_series(name: str) -> TargetData:
    """Loads a set of the UEA & UCR archive through the package aeon, with its official split.

    Some come with aeon, such as GunPoint; it downloads others.

    Args:
        name: Of the archive, such as `"GunPoint"`.

    Returns:
        As `load_series`.

    Raises:
        ImportError: Without aeon; the message has the command that installs it.
        ValueError: As `load_series`, and if aeon has no such set.

    Example:
        ```python
        from keras_reprogram.datasets import load_aeon_series

        help(load_aeon_series)
        ```
    """
    with needs_extra("aeon", "series"):
        from aeon.datasets import load_classification
    try:
        (train, of_train), (test, of_test) = (
            load_classification(name, split=part) for part in ("train", "test")
        )
    except Exception as error:  # A download, and the many kinds of errors around it.
        raise ValueError(
            f"Expected aeon to know or to download the series {name!r}. Received: "
            f"{type(error).__name__}: {error}. Check the name, or read its files with "
            "`load_series`."
        ) from error
    parts = (_of_aeon(train, of_train, name), _of_aeon(test, of_test, name))
    return _target(name, *parts, f"{name} of the UEA & UCR archive, by aeon.")


def is_series_file(path: str | Path) -> bool:
    """Whether a name is that of series, by its ending or by the arrays in an .npz file."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".ts":
        return True
    if suffix in _SUFFIXES:
        return bool(_PARTS.search(path.stem))
    if suffix != ".npz" or not path.is_file():
        return False
    try:
        with np.load(path, allow_pickle=False) as archive:
            return "X_train" in archive
    except Exception:  # Whatever NumPy raises: `load_medmnist` says what is wrong.
        return False


def _both(path: Path) -> tuple[Path, Path]:
    """The training and the test file, of which `path` is either."""
    found = _PARTS.search(path.stem)
    if path.suffix.lower() not in _SUFFIXES or found is None:
        raise ValueError(
            f"Expected NAME{TRAIN}.ts beside NAME{TEST}.ts (or .txt, .tsv), or NAME.npz. "
            f"Received: {path}. Pass the training file."
        )
    is_upper = found[1].isupper()
    ends = (TRAIN, TEST) if is_upper else (TRAIN.lower(), TEST.lower())
    files = tuple(path.with_name(_PARTS.sub("", path.stem) + end + path.suffix) for end in ends)
    for one in files:
        if not one.is_file():
            raise ValueError(
                f"Expected the training series beside the test series. Received: {path}, but there "
                f"is no file {one}. Put both into one folder."
            )
    return files[0], files[1]


def _read(path: Path) -> _Part:
    read = _lines_of_ts if path.suffix.lower() == ".ts" else _lines_of_columns
    rows, labels, where = [], [], []
    for number, values, label in read(path):
        rows.append(values)
        labels.append(label)
        where.append(number)
    if not rows:
        raise ValueError(f"Expected series in {path}. Received: none. Fetch the file again.")
    shapes = [row.shape for row in rows]
    if len(set(shapes)) > 1:
        other = next(index for index, shape in enumerate(shapes) if shape != shapes[0])
        raise ValueError(
            f"Expected series of one length in {path}. Received: {shapes[0][-1]} values in line "
            f"{where[0]}, {shapes[other][-1]} in line {where[other]}. Cut, fill up or resample "
            "them to one length first."
        )
    series = np.stack(rows)
    _check_finite(series, path, where)
    return _Part(series[:, 0] if series.shape[1] == 1 else series.transpose(0, 2, 1), labels)


def _lines_of_ts(path: Path) -> Iterator[tuple[int, np.ndarray, str]]:
    """Line number, `(channels, length)` and label of each series of a .ts file."""
    in_data, has_classes = False, False
    # Comments are in any encoding.
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if not in_data:
            words = line.lower().split()
            in_data = words[0] == "@data"
            has_classes |= words[:2] == ["@classlabel", "true"]
            if words == ["@timestamps", "true"]:
                raise ValueError(
                    f"Expected values at equal distances in {path}. Received: series with time "
                    "stamps. Resample them first."
                )
            continue
        if not has_classes:
            raise ValueError(
                f"Expected classes in {path}, a line `@classLabel true ...`. Received: none, as in "
                "files for regression or forecasting."
            )
        *channels, label = line.split(":")
        if not channels:
            raise ValueError(
                f"Expected values, a colon and the label in line {number} of {path}. Received: "
                f"{line[:40]!r}. Fetch the file again."
            )
        values = [_numbers(one.split(","), path, number) for one in channels]
        if len({len(one) for one in values}) > 1:
            raise ValueError(
                f"Expected channels of one length in line {number} of {path}. Received: "
                f"{[len(one) for one in values]} values."
            )
        yield number, np.stack(values), label.strip()


def _lines_of_columns(path: Path) -> Iterator[tuple[int, np.ndarray, str]]:
    """The same of a file with the label first."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        values = _numbers(words, path, number)
        yield number, values[None, 1:], _label_name(values[0])


def _numbers(words: list[str], path: Path, line: int) -> np.ndarray:
    try:
        found = [np.nan if one.strip() in _MISSING else float(one) for one in words]
        return np.array(found, np.float32)
    except ValueError as error:
        raise ValueError(
            f"Expected numbers in line {line} of {path}. Received: {error}. Fetch it again."
        ) from None


def _check_finite(series: np.ndarray, path: Path | str, where: list[int] | None = None) -> None:
    missing = ~np.isfinite(series)
    if not missing.any():
        return
    row = int(np.argwhere(missing)[0][0])
    place = f"line {where[row]}" if where else f"series {row}"
    raise ValueError(
        f"Expected no missing values in {path}. Received: {int(missing.sum())} of them in "
        f"{int(missing.reshape(len(series), -1).any(axis=1).sum())} series, the first in {place}. "
        "Interpolate them, or leave these series out; a shorter series that is filled up with NaN "
        "must be resampled."
    )


def _of_archive(path: Path) -> tuple[_Part, _Part]:
    if not path.is_file():
        raise ValueError(f"Expected a file of series. Received: {path}, which is not there.")
    arrays = npz_arrays(path, _ARRAYS)
    parts = []
    for part in ("train", "test"):
        series, labels = np.asarray(arrays[f"X_{part}"]), np.asarray(arrays[f"y_{part}"])
        fits = series.dtype.kind in "iuf" and series.ndim in (2, 3) and 0 not in series.shape
        if not fits or labels.shape != series.shape[:1]:
            raise ValueError(
                f"Expected X_{part} (n, length) or (n, length, channels) of numbers in {path}, and "
                f"y_{part} (n,). Received: {series.dtype} {series.shape} and {labels.shape}."
            )
        series = series.astype(np.float32)
        _check_finite(series, f"X_{part} of {path}")
        parts.append(_Part(_without_single_channel(series), list(map(_label_name, labels))))
    return parts[0], parts[1]


def _of_aeon(series: Any, labels: Any, name: str) -> _Part:
    """What aeon gives: `(n, channels, length)`, or a list where lengths differ."""
    if not isinstance(series, np.ndarray):
        lengths = sorted({one.shape[-1] for one in series})
        raise ValueError(
            f"Expected series of one length in {name}. Received: {lengths[0]} to {lengths[-1]} "
            "values. Cut, fill up or resample them to one length first."
        )
    series = series.astype(np.float32)
    _check_finite(series, name)
    return _Part(_without_single_channel(series.transpose(0, 2, 1)), list(map(_label_name, labels)))


def _without_single_channel(series: np.ndarray) -> np.ndarray:
    return series[..., 0] if series.ndim == 3 and series.shape[2] == 1 else series


def _target(name: str, train: _Part, test: _Part, origin: str) -> TargetData:
    names = sorted({*train.labels, *test.labels}, key=_rank)
    if len(set(train.labels)) < 2:
        raise ValueError(
            f"Expected at least two classes in the training series of {name}. Received: "
            f"{', '.join(sorted(set(train.labels)))} alone. Check the labels of the file."
        )
    if train.series.shape[1:] != test.series.shape[1:]:
        raise ValueError(
            f"Expected training and test series of {name} to have one shape. Received: "
            f"{train.series.shape[1:]} and {test.series.shape[1:]}. Resample one of them."
        )
    places = {label: place for place, label in enumerate(names)}
    return TargetData(
        name,
        train.series,
        np.array([places[label] for label in train.labels]),
        test.series,
        np.array([places[label] for label in test.labels]),
        tuple(names),
        origin,
        target_range=None,
    )


def _label_name(label: Any) -> str:
    """A label as text: whole numbers without a point, whatever type they were stored in."""
    if isinstance(label, bytes):
        return label.decode()
    if isinstance(label, float | np.floating):
        return f"{label:g}"
    return str(label)


def _rank(label: str) -> tuple[bool, float, str]:
    """Numbers by size, then names by their letters."""
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label
