"""Does random switching (Wang et al. 2019) keep a network from being reprogrammed?

    export KERAS_REPROGRAM_DATA=...   # cifar10_jpg.zip, and MNIST's files
    python examples/benchmark/random_switching.py --networks switching_networks

Trains a small CIFAR-10 network, and the same network as two blocks of random switching, then
reads MNIST through both: by the paper's own test (a locally connected program of 30,720 weights,
trained with true gradients), by an additive program around the image, and by exact maps on scores
alone at one view and at eight. With `--networks`, trained networks are kept and used again. The
table goes to stdout. `docs/defence.md` has it.

The paper's test has one-hot labels and all images, as its text says; its released script has
neither and cannot give the paper's figure.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import typer
from keras import layers
from locally_connected import LocallyConnectedProgram

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

SHAPE, CLASSES = (32, 32, 3), 10
UNIT = (0.0, 1.0)
BATCH = 128
VIEWS = (1, 8)
BARE, SWITCHING = "bare", "switching"
OWN, CONNECTED, ADDITIVE, PIXELS = (
    "own accuracy",
    "locally connected program",
    "additive program (AR)",
    "pixels alone",
)


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

    def __init__(
        self, seed: int, images: int, epochs: int, channels: int, width: int, folder: Path | None
    ) -> None:
        self.seed, self.epochs, self.channels, self.folder = seed, epochs, channels, folder
        self.blocks = [convolutions(width, 4 * width), classifier(4 * width)]
        self.own = load_target("cifar10").draw(images, None, seed)

    def get(self, kind: str) -> keras.Model:
        """One of the two."""
        path = None if self.folder is None else self.folder / f"{kind}_{self.seed}.keras"
        if path is not None and path.is_file():
            return keras.models.load_model(path, compile=False)
        keras.utils.set_random_seed(self.seed)
        network = self._bare() if kind == BARE else self._switching()
        if path is not None:
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
        return train_random_switching(self.blocks, self.channels, SHAPE, self._fit, seed=self.seed)

    def _fit(self, network: keras.Model) -> None:
        started = time.monotonic()
        network.compile(
            keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
            loss="sparse_categorical_crossentropy",
        )
        network.fit(
            self.own.train_images / np.float32(255),
            self.own.train_labels,
            batch_size=BATCH,
            epochs=self.epochs,
            verbose=0,
        )
        say(f"seed {self.seed}: a network in {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


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


def trained(network: keras.Model, program: Any, optimizer: Any, data: TargetData, seed: int,
            epochs: int) -> float:  # fmt: skip
    """Test accuracy of a program after its last epoch; a path for each batch, as published."""
    draw_for_each(network, "call")
    source = FrozenSource(network, value_range=UNIT)
    model = ReprogrammedModel(program, source, identity_map(), seed=seed)
    model.compile(optimizer, loss="sparse_categorical_crossentropy")
    model.fit(
        data.train_images.astype("float32"),
        data.train_labels,
        batch_size=BATCH,
        epochs=epochs,
        verbose=0,
    )
    return reached(model, data)


def reached(model: ReprogrammedModel, data: TargetData) -> float:
    """Test accuracy."""
    found = model.predict(data.test_images.astype("float32"), batch_size=BATCH, verbose=0)
    return float((found.argmax(axis=1) == data.test_labels).mean())


def connected(network: keras.Model, data: TargetData, seed: int, epochs: int) -> float:
    """The paper's test."""
    keras.utils.set_random_seed(seed)
    program = LocallyConnectedProgram(data.target_shape, SHAPE, target_range=data.target_range)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)
    return trained(network, program, optimizer, data, seed, epochs)


def additive(network: keras.Model, data: TargetData, seed: int, epochs: int) -> float:
    """A trained frame around the image, as large as leaves room for it (Elsayed et al. 2019)."""
    program = ProgramLayer(
        data.target_shape,
        SHAPE,
        source_range=UNIT,
        target_range=data.target_range,
        placement="center",
        image_size=(24, 24),
    )
    return trained(network, program, keras.optimizers.Adam(0.05), data, seed, epochs)


def exact(network: keras.Model, data: TargetData, seed: int) -> dict[str, float]:
    """Exact maps on scores alone; each query is a request and gets a path of its own."""
    draw_for_each(network, "image")
    found = {}
    for num_views in VIEWS:
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
        found[exact_name(num_views)] = reached(model, data)
    return found


def exact_name(num_views: int) -> str:
    """Of a row."""
    return f"exact map, {num_views} view" + "s" * (num_views > 1)


def main(
    seeds: Annotated[str, typer.Option(help="Numbers by commas.")] = "0,1,2",
    images: Annotated[int, typer.Option(help="CIFAR-10 training images.")] = 20_000,
    epochs: Annotated[int, typer.Option(help="Epochs of each channel.")] = 8,
    channels: Annotated[int, typer.Option(min=2, help="Channels of each of two blocks.")] = 3,
    width: Annotated[int, typer.Option(help="Filters of the first convolution.")] = 16,
    program_epochs: Annotated[int, typer.Option(help="Epochs of programs.")] = 10,
    program_images: Annotated[int, typer.Option(help="MNIST images of programs.")] = 8_000,
    map_images: Annotated[int, typer.Option(help="MNIST images of exact maps.")] = 1_000,
    test_images: Annotated[int, typer.Option(help="MNIST test images.")] = 2_000,
    networks: Annotated[Path | None, typer.Option(help="Folder of trained networks.")] = None,
) -> None:
    """Prints accuracy through both networks, and their own."""
    rows: dict[str, dict[str, list[float]]] = {}

    def add(row: str, kind: str, accuracy: float) -> None:
        rows.setdefault(row, {}).setdefault(kind, []).append(accuracy)
        say(f"{row}, {kind}: {accuracy:.3f}")

    for seed in [int(number) for number in seeds.split(",")]:
        both = Networks(seed, images, epochs, channels, width, networks)
        mnist = load_target("mnist").draw(program_images, test_images, seed)
        few = mnist.draw(map_images, None, seed)
        for kind in (BARE, SWITCHING):
            network = both.get(kind)
            add(OWN, kind, both.own_accuracy(network))
            add(CONNECTED, kind, connected(network, mnist, seed, program_epochs))
            add(ADDITIVE, kind, additive(network, mnist, seed, program_epochs))
            for row, accuracy in exact(network, few, seed).items():
                add(row, kind, accuracy)
        pixels = fit_no_source(few.train_images, few.train_labels, num_classes=CLASSES, seed=seed)
        for kind in (BARE, SWITCHING):
            add(PIXELS, kind, pixels.evaluate(few.test_images, few.test_labels))
    print(f"| MNIST through CIFAR-10 | {BARE} | {SWITCHING}, {channels} x {channels} |")
    print("| --- | ---: | ---: |")
    for row, found in rows.items():
        cells = [f"{np.mean(some):.3f} ± {np.std(some):.3f}" for some in found.values()]
        print(f"| {row} | {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
