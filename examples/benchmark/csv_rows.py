"""One row a run: what is stored, appended at once and read again."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

FULL, QUICK = "full", "quick"
Key = tuple[str, str, str, int, str]


@dataclass(frozen=True)
class Row:
    """What one run reached and what it cost; `None` is an empty cell.

    Attributes:
        source: name of the source, `"none"` where none is asked.
        target: name of the target.
        method: name of the method.
        seed: draws images, splits, views and directions.
        mode: `"full"` or `"quick"`, with the number of images where it is not the usual one.
        n_train: training images, those held out for validation included.
        n_test: test images.
        views: source images that a target image becomes.
        queries_training: image queries of training, validation included.
        queries_pilot: image queries spent on choosing settings, not in `queries_training`.
        queries_per_prediction: image queries a test image.
        validation_accuracy: on the part of the training images that was held out.
        test_accuracy: on the test images, looked at once.
        balanced_accuracy: mean of the classes' accuracies on the test images.
        seconds: of the whole run, testing included.
        choices: what was chosen on validation, `name=value` by semicolons.
        notes: what a reader should know, such as why a cell is n/a or what was cut.
    """

    source: str
    target: str
    method: str
    seed: int
    mode: str
    n_train: int
    n_test: int
    views: int | None = None
    queries_training: int | None = None
    queries_pilot: int | None = None
    queries_per_prediction: int | None = None
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    balanced_accuracy: float | None = None
    seconds: float | None = None
    choices: str = ""
    notes: str = ""

    @property
    def key(self) -> Key:
        """What tells one run from another."""
        return (self.source, self.target, self.method, self.seed, self.mode)

    @property
    def line(self) -> str:
        """What is shown when the run is done."""
        name = f"{self.source:18} {self.target:9} {self.method:14} seed {self.seed}"
        if self.test_accuracy is None:
            return f"{name}  {self.notes}"
        queries = 0 if self.queries_training is None else self.queries_training
        seconds = self.seconds or 0
        return f"{name}  {self.test_accuracy:.3f}  {queries:7,} queries  {seconds:6.1f} s"


COLUMNS = tuple(field.name for field in fields(Row))


def read_rows(path: Path, kind: type[Any] = Row) -> list[Any]:
    """Reads a file of rows.

    Args:
        path: a CSV file, or a path where there is none yet.
        kind: a dataclass whose fields, of text or numbers, are the columns.

    Returns:
        Its rows, in order. A last line that a killed run left without its end is left out.

    Raises:
        ValueError: if the file has other columns.
    """
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    table = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    columns = {field.name: str(field.type) for field in fields(kind)}
    if table.fieldnames is not None and tuple(table.fieldnames) != tuple(columns):
        raise ValueError(
            f"Expected {path} to have the columns {', '.join(columns)}. Received: "
            f"{', '.join(table.fieldnames)}. Pass another file to --csv."
        )
    return [
        kind(**{name: _value(columns[name], cell) for name, cell in line.items()}) for line in table
    ]


def append_row(path: Path, row: Any) -> None:
    """Appends a row and puts it on the disk at once; writes the header of a new file.

    Args:
        path: a CSV file; made with its folders if it is not there.
        row: of the kind that the file holds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_unfinished_line(path)
    is_new = not path.exists() or path.stat().st_size == 0
    with path.open("a", encoding="utf-8", newline="") as file:
        cells = {name: _cell(value) for name, value in asdict(row).items()}
        writer = csv.DictWriter(file, tuple(cells), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(cells)
        file.flush()
        os.fsync(file.fileno())


def _drop_unfinished_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        path.write_bytes(whole)


def _cell(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else value


def _value(kind: str, cell: str) -> object:
    """A cell as the type that the column's annotation names."""
    if kind == "str":
        return cell
    if cell == "":
        return None
    return int(cell) if kind.startswith("int") else float(cell)
