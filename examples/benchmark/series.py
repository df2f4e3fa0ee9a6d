"""Time series through a recogniser of spoken words: our rows beside Voice2Series's and no source.

    export KERAS_REPROGRAM_DATA=...     # its folder series/ holds the sets of the UCR archive
    export KERAS_REPROGRAM_MODELS=...   # its folder audio/ holds model-attRNN.h5, and
                                        # kws_ref_model_float32.tflite for `spotter`
    python examples/benchmark/series.py maps       # exact maps, and joint with the series itself
    python examples/benchmark/series.py spotter    # exact map through MLPerf Tiny's keyword spotter
    python examples/benchmark/series.py programs   # Voice2Series's program, trained by its gradient
    python examples/benchmark/series.py without    # no source; needs the package aeon
    python examples/benchmark/series.py table      # what series.csv holds, as the page has it

Each command appends its rows to series.csv and leaves out those that are there. The split is the
archive's own; seeds draw views, validation parts, starts and maps. What is chosen (a map's
regularisation, the program's epoch) is chosen on a fifth of the training part; test series are
looked at once. Answers of the source are kept in series_answers/.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cache, partial
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import typer

from keras_reprogram import (
    DenseMap,
    PixelSource,
    ReprogrammedModel,
    SeriesProgram,
    Source,
    build_method,
    join_sources,
)
from keras_reprogram.baselines import fit_no_source
from keras_reprogram.datasets import TargetData, load_series, split_validation
from keras_reprogram.source import KeywordSpotterSource, speech_commands_source

HERE = Path(__file__).parent
ROWS, ANSWERS = HERE / "series.csv", HERE / "series_answers"
NUM_VIEWS = 8
# File, and what Voice2Series's table 2 has: its AttRNN, and the best of others that it names.
SETS = {
    "Coffee": ("Coffee_TRAIN.txt", 100.0, 100.0),
    "ECG200": ("ECG200_TRAIN.ts", 87.0, 90.9),
    "Earthquakes": ("Earthquakes_TRAIN.ts", 78.42, 76.91),
    "GunPoint": ("GunPoint_TRAIN.ts", 96.67, 100.0),
    "ItalyPowerDemand": ("ItalyPowerDemand_TRAIN.ts", 97.08, 97.06),
    "Trace": ("Trace.npz", 100.0, 100.0),
    "Worms": ("Worms_TRAIN.ts", 83.12, 80.17),
}
# The paper chooses them from 1 to 10, and trains for 100 epochs.
REPETITIONS, _EPOCHS = 10, 100
MAP_1, MAP_8, JOINT = "exact map, 1 view", f"exact map, {NUM_VIEWS} views", "series beside the map"
SPOTTER = f"exact map, {NUM_VIEWS} views, keyword spotter"
PROGRAM, VALUES = "Voice2Series, our run", "no source: the values"
ROCKET, DTW = "no source: MiniRocket and ridge", "no source: 1-NN DTW"
METHODS = (PROGRAM, MAP_1, MAP_8, JOINT, SPOTTER, VALUES, ROCKET, DTW)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Seeds = Annotated[int, typer.Option(min=1, help="Seeds, from 0 on.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="One of the sets; all by default.")]


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        target: name of the set.
        method: name of the row.
        seed: of the run.
        accuracy: on the test series.
        majority: share of the largest class of the test series.
        seconds: training and testing.
        choices: what was chosen on validation.
    """

    target: str
    method: str
    seed: int
    accuracy: float
    majority: float
    seconds: float
    choices: str = ""


@app.command()
def maps(seeds: Seeds = 3, only: Sets = None) -> None:
    """The exact map on one and on eight views, and with the series itself beside it."""
    for target, seed in _runs(seeds, only):
        for method in (MAP_1, MAP_8, JOINT):
            _row(target, method, seed, partial(_map, target, method, seed))


@app.command()
def spotter(seeds: Seeds = 3, only: Sets = None) -> None:
    """The exact map on eight views of a smaller network, of twelve scores instead of 36."""
    for target, seed in _runs(seeds, only):
        _row(target, SPOTTER, seed, partial(_map, target, SPOTTER, seed))


@app.command()
def programs(
    seeds: Seeds = 3,
    only: Sets = None,
    passes: Annotated[int, typer.Option(min=1, help="Series of a run, times epochs.")] = 1000,
) -> None:
    """The paper's program on ten copies, its epoch chosen on validation."""
    for target, seed in _runs(seeds, only):
        _row(target, PROGRAM, seed, partial(_program, target, seed, passes))


