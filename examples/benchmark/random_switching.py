"""Does random switching (Wang et al. 2019) keep a network from being reprogrammed?

    export KERAS_REPROGRAM_DATA=...   # cifar10_jpg.zip, and MNIST's files
    python examples/benchmark/random_switching.py

Trains a small CIFAR-10 network, and the same network as two blocks of random switching, then
reads MNIST through both: by the paper's own test (a locally connected program of 30,720 weights,
trained with true gradients), by an additive program around the image, and by exact maps on scores
alone at one view and at eight. The step sizes of programs are chosen on a part of the training
images that is held out. Rows go to `random_switching.csv` as they are there, and those that are
there are not done again; the table goes beside it. Trained networks are kept in `--networks`.

The paper's test has one-hot labels and all images, as its text says; its released script has
neither and cannot give the paper's figure. Networks and training are smaller than the paper's, see
`FULL`; `--quick` makes them tiny, to see that all of it runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import typer
from csv_rows import FULL, QUICK, read_rows
from keras import layers
from locally_connected import LocallyConnectedProgram
from resumable import do_missing, names_by_commas

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    MultiLabelMap,
    ProgramLayer,
    RandomSwitching,
    ReprogrammedModel,
    train_random_switching,
)
from keras_reprogram.baselines import fit_no_source
from keras_reprogram.datasets import TargetData, load_target
from keras_reprogram.fitting.validation import split_validation

FOLDER = Path(__file__).parent
SHAPE, CLASSES = (32, 32, 3), 10
UNIT = (0.0, 1.0)
BATCH = 128
HELD_OUT = 0.125
NO_SOURCE, BARE, SWITCHING = "none", "bare", "switching"
OWN, CONNECTED, ADDITIVE, PIXELS = (
    "own accuracy",
    "locally connected program",
    "additive program (AR)",
    "pixels alone",
)
EXACT = {"exact map, 1 view": 1, "exact map, 8 views": 8}
# Of programs; the first of each is the paper's, or the one that this library starts with.
RATES = {CONNECTED: (0.01, 0.1), ADDITIVE: (0.05, 0.2)}


@dataclass(frozen=True)
class Size:
    """How large all is.

    Attributes:
        images: CIFAR-10 training images.
        epochs: of each channel.
        channels: of each of two blocks.
        width: filters of the first convolution; the paper's network has 64.
        program_images: MNIST images of programs, those held out included.
        program_epochs: of programs.
        map_images: MNIST images of exact maps.
        test_images: of MNIST.
    """

    images: int
    epochs: int
    channels: int
    width: int
    program_images: int
    program_epochs: int
    map_images: int
    test_images: int


SIZES = {
    FULL: Size(5_000, 6, 3, 8, 4_000, 5, 1_000, 1_000),
    QUICK: Size(200, 1, 2, 2, 160, 1, 80, 100),
}


@dataclass(frozen=True)
class Row:
    """One network, method and seed.

    Attributes:
        source: `"bare"`, `"switching"`, or `"none"`.
        method: what was done; `"own accuracy"` is on CIFAR-10.
        seed: of networks, programs and the order of batches.
        size: `"full"` or `"quick"`, see `SIZES`.
        rate: the step size, chosen on held-out images.
        queries: to the source in training, validation included.
        validation_accuracy: of the chosen step size, on the images held out.
        test_accuracy: looked at once.
        seconds: of the run.
    """

    source: str
    method: str
    seed: int
    size: str
    rate: float | None
    queries: int
    validation_accuracy: float | None
    test_accuracy: float
    seconds: float

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What tells one run from another."""
        return self.source, self.method, self.seed, self.size

    @property
    def line(self) -> str:
        """What is shown when the run is done."""
        name = f"{self.source:10} {self.method:26} seed {self.seed}"
        return f"{name}  {self.test_accuracy:.3f}  {self.queries:9,} queries  {self.seconds:6.1f} s"


def convolutions(filters: int, units: int) -> Callable[[tuple[int, ...]], keras.Model]:
    """The paper's first block, narrower: two pairs of convolutions and a dense layer."""

    def build(shape: tuple[int, ...]) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(shape),
                layers.Conv2D(filters, 3, activation="relu"),
                layers.Conv2D(filters, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(2 * filters, 3, activation="relu"),
                layers.Conv2D(2 * filters, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(units, activation="relu"),
                layers.Dropout(0.3),
            ]
        )

    return build


def classifier(units: int) -> Callable[[tuple[int, ...]], keras.Model]:
    """The paper's second block."""

    def build(shape: tuple[int, ...]) -> keras.Model:
        return keras.Sequential(
            [
                keras.Input(shape),
                layers.Dense(units, activation="relu"),
                layers.Dense(CLASSES, activation="softmax"),
            ]
        )

    return build


