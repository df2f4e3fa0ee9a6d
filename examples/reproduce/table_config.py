"""A table as its TOML file says it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from row_config import FORMS, HERE, PAPER, RowConfig, row_of, shortened
from row_methods import METHODS, OPTIONS
from row_sources import source_names

from keras_reprogram.fitting import READINGS

FOLDER = Path(__file__).parent / "configs"
_KEYS = ("title", "paper", "remarks", "rows")


@dataclass(frozen=True)
class TableConfig:
    """What a table of a paper is run again as.

    Attributes:
        name: of the table, its configuration and its results.
        title: the heading.
        paper: author, title, year.
        remarks: sentences under the table.
        rows: the lines of each form, by the name of the form.
    """

    name: str
    title: str
    paper: str
    remarks: tuple[str, ...]
    rows: dict[str, tuple[RowConfig, ...]]


def read_table(name: str, folder: Path = FOLDER) -> TableConfig:
    """Reads and checks a configuration.

    A row's own keys count in all forms; those in its table `here` or `paper` in that form alone. A
    row that lacks such a table is not part of the form.

    Args:
        name: of the table: the file without `.toml`.
        folder: where the file is.

    Returns:
        A `TableConfig`.

    Raises:
        ValueError: for a file that is not there or not TOML, and for what `row_of` refuses.
    """
    path = folder / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.stem for p in folder.glob("*.toml") if p.stem != "sources"))
        raise ValueError(f"Expected a table: {known}. Received: {name!r}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"Expected {path} to be TOML. Received: {error}. Correct it.") from error
    wrong = [key for key in values if key not in _KEYS] + [
        key for key in _KEYS if key not in values
    ]
    if wrong:
        raise ValueError(
            f"Expected {path} to have the keys {', '.join(_KEYS)}. Received: "
            f"{', '.join(values)}; {wrong[0]!r} is one too many or missing."
        )
    rows = {form: tuple(_rows(values["rows"], form, path)) for form in FORMS}
    title, paper, remarks = values["title"], values["paper"], tuple(values["remarks"])
    return TableConfig(name, title, paper, remarks, rows)


def _rows(lines: list[dict[str, Any]], form: str, path: Path) -> list[RowConfig]:
    kept = PAPER if form == PAPER else HERE
    rows = []
    for number, line in enumerate(lines, 1):
        where = f"row {line.get('name', number)!r} of {path}"
        common = {key: value for key, value in line.items() if key not in (HERE, PAPER)}
        if HERE not in line and PAPER not in line:
            raise ValueError(
                f"Expected {where} to have a table `here` or `paper`. Received: neither."
            )
        if kept in line:
            row = row_of(common | line[kept], where)
            _check_names(row, where)
            rows.append(row if form == kept else shortened(row, form))
    names = [row.name for row in rows]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"Expected rows of {path} to have names of their own. Received: {twice}.")
    return rows


def _check_names(row: RowConfig, where: str) -> None:
    checked = [
        ("method", row.method, METHODS),
        ("program", row.program or row.method, METHODS),
        ("source", row.source, ("none", *source_names())),
    ]
    checked += [("readings", reading, READINGS) for reading in row.readings]
    known_options = OPTIONS.get(row.method, row.options)
    checked += [("options", option, known_options) for option in row.options]
    for key, value, known in checked:
        if value not in known:
            raise ValueError(
                f"Expected {key!r} of {where} to be {_one_of(known)}. Received: {value!r}."
            )


def _one_of(known: Iterable[str]) -> str:
    names = ", ".join(known)
    return f"one of {names}" if names else "left out"