@app.command()
def without(
    seeds: Seeds = 3,
    only: Sets = None,
    longest: Annotated[
        int, typer.Option(min=1, help="Length up to which DTW is run: it takes minutes beyond.")
    ] = 300,
) -> None:
    """What reads the series alone."""
    for target, seed in _runs(seeds, only):
        _row(target, VALUES, seed, partial(_values, target, seed))
        _row(target, ROCKET, seed, partial(_rocket, target, seed))
        if seed == 0 and target.target_shape[0] <= longest:
            # It draws nothing.
            _row(target, DTW, seed, partial(_neighbour, target))


@app.command()
def table() -> None:
    """The rows as a table in Markdown: mean and standard deviation over the seeds, in percent."""
    rows = _stored()
    print(f"| | {' | '.join(SETS)} | mean |")
    print(f"| --- | {' | '.join('---:' for _ in (*SETS, ''))} |")
    _print_published("the best of others that the paper names", 2)
    _print_published("Voice2Series, published", 1)
    for method in METHODS:
        found = [
            [100 * row.accuracy for row in rows if (row.target, row.method) == (name, method)]
            for name in SETS
        ]
        if any(found):
            cells = [_spread(figures) if figures else "–" for figures in found]
            mean = f"{np.mean([np.mean(figures) for figures in found]):.1f}" if all(found) else "–"
            print(f"| {method} | {' | '.join(cells)} | {mean} |")
    largest = {row.target: 100 * row.majority for row in rows}
    cells = [f"{largest[name]:.1f}" if name in largest else "" for name in SETS]
    print(f"| the largest class | {' | '.join(cells)} | {np.mean([*largest.values()]):.1f} |")


def _print_published(name: str, place: int) -> None:
    figures = [published[place] for published in SETS.values()]
    cells = " | ".join(f"{figure:.1f}" for figure in figures)
    print(f"| {name} | {cells} | {np.mean(figures):.1f} |")


def _spread(figures: list[float]) -> str:
    mean, spread = np.mean(figures), np.std(figures)
    return f"{mean:.1f} ± {spread:.1f}" if len(figures) > 1 else f"{mean:.1f}"


# === With the source ===


@cache
def _source(method: str = PROGRAM) -> Source:
    folder = Path(os.environ["KERAS_REPROGRAM_MODELS"]) / "audio"
    if method == SPOTTER:
        return KeywordSpotterSource(folder / "kws_ref_model_float32.tflite")
    return speech_commands_source(folder / "model-attRNN.h5")


def _map(target: TargetData, method: str, seed: int) -> tuple[float, str]:
    source = _source(method)
    program = _views(target, source, seed)
    answers = [_answers(target, program, source, part, seed) for part in ("train", "test")]
    if method == MAP_1:
        program = SeriesProgram(
            target.target_shape, source.source_shape, source_range=source.value_range
        )
        answers = [scores[:, :1] for scores in answers]
    joined = source
    if method == JOINT:
        joined = join_sources([source, PixelSource(target.target_shape, target_range=None)])
        series = (target.train_images, target.test_images)
        answers = [
            keras.ops.convert_to_numpy(joined.answers(scores, values))
            for scores, values in zip(answers, series, strict=True)
        ]
    model = ReprogrammedModel(program, joined, DenseMap(len(target.class_names)), seed=seed)
    fit = model.fit_output_map(y=target.train_labels, scores=answers[0], verbose=0)
    probabilities = keras.ops.convert_to_numpy(model.output_map(answers[1]))
    parts = np.round(fit.part_weights, 2).tolist()
    weights = f"parts {parts}" if parts else ""
    return _accuracy(target, probabilities.argmax(axis=1)), weights


def _views(target: TargetData, source: Source, seed: int) -> SeriesProgram:
    return SeriesProgram(
        target.target_shape,
        source.source_shape,
        source_range=source.value_range,
        num_views=NUM_VIEWS,
        seed=seed,
    )


def _answers(
    target: TargetData, program: SeriesProgram, source: Source, part: str, seed: int
) -> np.ndarray:
    """Scores `(n, 8, labels)`, asked once."""
    file = ANSWERS / f"{target.name}_{part}_{source.num_labels}_{seed}.npy"
    if not file.is_file():
        model = ReprogrammedModel(program, source, DenseMap(len(target.class_names)))
        series = target.train_images if part == "train" else target.test_images
        ANSWERS.mkdir(exist_ok=True)
        np.save(file, model.collect_scores(series, batch_size=16, verbose=0))
    return np.load(file)


