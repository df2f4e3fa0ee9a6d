"""What a student learns from a paid source: it, the same head on the true labels, and the teacher.

Each pair asks its source once about all images of a fixed pool; each seed draws which of them have
a label, and every method reads the same answers. `queries` is what a user would have paid: all
labelled and unlabelled images under the teacher's views. Nothing is chosen on the test images.
Rows that are in the file are not done again:

    python examples/benchmark/student.py
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import keras
import numpy as np
import typer
from csv_rows import read_rows
from few_images_data import sources as mobilenets
from resumable import do_missing, names_by_commas
from sources import source_choices

from keras_reprogram import DenseMap, FrozenSource, ProgramLayer, ReprogrammedModel, fit_student
from keras_reprogram.baselines import fit_no_source
from keras_reprogram.datasets import TargetData, load_target
from keras_reprogram.fitting.validation import draw_stratified
from keras_reprogram.source.ledger.query_ledger import money_for

FOLDER = Path(__file__).parent
HEAD, NETWORK = "head", "network"
# An example, in dollars for 1,000 queries.
PRICE = 1.5
TEST = 1000
# Batches of one training of the small network.
STEPS = 1000


@dataclass(frozen=True)
class Pair:
    """A teacher and a task.

    Attributes:
        source: name of the paid source.
        target: name of the target.
        views: source images that a target image becomes.
        labelled: images with a label.
        unlabelled: images without one.
    """

    source: str
    target: str
    views: int
    labelled: int
    unlabelled: int

    @property
    def name(self) -> str:
        """Of the pair, for `--pairs`."""
        return f"{self.target}_{self.labelled}"


PAIRS = {
    pair.name: pair
    for pair in (
        Pair("traffic_signs", "digits", 4, 100, 900),
        Pair("traffic_signs", "digits", 4, 300, 900),
        Pair("mobilenet_v2_224", "cifar10", 1, 300, 2000),
        Pair("mobilenet_v2_224", "gtsrb", 1, 300, 2000),
    )
}


@dataclass(frozen=True)
class Row:
    """One pair, student and seed.

    Attributes:
        source: that teaches.
        target: the task.
        student: `"head"` on the features of MobileNet .25 128, or a small `"network"`.
        seed: draws the labelled images, splits and views.
        n_labelled: images with a label.
        n_unlabelled: images whose label nobody is told.
        n_test: test images.
        queries: of all images that are learned from.
        price: of these, at the script's example price.
        teacher: test accuracy of the reprogrammed source.
        learned: of what `fit_student` returned, from unlabelled images too.
        alone: of the same head or network on the true labels alone.
        no_source: of the better of logistic regression and RBF-SVM on the labelled pixels.
        kept: which one `fit_student` returned.
        temperature: that was chosen.
        unlabelled_weight: likewise.
        soft_share: likewise.
        seconds: of the run, without answers.
    """

    source: str
    target: str
    student: str
    seed: int
    n_labelled: int
    n_unlabelled: int
    n_test: int
    queries: int
    price: float
    teacher: float
    learned: float
    alone: float
    no_source: float
    kept: str
    temperature: float
    unlabelled_weight: float
    soft_share: float
    seconds: float

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells one run from another."""
        return f"{self.target}_{self.n_labelled}", self.student, self.seed

    @property
    def line(self) -> str:
        """What is shown when the run is done."""
        return (
            f"{' '.join(map(str, self.key))}: teacher {self.teacher:.3f}, student "
            f"{self.learned:.3f} ({self.kept}), alone {self.alone:.3f}, no source "
            f"{self.no_source:.3f}, {self.seconds:.0f} s"
        )


class Asked(NamedTuple):
    """A pair's images and the source's answers to them.

    Attributes:
        data: the pool as training images, and the test images.
        model: asks the source; its map is not fitted.
        scores: `(n, V, S)` of the pool.
        test_scores: of the test images.
    """

    data: TargetData
    model: ReprogrammedModel
    scores: np.ndarray
    test_scores: np.ndarray


@cache
def asked(source_name: str, target: str, views: int, count: int) -> Asked:
    """Asks about each image of a pool once."""
    data = load_target(target)
    data = data.draw(count, min(TEST, len(data.test_labels)), seed=0)
    source = {**source_choices(), **mobilenets()}[source_name].opaque()
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=data.target_range,
        placement="views" if views > 1 else "full",
        num_views=views,
    )
    model = ReprogrammedModel(program, source, DenseMap(len(data.class_names)))
    both = (model.collect_scores(some) for some in (data.train_images, data.test_images))
    return Asked(data, model, *both)


