"""One row a run: what is stored, appended at once and read again."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

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


COLUMNS = tuple(field.name for field in fields(Row))
_WHOLE = {"seed", "n_train", "n_test", "views", "queries_per_prediction"}
_WHOLE |= {"queries_training", "queries_pilot"}
_BROKEN = {"validation_accuracy", "test_accuracy", "balanced_accuracy", "seconds"}


def read_rows(path: Path) -> list[Row]:
    """Reads a file of rows.

    Args:
        path: a CSV file, or a path where there is none yet.

    Returns:
        Its rows, in order. A last line that a killed run left without its end is left out.

    Raises:
        ValueError: if the file has other columns.
    """
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    table = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    if table.fieldnames is not None and tuple(table.fieldnames) != COLUMNS:
        raise ValueError(
            f"Expected {path} to have the columns {', '.join(COLUMNS)}. Received: "
            f"{', '.join(table.fieldnames)}. Pass another file to --csv."
        )
    return [Row(**{name: _value(name, cell) for name, cell in line.items()}) for line in table]


def append_row(path: Path, row: Row) -> None:
    """Appends a row and puts it on the disk at once; writes the header of a new file.

    Args:
        path: a CSV file; made with its folders if it is not there.
        row: the row.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_unfinished_line(path)
    is_new = not path.exists() or path.stat().st_size == 0
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in asdict(row).items()})
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


def _value(name: str, cell: str) -> object:
    if name not in _WHOLE | _BROKEN:
        return cell
    if cell == "":
        return None
    return int(cell) if name in _WHOLE else float(cell)