def _program(target: TargetData, seed: int, passes: int) -> tuple[float, str]:
    """The epoch with the smallest cross-entropy of the validation series."""
    x, y = target.train_images, target.train_labels
    train, held = split_validation(y, y, 0.2, seed)
    epochs = max(1, min(_EPOCHS, passes // len(train)))
    method = build_method(
        "voice2series_2021",
        _source(),
        target.target_shape,
        len(target.class_names),
        repetitions=REPETITIONS,
        seed=seed,
    )
    keep = _KeepBest()
    method.fit(
        x[train],
        y[train],
        epochs=epochs,
        validation_data=(x[held], y[held]),
        callbacks=[keep],
        verbose=0,
    )
    method.model.program.program_weights.assign(keep.weights)
    predicted = method.model.predict(target.test_images, verbose=0).argmax(axis=1)
    return _accuracy(target, predicted), f"epoch {keep.epoch} of {epochs}"


class _KeepBest(keras.callbacks.Callback):
    """The weights of the epoch with the smallest cross-entropy on validation series."""

    loss, epoch = np.inf, 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        # Keras adds the weight decay to it.
        loss = (logs or {})["val_loss"] - float(sum(self.model.program.losses))
        if loss < self.loss:
            self.loss, self.epoch = loss, epoch + 1
            self.weights = keras.ops.convert_to_numpy(self.model.program.program_weights)


# === Without it ===


def _values(target: TargetData, seed: int) -> tuple[float, str]:
    train, test = (
        series.reshape(len(series), -1, 1, 1)
        for series in (target.train_images, target.test_images)
    )
    classes = len(target.class_names)
    baseline = fit_no_source(train, target.train_labels, num_classes=classes, seed=seed)
    return _accuracy(target, baseline.predict(test)), baseline.name


def _rocket(target: TargetData, seed: int) -> tuple[float, str]:
    from aeon.classification.convolution_based import MiniRocketClassifier

    return _of_aeon(target, MiniRocketClassifier(random_state=seed)), ""


def _neighbour(target: TargetData) -> tuple[float, str]:
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    nearest = KNeighborsTimeSeriesClassifier(n_neighbors=1, distance="dtw")
    return _of_aeon(target, nearest), ""


def _of_aeon(target: TargetData, classifier: object) -> float:
    """Fits one of aeon's classifiers, which take (n, channels, length)."""
    train, test = (
        series[:, None].astype(np.float64) for series in (target.train_images, target.test_images)
    )
    classifier.fit(train, target.train_labels)
    return _accuracy(target, classifier.predict(test))


# === Rows ===


def _runs(seeds: int, only: list[str] | None) -> Iterator[tuple[TargetData, int]]:
    folder = Path(os.environ["KERAS_REPROGRAM_DATA"]) / "series"
    targets = [load_series(folder / SETS[name][0]) for name in only or SETS]
    # Seed after seed, so that a run that is stopped leaves whole rows.
    yield from ((target, seed) for seed in range(seeds) for target in targets)


def _row(
    target: TargetData, method: str, seed: int, measure: Callable[[], tuple[float, str]]
) -> None:
    if any((row.target, row.method, row.seed) == (target.name, method, seed) for row in _stored()):
        return
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    accuracy, choices = measure()
    seconds = round(time.perf_counter() - start, 1)
    labels = target.test_labels
    majority = float(np.bincount(labels).max() / len(labels))
    row = Row(target.name, method, seed, round(accuracy, 5), round(majority, 5), seconds, choices)
    is_new = not ROWS.is_file()
    with ROWS.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(row))
    print(
        f"{target.name}, {method}, seed {seed}: {accuracy:.4f} {choices} ({seconds} s)", flush=True
    )


def _stored() -> list[Row]:
    if not ROWS.is_file():
        return []
    with ROWS.open(newline="") as file:
        return [
            Row(
                row["target"],
                row["method"],
                int(row["seed"]),
                float(row["accuracy"]),
                float(row["majority"]),
                float(row["seconds"]),
                row["choices"],
            )
            for row in csv.DictReader(file)
        ]


def _accuracy(target: TargetData, predicted: np.ndarray) -> float:
    return float(np.mean(predicted == target.test_labels))


if __name__ == "__main__":
    app()
