"""Two tasks of texts: surnames of 18 languages, and questions of six kinds (TREC).

Both are read from the folder that KERAS_REPROGRAM_DATA names:

- `text/names/LANGUAGE.txt`: a name a line, https://github.com/spro/practical-pytorch (MIT), its
  folder data/names.
- `text/trec_train_5500.label.txt` and `text/trec_test_10.label.txt`: a question a line,
  `KIND:detail question`, in Latin-1, by Li and Roth; as https://github.com/tstuessi/question-type
  has them (data/train_5500.label.txt, data/test_TREC_10.label.txt).

A name of several languages is one row of each, and all of them are on one side of the split.

    python examples/benchmark/text_data.py questions questions.csv

writes a task as a table for `keras-reprogram train --target`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from keras_reprogram.datasets.original_files import VARIABLE, data_file

# The five of the paper's smaller task, 704 names.
FEW_LANGUAGES = ("Dutch", "Korean", "Polish", "Portuguese", "Scottish")
TEST_SHARE = 0.2


class TextTask(NamedTuple):
    """Texts and integer labels of both parts; no text of the test part is in the training part."""

    train_texts: list[str]
    train_labels: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    unit: str


def surnames(seed: int, languages: Sequence[str] = ()) -> TextTask:
    """Names and their languages; a fifth of the names, drawn from the seed, is the test part."""
    files = sorted(_file("text/names").glob("*.txt"))
    chosen = [file for file in files if not languages or file.stem in languages]
    pairs = sorted(
        {
            (name.strip(), label)
            for label, file in enumerate(chosen)
            for name in file.read_text(encoding="utf-8").splitlines()
            if name.strip()
        }
    )
    names = sorted({name for name, _ in pairs})
    order = np.random.default_rng(seed).permutation(len(names))
    held_out = {names[i] for i in order[: round(TEST_SHARE * len(names))]}
    classes = tuple(file.stem for file in chosen)
    return _task(
        [pair for pair in pairs if pair[0] not in held_out],
        [pair for pair in pairs if pair[0] in held_out],
        classes,
        "characters",
    )


def questions() -> TextTask:
    """Questions and what they ask for, with the test part as published."""
    train, test = (
        _questions_in(f"text/trec_{part}.label.txt") for part in ("train_5500", "test_10")
    )
    seen = {text for text, _ in test}
    classes = tuple(sorted({kind for _, kind in train}))
    rows = [
        [(text, classes.index(kind)) for text, kind in part]
        for part in ([pair for pair in train if pair[0] not in seen], test)
    ]
    return _task(*rows, classes, "words")


def _questions_in(name: str) -> list[tuple[str, str]]:
    """Each question once, in small letters, and its coarse kind."""
    lines = _file(name).read_text(encoding="latin-1").splitlines()
    pairs = [line.split(" ", 1) for line in lines if line.strip()]
    return sorted({(text.strip().lower(), label.split(":")[0]) for label, text in pairs})


def _task(
    train: list[tuple[str, int]], test: list[tuple[str, int]], classes: tuple[str, ...], unit: str
) -> TextTask:
    texts, labels = zip(*[tuple(zip(*part, strict=True)) for part in (train, test)], strict=True)
    return TextTask(
        list(texts[0]), np.array(labels[0]), list(texts[1]), np.array(labels[1]), classes, unit
    )


def _file(name: str) -> object:
    found = data_file(name)
    if found is None:
        raise ValueError(
            f"Expected {name} in the folder that {VARIABLE} names. Received: none. text_data.py "
            "says where it comes from."
        )
    return found


TASKS = {
    "questions": lambda seed: questions(),
    "5 languages": lambda seed: surnames(seed, FEW_LANGUAGES),
    "18 languages": surnames,
}


def main(
    task: Annotated[str, typer.Argument(help=f"One of: {', '.join(TASKS)}.")],
    table: Annotated[Path, typer.Argument(help="The .csv file that is written.")],
    seed: Annotated[int, typer.Option(help="Of the split of names.")] = 0,
) -> None:
    """Writes a task as a table of text, label and split."""
    if task not in TASKS:
        raise typer.BadParameter(f"Expected one of {', '.join(TASKS)}. Received: {task}.")
    found = TASKS[task](seed)
    parts = (
        ("train", found.train_texts, found.train_labels),
        ("test", found.test_texts, found.test_labels),
    )
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("text", "label", "split"))
        for part, texts, labels in parts:
            names = [found.class_names[label] for label in labels]
            writer.writerows(zip(texts, names, [part] * len(texts), strict=True))


if __name__ == "__main__":
    typer.run(main)