def run(pair: Pair, student: str, seed: int) -> Row:
    """Fits the teacher on the labelled images, then the student."""
    count = pair.labelled + pair.unlabelled
    # The pool is the same for every number of labels.
    largest = max(p.labelled + p.unlabelled for p in PAIRS.values() if p.target == pair.target)
    data, asking, scores, test_scores = asked(pair.source, pair.target, pair.views, largest)
    started = time.perf_counter()
    rows = draw_stratified(data.train_labels, pair.labelled, seed)
    rest = np.setdiff1d(np.arange(largest), rows)
    rest = np.random.default_rng(seed).permutation(rest)[: pair.unlabelled]
    rows = np.concatenate([rows, rest])
    images, scores = data.train_images[rows], scores[rows]
    true = data.train_labels[rows]
    labels = np.where(np.arange(count) < pair.labelled, true, -1)
    teacher = ReprogrammedModel(
        asking.program, asking.source, DenseMap(len(data.class_names)), seed=seed
    )
    own = slice(0, pair.labelled)
    teacher.fit_output_map(y=true[own], scores=scores[own], verbose=0)
    found = keras.ops.convert_to_numpy(teacher.output_map(test_scores))

    def accuracy(model: Any) -> float:
        answers = model.predict(data.test_images, verbose=0)
        return _share(answers.argmax(axis=1), data.test_labels)

    learner = _local() if student == HEAD else small_network(data, seed)
    fit = fit_student(teacher, learner, images, labels, scores=scores, most_steps=STEPS)
    pixels = fit_no_source(images[own], true[own], num_classes=len(data.class_names), seed=seed)
    return Row(
        pair.source,
        pair.target,
        student,
        seed,
        pair.labelled,
        pair.unlabelled,
        len(data.test_labels),
        count * pair.views,
        money_for(count * pair.views, PRICE),
        _share(found.argmax(axis=1), data.test_labels),
        accuracy(fit.model),
        accuracy(fit.baseline),
        pixels.evaluate(data.test_images, data.test_labels),
        fit.kept,
        fit.temperature,
        fit.unlabelled_weight,
        fit.soft_share,
        time.perf_counter() - started,
    )


def _share(found: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(found == labels))


@cache
def _local() -> FrozenSource:
    return FrozenSource.from_application(
        "MobileNet", output="features", alpha=0.25, input_shape=(128, 128, 3)
    )


def small_network(data: TargetData, seed: int) -> keras.Model:
    """About 50,000 weights, not trained: three convolutions and a dense layer."""
    keras.utils.set_random_seed(seed)
    low, high = data.target_range
    scale = 2 / (high - low)
    layers: list[Any] = [
        keras.Input(data.target_shape),
        keras.layers.Rescaling(scale, -1 - scale * low),
    ]
    for width in (24, 48, 96):
        layers += [
            keras.layers.Conv2D(width, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        ]
        if width < 96:
            layers.append(keras.layers.MaxPooling2D())
    layers += [
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dropout(0.3, seed=seed),
        keras.layers.Dense(len(data.class_names), activation="softmax"),
    ]
    network = keras.Sequential(layers)
    network.compile(keras.optimizers.AdamW(2e-3, weight_decay=1e-3), jit_compile=False)
    return network


def markdown(rows: list[Row]) -> str:
    """Mean and standard deviation over the seeds."""
    names = ("teacher", "learned", "alone", "no_source")
    lines = [
        "| teacher -> task | labels + images | student | queries | price | teacher | student | "
        "true labels alone | no source | kept |",
        "| --- | ---: | --- |" + " ---: |" * 6 + " --- |",
    ]
    for key in dict.fromkeys(row.key[:2] for row in rows):
        some = [row for row in rows if row.key[:2] == key]
        one = some[0]
        kept = f"student in {sum(row.kept == 'student' for row in some)} of {len(some)}"
        cells = [_figure([getattr(row, name) for row in some]) for name in names]
        lines.append(
            f"| {one.source} -> {one.target} | {one.n_labelled} + {one.n_unlabelled} | "
            f"{one.student} | {one.queries:,} | {one.price:.2f} | {' | '.join(cells)} | {kept} |"
        )
    return "\n".join(lines) + "\n"


def _figure(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def main(
    pairs: Annotated[str, typer.Option(help="By commas. [default: all]")] = "",
    students: Annotated[str, typer.Option(help="head, network. [default: both]")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds by commas.")] = "0,1,2",
    minutes: Annotated[float | None, typer.Option(help="Start no run that would not end.")] = None,
    output: Annotated[Path, typer.Option(help="CSV file.")] = FOLDER / "student.csv",
) -> None:
    """Measures what is missing, and prints the table."""
    kinds = names_by_commas(students, (HEAD, NETWORK), "--students")
    numbers = [int(seed) for seed in names_by_commas(seeds, None, "--seeds")]
    wanted = names_by_commas(pairs, PAIRS, "--pairs")
    runs = [(name, kind, seed) for name in wanted for kind in kinds for seed in numbers]

    def expected(rows: list[Row], one: tuple[str, str, int]) -> float:
        return max((row.seconds for row in rows if row.student == one[1]), default=60.0)

    do_missing(
        runs,
        output,
        minutes,
        key=lambda one: one,
        execute=lambda one: run(PAIRS[one[0]], *one[1:]),
        expected_seconds=expected,
        kind=Row,
    )
    typer.echo(markdown(read_rows(output, Row)))


if __name__ == "__main__":
    typer.run(main)
