"""One row a method and fold of the ASD cross-validation: stored, read again, and tabled."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

FIGURES = ("accuracy", "sensitivity", "specificity")
REMARKS = (
    "Mean ± standard deviation over the folds of a stratified cross-validation ({facts}). "
    "Sensitivity is the share of ASD subjects that are found, specificity that of controls. "
    "Queries for training are those of one fold.",
    "Every choice is made on 15 % of each fold's training subjects; nothing is chosen on a test "
    "fold. `ours` chooses among the three `map_...` by validation accuracy, and pays for the "
    "answers of all of them; each is a logistic regression on the source's log-scores whose "
    "regularisation is chosen on the same 15 %, as for `logistic_regression`. `ridge` chooses "
    "among three penalties. `no_source` is the better of logistic regression and RBF-SVM. "
    "These three read the 19,900 raw correlations and ask no source.",
    "BAR (Tsai, Chen, Ho 2020) reports 70.33 % for ResNet50 and ASD. Its published code trains on "
    "the true gradient and picks the epoch with the best accuracy on the test fold, so that figure "
    "is no estimate of accuracy on new subjects and does not compare with this table.",
    "Folds are stratified by label only, as BAR's are: subjects of one scanner site are on both "
    "sides of a fold.",
)


@dataclass(frozen=True)
class FoldRow:
    """What one method reached on one fold; `None` is an empty cell.

    Attributes:
        source: name of the source, `"none"` where none is asked.
        method: name of the method.
        fold: number of the fold, from 0.
        folds: how many folds there are.
        seed: draws folds, inner splits and views.
        n_images: subjects of all folds.
        n_train: training subjects, the inner split's included.
        n_test: test subjects.
        queries_training: images that the source was shown for training and validation.
        queries_per_prediction: images that the source is shown for one prediction.
        validation_accuracy: on the inner split.
        accuracy: on the test fold.
        sensitivity: share of the ASD subjects of the test fold that were found.
        specificity: share of the controls of the test fold that were found.
        choices: what was chosen on the inner split.
    """

    source: str
    method: str
    fold: int
    folds: int
    seed: int
    n_images: int
    n_train: int
    n_test: int
    queries_training: int
    queries_per_prediction: int
    validation_accuracy: float | None
    accuracy: float
    sensitivity: float
    specificity: float
    choices: str = ""

    @property
    def key(self) -> tuple[str, str, int, int, int, int]:
        """What tells one row from another."""
        return (self.source, self.method, self.fold, self.folds, self.seed, self.n_images)


COLUMNS = tuple(field.name for field in fields(FoldRow))
_TEXT = {"source", "method", "choices"}
_BROKEN = {"validation_accuracy", *FIGURES}


def read_rows(path: Path) -> list[FoldRow]:
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
    table = csv.DictReader(io.StringIO(_whole_lines(path).decode()))
    if table.fieldnames is not None and tuple(table.fieldnames) != COLUMNS:
        raise ValueError(
            f"Expected {path} to have the columns {', '.join(COLUMNS)}. Received: "
            f"{', '.join(table.fieldnames)}. Pass another file to --csv."
        )
    return [FoldRow(**{name: _value(name, cell) for name, cell in line.items()}) for line in table]


def append_row(path: Path, row: FoldRow) -> None:
    """Appends a row and puts it on the disk at once; writes the header of a new file.

    Args:
        path: a CSV file; made with its folders if it is not there.
        row: the row.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = _whole_lines(path) if path.exists() else b""
    if path.exists() and len(whole) < path.stat().st_size:
        path.write_bytes(whole)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not whole:
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in asdict(row).items()})
        file.flush()
        os.fsync(file.fileno())


def markdown_table(rows: Sequence[FoldRow]) -> str:
    """A line a source and method, and under the table what it rests on.

    Args:
        rows: of one cross-validation; at least one.

    Returns:
        Markdown.
    """
    header = ("source", "method", "folds", *FIGURES, "queries for training", "a prediction")
    lines = ["| " + " | ".join(header) + " |", "| --- | --- |" + " ---: |" * (len(header) - 2)]
    for source, method in dict.fromkeys((row.source, row.method) for row in rows):
        own = [row for row in rows if (row.source, row.method) == (source, method)]
        figures = [_spread([getattr(row, name) for row in own]) for name in FIGURES]
        training = f"{_mean(own, 'queries_training'):,.0f}"
        prediction = f"{_mean(own, 'queries_per_prediction'):.3g}"
        cells = [source, method, str(len(own)), *figures, training, prediction]
        lines.append("| " + " | ".join(cells) + " |")
    facts = f"{rows[0].folds} folds, seed {rows[0].seed}, {rows[0].n_images:,} subjects"
    remarks = [f"- {remark.replace('{facts}', facts)}" for remark in REMARKS]
    return "\n".join([*lines, "", *remarks])


def _mean(rows: Sequence[FoldRow], name: str) -> float:
    return float(np.mean([getattr(row, name) for row in rows]))


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3f}".replace("0.", ".", 1)
    if len(values) == 1:
        return mean
    return f"{mean} ± {np.std(values, ddof=1):.3f}".replace("± 0.", "± .")


def _whole_lines(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]


def _cell(value: object) -> object:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else value


def _value(name: str, cell: str) -> object:
    if name in _TEXT:
        return cell
    if cell == "":
        return None
    return float(cell) if name in _BROKEN else int(cell)
