"""`predict` of a run of texts: the texts of files, and a line for each."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_reprogram.command_line.console import Progress
from keras_reprogram.command_line.run_folder import write_json
from keras_reprogram.command_line.target_settings import TargetSettings

if TYPE_CHECKING:
    from keras_reprogram.command_line.run_folder import Run
    from keras_reprogram.datasets.image_table import Columns


class NamedText(NamedTuple):
    """A text, the file that it is from, and its row in it, from 1."""

    file: str
    row: int
    text: str


def predict_texts(run: Run, files: list[Path], json_file: Path | None, progress: Progress) -> None:
    """Writes the class of each text as CSV to stdout, and probabilities to a file."""
    from keras_reprogram.command_line.answers import predict

    chosen = TargetSettings.from_facts(run.facts["target"]).columns
    # Labels, groups and splits are not needed here, whatever they were called.
    columns = {role: names for role, names in chosen.items() if role == "text"}
    texts = [text for file in files for text in texts_of_file(file, columns)]
    model: Any = run.load_model(run.open_source())
    class_names = run.facts["target"]["class_names"]
    numbers = model.program.vocabulary.encode([one.text for one in texts])
    probabilities = predict(model, numbers, progress, "asking the source")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("file", "row", "class", "probability"))
    every = []
    for one, row in zip(texts, probabilities, strict=True):
        best = class_names[row.argmax()]
        writer.writerow((one.file, one.row, best, f"{row.max():.4f}"))
        facts = {"file": one.file, "row": one.row, "text": one.text, "class": best}
        every.append(facts | {"probabilities": dict(zip(class_names, row.tolist(), strict=True))})
    if json_file is not None:
        write_json(json_file, every)


def texts_of_file(file: Path, columns: Columns) -> list[NamedText]:
    """The texts of a .txt file, one a line, or of a table; an empty one is an error."""
    from keras_reprogram.datasets.image_table import TABLE_SUFFIXES, is_table, read_table
    from keras_reprogram.datasets.text_table import texts_in

    if not file.exists():
        raise FileNotFoundError(f"There is no file {file}. Check the path.")
    if is_table(file.name):
        found = texts_in(read_table(file, columns))
    elif file.suffix.lower() == ".txt":
        found = _lines(file)
    else:
        raise ValueError(
            f"A run of texts reads .txt files, a text a line, and tables "
            f"({', '.join(TABLE_SUFFIXES)}) with a column text. Received: {file}. Save it as one."
        )
    return [NamedText(str(file), number, text) for number, text in enumerate(found, 1)]


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected {file} to be a text in UTF-8. Received: {error}. Save it as UTF-8."
        ) from error
    empty = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if empty or not lines:
        what = f"line {empty[0]} is empty" if empty else "an empty file"
        raise ValueError(f"Expected a text in each line of {file}. Received: {what}. Remove it.")
    return lines