class Networks:
    """The two networks of a seed, trained or read.

    Attributes:
        seed: of weights and batches.
    """

    def __init__(self, seed: int, size: str, folder: Path) -> None:
        self.seed, self.size, self.folder = seed, SIZES[size], folder / size
        width = self.size.width
        self.blocks = [convolutions(width, 4 * width), classifier(4 * width)]

    @cached_property
    def own(self) -> TargetData:
        """CIFAR-10, read where a network is trained or judged."""
        return load_target("cifar10").draw(self.size.images, None, self.seed)

    def get(self, kind: str) -> keras.Model:
        """One of the two."""
        path = self.folder / f"{kind}_{self.seed}.keras"
        if path.is_file():
            return keras.models.load_model(path, compile=False)
        keras.utils.set_random_seed(self.seed)
        network = self._bare() if kind == BARE else self._switching()
        path.parent.mkdir(parents=True, exist_ok=True)
        network.save(path)
        return network

    def own_accuracy(self, network: keras.Model) -> float:
        """On CIFAR-10's test images, each with a path of its own."""
        draw_for_each(network, "image")
        scores = network.predict(self.own.test_images / np.float32(255), batch_size=500, verbose=0)
        return float((scores.argmax(axis=1) == self.own.test_labels).mean())

    def _bare(self) -> keras.Model:
        first = self.blocks[0](SHAPE)
        network = keras.Sequential(
            [keras.Input(SHAPE), first, self.blocks[1](first.output_shape[1:])]
        )
        self._fit(network)
        return network

    def _switching(self) -> keras.Model:
        return train_random_switching(
            self.blocks, self.size.channels, SHAPE, self._fit, seed=self.seed
        )

    def _fit(self, network: keras.Model) -> None:
        network.compile(keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy")
        network.fit(
            self.own.train_images / np.float32(255),
            self.own.train_labels,
            batch_size=BATCH,
            epochs=self.size.epochs,
            verbose=0,
        )


def draw_for_each(network: keras.Model, what: str) -> None:
    """Sets what a request is for all blocks of a network that is not compiled yet for asking."""
    for layer in network.layers:
        if isinstance(layer, RandomSwitching):
            layer.draw = what
    network.make_predict_function(force=True)


def identity_map() -> MultiLabelMap:
    """Target class t is source label t."""
    table = [[label] for label in range(CLASSES)]
    return MultiLabelMap(CLASSES, assignment="self-defined", label_table=table)


def connected_program(data: TargetData) -> Any:
    """The paper's test."""
    return LocallyConnectedProgram(data.target_shape, SHAPE, target_range=data.target_range)


def additive_program(data: TargetData) -> ProgramLayer:
    """A trained frame around the image, as large as leaves room for it (Elsayed et al. 2019)."""
    return ProgramLayer(
        data.target_shape,
        SHAPE,
        source_range=UNIT,
        target_range=data.target_range,
        placement="center",
        image_size=(24, 24),
    )


def optimizer_of(method: str, rate: float) -> Any:
    """The paper's, and Adam for the frame."""
    if method == CONNECTED:
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    return keras.optimizers.Adam(rate)


def trained(network: keras.Model, method: str, data: TargetData, seed: int, size: Size) -> Any:
    """The step size that is best after the last epoch on held-out images; a path for each batch.

    Returns:
        `(rate, queries, validation accuracy, test accuracy)`, queries of all step sizes.
    """
    draw_for_each(network, "call")
    images, labels = data.train_images.astype("float32"), data.train_labels
    train, held_out = split_validation(labels, labels, HELD_OUT, seed)
    found, queries = [], 0
    for rate in RATES[method]:
        keras.utils.set_random_seed(seed)
        program = connected_program(data) if method == CONNECTED else additive_program(data)
        source = FrozenSource(network, value_range=UNIT)
        model = ReprogrammedModel(program, source, identity_map(), seed=seed)
        model.compile(optimizer_of(method, rate), loss="sparse_categorical_crossentropy")
        model.fit(
            images[train], labels[train], batch_size=BATCH, epochs=size.program_epochs, verbose=0
        )
        validation = accuracy_of(model, images[held_out], labels[held_out])
        queries += model.queries_used
        found.append((validation, rate, model))
    # Of equally good ones the first.
    validation, rate, model = max(found, key=lambda one: one[0])
    return rate, queries, validation, accuracy_of(model, data.test_images, data.test_labels)


def exact(network: keras.Model, num_views: int, data: TargetData, seed: int) -> Any:
    """An exact map on scores alone; each query is a request and gets a path of its own."""
    draw_for_each(network, "image")
    source = FrozenSource(network, value_range=UNIT)
    program = ProgramLayer(
        data.target_shape,
        SHAPE,
        source_range=UNIT,
        target_range=data.target_range,
        placement="views",
        num_views=num_views,
        masked=False,
        seed=seed,
    )
    model = ReprogrammedModel(program, source, DenseMap(CLASSES), seed=seed)
    model.fit_output_map(data.train_images, data.train_labels, verbose=0)
    queries = model.queries_used
    return None, queries, None, accuracy_of(model, data.test_images, data.test_labels)


def accuracy_of(model: ReprogrammedModel, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose most probable class is the right one."""
    found = model.predict(images.astype("float32"), batch_size=BATCH, verbose=0)
    return float((found.argmax(axis=1) == labels).mean())


def plan(seeds: list[int], size: str) -> list[tuple[str, str, int, str]]:
    """All runs, a seed after the other."""
    methods = (OWN, *EXACT, CONNECTED, ADDITIVE)
    runs = []
    for seed in seeds:
        runs.append((NO_SOURCE, PIXELS, seed, size))
        runs += [(kind, method, seed, size) for method in methods for kind in (BARE, SWITCHING)]
    return runs


def run(kind: str, method: str, seed: int, size: str, folder: Path) -> Row:
    """One row."""
    started = time.monotonic()
    sizes = SIZES[size]
    mnist = load_target("mnist").draw(sizes.program_images, sizes.test_images, seed)
    few = mnist.draw(sizes.map_images, None, seed)
    if method == PIXELS:
        pixels = fit_no_source(few.train_images, few.train_labels, num_classes=CLASSES, seed=seed)
        figures = None, 0, None, pixels.evaluate(few.test_images, few.test_labels)
    else:
        networks = Networks(seed, size, folder)
        network = networks.get(kind)
        if method == OWN:
            figures = None, 0, None, networks.own_accuracy(network)
        elif method in EXACT:
            figures = exact(network, EXACT[method], few, seed)
        else:
            figures = trained(network, method, mnist, seed, sizes)
    return Row(kind, method, seed, size, *figures, time.monotonic() - started)


# === Table ===


def markdown(rows: list[Row]) -> str:
    """Mean and spread over seeds, one table a size."""
    lines = [
        "# Random switching",
        "",
        "Written by `python examples/benchmark/random_switching.py`: test accuracy, mean over "
        "seeds and their standard deviation. Accuracy on MNIST, but for the first row, which is "
        "the networks' own on CIFAR-10. See `Row` in the script for the columns of the CSV file.",
    ]
    for name, size in SIZES.items():
        here = [row for row in rows if row.size == name]
        if not here:
            continue
        lines += [
            "",
            f"{'Full' if name == FULL else 'Quick'} size: networks of {size.width} filters, "
            f"{size.channels} x {size.channels} channels, {size.images:,} images and {size.epochs} "
            f"epochs a channel; programs on {size.program_images:,} images for "
            f"{size.program_epochs} epochs, exact maps on {size.map_images:,} images.",
            "",
            "| | seeds | bare | switching |",
            "| --- | ---: | ---: | ---: |",
        ]
        for method in (OWN, CONNECTED, ADDITIVE, *EXACT):
            both = [
                [r.test_accuracy for r in here if (r.source, r.method) == (kind, method)]
                for kind in (BARE, SWITCHING)
            ]
            if any(both):
                cells = " | ".join(_cell(some) for some in both)
                lines.append(f"| {method} | {max(map(len, both))} | {cells} |")
        alone = [row.test_accuracy for row in here if row.method == PIXELS]
        lines += ["", f"Without a source, pixels alone: {_cell(alone)}."]
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def main(
    seeds: Annotated[str, typer.Option(help="Numbers by commas.")] = "0,1,2",
    quick: Annotated[bool, typer.Option(help="Tiny networks, a few images.")] = False,
    networks: Annotated[Path, typer.Option(help="Folder of trained networks.")] = Path(
        "switching_networks"
    ),
    minutes: Annotated[float | None, typer.Option(help="Start no run that would not end.")] = None,
    output: Annotated[Path, typer.Option(help="CSV; the table goes beside it.")] = FOLDER
    / "random_switching.csv",
) -> None:
    """Measures what is missing, and writes the table."""
    numbers = [int(seed) for seed in names_by_commas(seeds, None, "--seeds")]

    def expected(rows: list[Row], one: tuple[str, str, int, str]) -> float:
        alike = [row.seconds for row in rows if row.method == one[1] and row.size == one[3]]
        return max(alike, default=60.0)

    do_missing(
        plan(numbers, QUICK if quick else FULL),
        output,
        minutes,
        key=lambda one: one,
        execute=lambda one: run(*one, networks),
        expected_seconds=expected,
        kind=Row,
    )
    output.with_suffix(".md").write_text(markdown(read_rows(output, Row)), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
