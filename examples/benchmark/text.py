"""Texts: classifiers of names and questions, and langid, re-used for each other's tasks.

Rows, each with the same on an untrained network beside it, three seeds:

- `exact map, V views`: fixed random remappings of tokens, and an exact map on the scores. One
  query a text and view.
- `white box`: the remapping trained through the Gumbel softmax, source label j is class j, as
  published (Neekhara et al. 2019); the best epoch on a held-out tenth.
- `white box, exact map`: the same, whose answers an exact map reads.
- `black box`: REINFORCE from the top label alone, with the batch's mean as a baseline.
- `no source`: logistic regression on character n-grams (scikit-learn).

Steps are fewer than the paper's: 30 epochs of batches of 32, where it takes 500 of 8. Nothing is
chosen on the test part. Rows that are in the file are not done again:

    KERAS_REPROGRAM_DATA=... python examples/benchmark/text.py
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import typer
from csv_rows import read_rows
from resumable import do_missing, names_by_commas
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from text_data import TASKS, TextTask
from text_sources import LANGID, TextSource, encoded, source_named, source_names

from keras_reprogram import (
    DenseMap,
    MultiLabelMap,
    ReprogrammedModel,
    ScoreFunction,
    TextProgram,
    Vocabulary,
)
from keras_reprogram.fitting.validation import split_validation

FOLDER = Path(__file__).parent
NO_SOURCE = "none"
EPOCHS, BATCH_SIZE = 30, 32
WHITE_RATE, BLACK_RATE = 5e-3, 1e-2
HELD_OUT = 0.1
# C of the logistic regression.
STRENGTHS = (1.0, 10.0, 100.0)
# Target -> sources whose own task is another one.
PAIRS = {
    "questions": ("names LSTM", "names biLSTM", "names CNN", LANGID),
    "5 languages": ("questions LSTM", "questions biLSTM", "questions CNN", LANGID),
}
MAPS = {"exact map, 1 view": 1, "exact map, 8 views": 8}
TRAINED = ("white box", "white box, exact map", "black box")
BASELINE = "character n-grams"


@dataclass(frozen=True)
class Row:
    """One source, target, method and seed.

    Attributes:
        source: a name of text_sources.py, or "none".
        target: a name of text_data.py.
        method: what was done.
        seed: draws the split of names, the program, and the order of batches.
        n_train: training texts, those held out included.
        n_test: test texts.
        queries: to the source in training, validation included.
        queries_per_prediction: for one test text.
        validation_accuracy: on the held-out tenth, where something is chosen on it.
        test_accuracy: on the test part, looked at once.
        most_frequent: share of the test part's most frequent class.
        seconds: of the run.
    """

    source: str
    target: str
    method: str
    seed: int
    n_train: int
    n_test: int
    queries: int
    queries_per_prediction: int
    validation_accuracy: float | None
    test_accuracy: float
    most_frequent: float
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells one run from another."""
        return self.source, self.target, self.method, self.seed

    @property
    def line(self) -> str:
        """What is shown when the run is done."""
        name = f"{self.source:26} {self.target:12} {self.method:22} seed {self.seed}"
        return f"{name}  {self.test_accuracy:.3f}  {self.queries:9,} queries  {self.seconds:6.1f} s"


def plan(seeds: list[int]) -> list[tuple[str, str, str, int]]:
    """All runs; baselines and exact maps first."""
    runs = [(NO_SOURCE, target, BASELINE, seed) for target in PAIRS for seed in seeds]
    for methods in (tuple(MAPS), TRAINED[:2], TRAINED[2:]):
        for seed in seeds:
            for target, sources in PAIRS.items():
                for source in sources:
                    runs += [
                        (name, target, m, seed) for name in _with_control(source) for m in methods
                    ]
    # No gradient reaches a program through Python code.
    return [run for run in runs if not (run[0] == LANGID and run[2].startswith("white"))]


def _with_control(source: str) -> list[str]:
    return [source] if source == LANGID else [source, f"untrained {source}"]


def run(source: str, target: str, method: str, seed: int, folder: Path) -> Row:
    """One row."""
    started = time.monotonic()
    task = TASKS[target](seed)
    if source == NO_SOURCE:
        figures = (0, 0, *ngram_accuracy(task, seed))
    else:
        found = source_named(source, folder)
        if method in MAPS:
            figures = exact_map(found, task, MAPS[method], seed)
        else:
            figures = trained(found, task, method, seed)
    queries, per_prediction, validation, accuracy = figures
    return Row(
        source,
        target,
        method,
        seed,
        len(task.train_texts),
        len(task.test_texts),
        queries,
        per_prediction,
        validation,
        accuracy,
        float(np.bincount(task.test_labels).max() / len(task.test_labels)),
        time.monotonic() - started,
    )


def ngram_accuracy(task: TextTask, seed: int) -> tuple[float, float]:
    """Sequences of 1 to 5 characters, weighed by rareness; C is chosen on the held-out tenth."""
    reader = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(1, 5), lowercase=False, sublinear_tf=True
    )
    labels = task.train_labels
    train, held_out = split_validation(labels, labels, HELD_OUT, seed)
    features, tested = reader.fit_transform(task.train_texts), reader.transform(task.test_texts)

    def fitted(c: float, rows: np.ndarray) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=200).fit(features[rows], labels[rows])

    scores = {c: fitted(c, train).score(features[held_out], labels[held_out]) for c in STRENGTHS}
    best = max(scores, key=lambda c: scores[c])
    model = fitted(best, np.arange(len(labels)))
    return float(scores[best]), float(model.score(tested, task.test_labels))


