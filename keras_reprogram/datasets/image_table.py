"""ImageTable: a CSV or Parquet file, or a DataFrame, whose rows are images or texts."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_reprogram.optional_packages import needs_extra

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
# Roles that a column may have.
PATH, LABEL, GROUP, SPLIT, WEIGHT, TEXT = ROLES = (
    *("path", "label", "group", "split", "weight"),
    "text",
)

Columns = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class ImageTable:
    """Columns of texts.

    Args:
        name: for errors, the file's.
        cells: header -> one text a row; empty where there is nothing.
        chosen: role -> the headers that were given for it.
    """

    name: str
    cells: dict[str, list[str]]
    chosen: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(next(iter(self.cells.values()), []))

    def headers(self, role: str) -> tuple[str, ...]:
        """The columns of a role: those that were given, else the one that is called like it."""
        if role in self.chosen:
            return self.chosen[role]
        exact = [header for header in self.cells if header == role]
        alike = [header for header in self.cells if header.strip().lower() == role]
        return tuple((exact or alike)[:1])

    def column(self, role: str, *, required: bool = False) -> list[str]:
        """The texts of a role's only column; empty if there is none."""
        headers = self.headers(role)
        if not headers and required:
            raise ValueError(
                f"Expected {self.name} to have a column {role!r}. Received: the columns "
                f"{', '.join(self.cells)}. Rename one, or say which it is: --column {role}=NAME "
                f"(`columns={{{role!r}: NAME}}`)."
            )
        if len(headers) > 1:
            raise ValueError(
                f"Expected one column for {role!r} of {self.name}. Received: {', '.join(headers)}."
            )
        return self.cells[headers[0]] if headers else []

    def error(self, row: int, expected: str, received: str, advice: str) -> ValueError:
        """An error about a row, counted from 0."""
        return ValueError(
            f"Expected {expected} in row {row + 1} of {self.name} (below the header). "
            f"Received: {received}. {advice}"
        )


def is_table(name: str) -> bool:
    """Whether a path is called like a table."""
    return name.lower().endswith(TABLE_SUFFIXES)


def read_table(table: Any, columns: Columns) -> ImageTable:
    """Reads a file, or takes the columns of a DataFrame."""
    if hasattr(table, "columns") and hasattr(table, "to_dict"):
        name, cells = f"the {type(table).__name__}", table.to_dict("list")
    else:
        path = Path(table).expanduser()
        name, cells = str(path), _read_file(path)
    texts = {str(header): [_text(cell) for cell in column] for header, column in cells.items()}
    if not texts or not next(iter(texts.values())):
        raise ValueError(f"Expected {name} to have rows. Received: none. Write it again.")
    return ImageTable(name, texts, _chosen(name, texts, columns))


def _chosen(name: str, cells: Mapping[str, Any], columns: Columns) -> dict[str, tuple[str, ...]]:
    if unknown := sorted(set(columns) - set(ROLES)):
        raise ValueError(
            f"Columns of {name} are {', '.join(ROLES)}. Received: {unknown[0]!r}. Write "
            "--column path=NAME, say."
        )
    chosen = {
        role: (given,) if isinstance(given, str) else tuple(given)
        for role, given in columns.items()
    }
    for role, headers in chosen.items():
        if missing := [header for header in headers if header not in cells]:
            raise ValueError(
                f"Expected a column {missing[0]!r} in {name}, for {role}. Received: the columns "
                f"{', '.join(cells)}."
            )
    return chosen


def _read_file(path: Path) -> dict[str, list[Any]]:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise ValueError(
            f"Expected a table of images or texts, {', '.join(TABLE_SUFFIXES)}. Received: {path}, "
            f"{what}. Check the path."
        )
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    if not is_table(path.name):
        raise ValueError(
            f"Expected a table that ends in {', '.join(TABLE_SUFFIXES)}. Received: "
            f"{path}. Save it as CSV."
        )
    return _read_csv(path)


def _read_parquet(path: Path) -> dict[str, list[Any]]:
    with needs_extra("pyarrow", "parquet"):
        import pyarrow
        from pyarrow.parquet import read_table as read
    try:
        # Partitions in the names of parent folders are no columns of this file.
        return read(path, partitioning=None).to_pydict()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"Expected {path} to be a Parquet file. Received: {error}. Write it again."
        ) from error


def _read_csv(path: Path) -> dict[str, list[Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected {path} to be a text in UTF-8. Received: {error}. Save it as CSV, UTF-8."
        ) from error
    header = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=header.count))
    names = [name.strip() for name in next(rows, [])]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            f"Expected the columns of {path} to have different names. Received: {min(twice)!r} "
            "twice. Rename one."
        )
    cells: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        if not row:
            continue
        if len(row) != len(names):
            raise ValueError(
                f"Expected {len(names)} cells in line {rows.line_num} of {path}, as in its header. "
                f"Received: {len(row)}. Put texts with the delimiter in quotes."
            )
        for name, cell in zip(names, row, strict=True):
            cells[name].append(cell)
    return cells


def _text(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    # Missing values turn the whole numbers of a DataFrame's column into floats.
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    text = str(cell).strip()
    return "" if text in ("<NA>", "NaT") else text
