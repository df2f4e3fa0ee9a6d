"""Loads a table with one text a row as a target."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_reprogram.datasets.image_table import (
    LABEL,
    PATH,
    TEXT,
    Columns,
    ImageTable,
    is_table,
    read_table,
)
from keras_reprogram.datasets.manifest import (
    classes_of,
    groups_of,
    other_headers,
    parts_of,
    unused_note,
    weights_of,
)
from keras_reprogram.datasets.parts import (
    check_groups,
    draw_parts,
    held_out_rows,
    numbered,
    split_parts,
)
from keras_reprogram.datasets.target_data import Draw, TargetData, TargetTexts

if TYPE_CHECKING:
    from keras_reprogram.program import Vocabulary


@dataclass(frozen=True)
class TextReading:
    """How texts become token numbers, see `Vocabulary.from_texts`.

    Args:
        unit: what a token is, `"words"` or `"characters"`.
        lowercase: whether capital letters, those of ASCII, are made small first.
        minimum_count: how often a token must occur in the training part; rarer ones are unknown.
        length: tokens of a row; `None` for those of the longest training text.
        vocabulary: one that is there already, in place of all that.
    """

    unit: str = "words"
    lowercase: bool = False
    minimum_count: int = 1
    length: int | None = None
    vocabulary: Any = None

    def of(self, texts: Sequence[str]) -> Vocabulary:
        """The vocabulary of training texts."""
        from keras_reprogram.program import Vocabulary

        if self.vocabulary is not None:
            return self.vocabulary
        return Vocabulary.from_texts(
            texts,
            self.length,
            unit=self.unit,
            lowercase=self.lowercase,
            minimum_count=self.minimum_count,
        )


def load_texts(
    table: Any,
    *,
    columns: Columns | None = None,
    unit: str = "words",
    lowercase: bool = False,
    minimum_count: int = 1,
    length: int | None = None,
    vocabulary: Vocabulary | None = None,
    seed: int = 0,
    draw: Draw | None = None,
) -> TargetData:
    r"""Loads a table of texts: a row a text, with columns for what is known of it.

    The columns are `text`, `label` and, if they are there, `group`, `split` and `weight`, as those
    of `load_manifest`. Equal texts are a group where no groups are given, so that they stay in one
    part. The vocabulary is that of the training texts, those held out left out.

    Args:
        table: A .csv, .tsv or .parquet file (the latter needs the extra `parquet`), or a pandas
            DataFrame.
        columns: Headers by their meaning, where they are called otherwise:
            `{"text": "Question", "label": "Kind"}`.
        unit: What a token is, `"words"` or `"characters"`.
        lowercase: Whether capital letters, those of ASCII, are made small first.
        minimum_count: How often a token must occur in the training part; rarer ones are unknown.
        length: Tokens of a row; `None` for those of the longest training text. Longer ones are cut.
        vocabulary: One that is there already, in place of the four arguments above.
        seed: Decides the split where there are no test rows.
        draw: How many texts are wanted, as `TargetData.draw` draws them.

    Returns:
        A `TargetData` of token numbers `(n, length)`, int32, without `target_range`; its `texts`
        hold the vocabulary and the texts.

    Raises:
        ValueError: For missing columns, empty cells, labels that are no classes, groups in two
            parts, and what `Vocabulary.from_texts` refuses.
        ImportError: For Parquet without pyarrow.

    Example:
        ```python
        import pathlib, tempfile
        from keras_reprogram.datasets import load_texts

        file = pathlib.Path(tempfile.mkdtemp()) / "questions.csv"
        rows = [f"is {n} a number,number\nwho is king {n},person" for n in range(10)]
        file.write_text("text,label\n" + "\n".join(rows))
        target = load_texts(file)
        print(target.class_names, target.texts.vocabulary.length)  # ('number', 'person') 4
        ```
    """
    reading = TextReading(unit, lowercase, minimum_count, length, vocabulary)
    return texts_of(read_table(table, columns or {}), reading, seed, draw)


def is_text_table(rows: ImageTable) -> bool:
    """Whether the rows of a table are texts: they have a text, and no path of an image."""
    return TEXT in rows.chosen or bool(rows.headers(TEXT) and not rows.headers(PATH))


def texts_of(rows: ImageTable, reading: TextReading, seed: int, draw: Draw | None) -> TargetData:
    """The rows of a table as a target."""
    texts = texts_in(rows)
    # The error about the column that is missing, or about several: one class a text.
    rows.column(LABEL, required=True)
    labels, class_names = classes_of(rows, rows.headers(LABEL)[0])
    parts, groups = parts_of(rows), groups_of(rows)
    name = Path(rows.name).stem if is_table(rows.name) else "table"
    check_groups(name, [repr(text) for text in texts], parts, groups, "texts")
    repeated = len(set(texts)) < len(texts)
    if groups is None and repeated:
        groups = np.array(texts)
    train, test, notes = split_parts(labels, parts, groups, seed, "rows")
    if draw is not None:
        train, test, drawn = draw_parts(name, labels, train, test, draw, "texts")
        notes += drawn
    held = held_out_rows(parts, train)
    learned = train if held is None else train[~held]
    vocabulary = reading.of([texts[row] for row in learned])
    numbers, lost = _encoded(vocabulary, [[texts[row] for row in some] for some in (train, test)])
    notes += (*unused_note(other_headers(rows, PATH)), *lost)
    weight = weights_of(rows)
    return TargetData(
        name,
        numbers[0],
        labels[train],
        numbers[1],
        labels[test],
        class_names=class_names,
        origin=f"{len(texts):,} texts in the table {rows.name}.",
        notes=notes + _on_both_sides(texts, train, test),
        train_groups=None if groups is None else numbered(groups)[train],
        target_range=None,
        train_weight=None if weight is None else weight[train],
        validation_rows=held,
        texts=TargetTexts(
            vocabulary,
            tuple(texts[row] for row in train),
            tuple(texts[row] for row in test),
        ),
    )


def texts_in(rows: ImageTable) -> list[str]:
    """The column `text`."""
    texts = rows.column(TEXT, required=True)
    for number, text in enumerate(texts):
        if not text:
            raise rows.error(number, "a text", "an empty cell", "Fill it, or remove the row.")
    return texts


def cut_texts(target: TargetData, length: int) -> TargetData:
    """The same texts, of rows that are not longer than this; a note says how many were cut."""
    if target.texts is None or target.texts.vocabulary.length <= length:
        return target
    vocabulary = target.texts.vocabulary
    shorter = type(vocabulary)(**vocabulary.get_config() | {"length": length})
    parts = [target.train_images, target.test_images]
    longer = sum(int((numbers[:, length] != 0).sum()) for numbers in parts)
    note = f"{longer:,} of {sum(map(len, parts)):,} texts were cut to the source's {length} tokens."
    return replace(
        target,
        train_images=parts[0][:, :length],
        test_images=parts[1][:, :length],
        texts=replace(target.texts, vocabulary=shorter),
        notes=(*target.notes, note),
    )


def _encoded(
    vocabulary: Vocabulary, parts: list[list[str]]
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Token numbers of the training and the test texts, and notes about what was lost."""
    numbers, notes = [], []
    for part, texts in zip(("training", "test"), parts, strict=True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            numbers.append(vocabulary.encode(texts))
        notes += [f"Of the {part} texts: {warning.message}" for warning in caught]
    return numbers, tuple(notes)


def _on_both_sides(texts: list[str], train: np.ndarray, test: np.ndarray) -> tuple[str, ...]:
    known = {texts[row] for row in train}
    both = sum(texts[row] in known for row in test)
    if not both:
        return ()
    return (f"{both:,} of {len(test):,} test texts are training texts too.",)