def numbers_of(task: TextTask, source: TextSource) -> tuple[Vocabulary, np.ndarray, np.ndarray]:
    """The target's vocabulary, of its training part, and both parts as token numbers."""
    longest = source.vocabulary.length
    vocabulary = Vocabulary.from_texts(
        task.train_texts, longest, unit=task.unit, minimum_count=5 if task.unit == "words" else 1
    )
    return vocabulary, *(
        encoded(vocabulary, texts) for texts in (task.train_texts, task.test_texts)
    )


def exact_map(
    source: TextSource, task: TextTask, views: int, seed: int
) -> tuple[int, int, None, float]:
    """Random remappings and a map on the answers."""
    vocabulary, train, test = numbers_of(task, source)
    program = TextProgram(
        vocabulary, source.source.source_shape, num_views=views, trained=False, seed=seed
    )
    model = ReprogrammedModel(program, source.source, DenseMap(len(task.class_names)), seed=seed)
    model.fit_output_map(train, task.train_labels, verbose=0)
    queries = model.queries_used
    return queries, views, None, accuracy_of(model, test, task.test_labels)


def trained(
    source: TextSource, task: TextTask, method: str, seed: int
) -> tuple[int, int, float, float]:
    """The remapping trained, in the white box or in the black one."""
    vocabulary, numbers, test = numbers_of(task, source)
    labels, classes = task.train_labels, len(task.class_names)
    train, held_out = split_validation(labels, labels, HELD_OUT, seed)
    steps = -(-len(train) // BATCH_SIZE)
    black = method == "black box"
    program = TextProgram(
        vocabulary, source.source.source_shape, temperature_steps=EPOCHS // 2 * steps, seed=seed
    )
    published = MultiLabelMap(
        classes, assignment="self-defined", label_table=[[label] for label in range(classes)]
    )
    estimator = ScoreFunction(baseline="batch") if black else None
    model = ReprogrammedModel(program, source.source, published, estimator, seed=seed)
    rate = BLACK_RATE if black else WHITE_RATE
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    best = BestEpoch()
    model.fit(
        numbers[train],
        labels[train],
        validation_data=(numbers[held_out], labels[held_out]),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        callbacks=[best],
        verbose=0,
    )
    model.set_weights(best.weights)
    queries, validation = model.queries_used, best.accuracy
    if method.endswith("exact map"):
        model = ReprogrammedModel(program, source.source, DenseMap(classes), seed=seed)
        model.fit_output_map(numbers, labels, verbose=0)
        queries += model.queries_used
    return queries, 1, validation, accuracy_of(model, test, task.test_labels)


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the epoch that is best on the held-out texts."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy, self.weights = -1.0, []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        found = (logs or {})["val_accuracy"]
        if found > self.accuracy:
            self.accuracy, self.weights = found, self.model.get_weights()


def accuracy_of(model: ReprogrammedModel, numbers: np.ndarray, labels: np.ndarray) -> float:
    """Share of texts whose most probable class is the right one."""
    return float((model.predict(numbers, verbose=0).argmax(axis=1) == labels).mean())


# === Table ===


def markdown(rows: list[Row]) -> str:
    """Mean and spread over seeds, the untrained network beside each row."""
    lines = [
        "# Texts",
        "",
        "Written by `python examples/benchmark/text.py`: test accuracy, mean over seeds and their "
        "standard deviation; queries of training. See Row in the script for the columns of the CSV "
        "file.",
        "",
    ]
    for target in PAIRS:
        here = [row for row in rows if row.target == target]
        if not here:
            continue
        alone = [row.test_accuracy for row in here if row.source == NO_SOURCE]
        lines += [
            f"## {target}: {here[0].n_train:,} training texts, {here[0].n_test:,} test texts, most "
            f"frequent class {np.mean([row.most_frequent for row in here]):.3f}",
            "",
            f"No source, logistic regression on character n-grams: {_cell(alone)}.",
            "",
            "| source | method | seeds | queries | trained source | untrained source |",
            "| --- | --- | ---: | ---: | ---: | ---: |",
        ]
        for source in PAIRS[target]:
            for method in (*MAPS, *TRAINED):
                own, control = (
                    [r for r in here if (r.source, r.method) == (name, method)]
                    for name in (source, f"untrained {source}")
                )
                if not own:
                    continue
                cells = [_cell([r.test_accuracy for r in some]) for some in (own, control)]
                queries = f"{np.mean([r.queries for r in own]):,.0f}"
                lines.append(
                    f"| {source} | {method} | {len(own)} | {queries} | {' | '.join(cells)} |"
                )
        lines.append("")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def main(
    sources: Annotated[str, typer.Option(help="Sources by commas. [default: all]")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds by commas.")] = "0,1,2",
    folder: Annotated[Path, typer.Option(help="Where networks are kept.")] = Path("text_sources"),
    minutes: Annotated[float | None, typer.Option(help="Start no run that would not end.")] = None,
    output: Annotated[Path, typer.Option(help="CSV; the table goes beside it.")] = FOLDER
    / "text.csv",
) -> None:
    """Measures what is missing, and writes the table."""
    wanted = {NO_SOURCE, *names_by_commas(sources, source_names(), "--sources")}
    numbers = [int(seed) for seed in names_by_commas(seeds, None, "--seeds")]
    runs = [one for one in plan(numbers) if one[0] in wanted]

    def expected(rows: list[Row], one: tuple[str, str, str, int]) -> float:
        alike = [row.seconds for row in rows if row.method == one[2] and row.target == one[1]]
        return max(alike, default=60.0)

    do_missing(
        runs,
        output,
        minutes,
        key=lambda one: one,
        execute=lambda one: run(*one, folder),
        expected_seconds=expected,
        kind=Row,
    )
    output.with_suffix(".md").write_text(markdown(read_rows(output, Row)))


if __name__ == "__main__":
    typer.run(main)
