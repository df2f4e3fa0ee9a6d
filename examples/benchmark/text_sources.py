"""Text classifiers as sources: LSTM, bidirectional LSTM and CNN, and the opaque langid.

    KERAS_REPROGRAM_DATA=... python examples/benchmark/text_sources.py --folder text_sources

trains the six networks, on names of 18 languages by their characters and on questions by their
words, in some minutes on a core, and says how well they do their own task. The networks are those
of Neekhara et al. 2019, 64 wide where theirs are 256, with an embedding that is a product with
one-hot rows, so that soft rows have a gradient. Training: Adam 0.001 instead of 0.0001, the best of
10 epochs on a tenth that is held out instead of 200 epochs. Names are split by name.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, NamedTuple

import keras
import numpy as np
import typer
from langid_source import VOCABULARY as LANGID_VOCABULARY
from langid_source import source as langid_source
from text_data import TASKS, TextTask

from keras_reprogram import FrozenSource, Source, Vocabulary
from keras_reprogram.fitting.validation import split_validation

WIDE, EPOCHS, BATCH_SIZE = 64, 10, 64
NETWORKS = ("LSTM", "biLSTM", "CNN")
# Their own task, and how often a token must occur in its training part.
OWN_TASKS = {"names": ("18 languages", 1), "questions": ("questions", 5)}
LANGID = "langid"


class TextSource(NamedTuple):
    """A source and what its rows mean; accuracy on its own task's test part, if it has one."""

    source: Source
    vocabulary: Vocabulary
    accuracy: float | None = None


def source_names() -> list[str]:
    """All there are; `untrained ...` are the same networks with their first weights."""
    networks = [f"{own} {network}" for own in OWN_TASKS for network in NETWORKS]
    return [*networks, *(f"untrained {name}" for name in networks), LANGID]


def source_named(name: str, folder: Path) -> TextSource:
    """A source, trained into the folder if it is not there yet."""
    if name == LANGID:
        return TextSource(langid_source(), LANGID_VOCABULARY)
    trained = not name.startswith("untrained ")
    own, kind = name.removeprefix("untrained ").split()
    task = TASKS[OWN_TASKS[own][0]](0)
    vocabulary = Vocabulary.from_texts(
        task.train_texts, unit=task.unit, minimum_count=OWN_TASKS[own][1]
    )
    file = folder / f"{own}_{kind}.keras"
    if not trained:
        network = network_of(kind, vocabulary, len(task.class_names))
    elif file.exists():
        network = keras.models.load_model(file)
    else:
        network = trained_network(kind, vocabulary, task)
        folder.mkdir(parents=True, exist_ok=True)
        network.save(file)
    rows = one_hot(vocabulary, encoded(vocabulary, task.test_texts))
    right = network.predict(rows, verbose=0, batch_size=256).argmax(axis=1) == task.test_labels
    source = FrozenSource(network, value_range=(0, 1), class_names=task.class_names)
    return TextSource(source, vocabulary, float(right.mean()))


def network_of(kind: str, vocabulary: Vocabulary, classes: int) -> keras.Model:
    """A network with its first weights, one-hot rows -> probabilities."""
    keras.utils.set_random_seed(0)
    rows = keras.Input((vocabulary.length, vocabulary.size))
    embedded = keras.layers.Dense(WIDE, use_bias=False)(rows)
    if kind == "CNN":
        widths = (3, 4, 5)
        convolved = [_convolution(width)(_padded(embedded, width)) for width in widths]
        read = keras.layers.concatenate([keras.layers.GlobalMaxPooling1D()(c) for c in convolved])
    else:
        layer = keras.layers.LSTM(WIDE)
        if kind == "biLSTM":
            layer = keras.layers.Bidirectional(layer)
        read = layer(keras.layers.Activation("tanh")(embedded))
    return keras.Model(rows, keras.layers.Dense(classes, activation="softmax")(read))


def _padded(embedded: object, width: int) -> object:
    return keras.layers.ZeroPadding1D(width - 1)(embedded)


def _convolution(width: int) -> keras.layers.Layer:
    return keras.layers.Conv1D(WIDE, width, activation="relu")


def trained_network(kind: str, vocabulary: Vocabulary, task: TextTask) -> keras.Model:
    """The best epoch on a tenth of the training part that is held out, whole names of it."""
    network = network_of(kind, vocabulary, len(task.class_names))
    groups = np.unique(task.train_texts, return_inverse=True)[1]
    train, held_out = split_validation(task.train_labels, task.train_labels, 0.1, 0, groups)
    rows = one_hot(vocabulary, encoded(vocabulary, task.train_texts))
    network.compile(
        keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    best, weights = -1.0, network.get_weights()
    for _ in range(EPOCHS):
        network.fit(
            rows[train], task.train_labels[train], batch_size=BATCH_SIZE, epochs=1, verbose=0
        )
        found = network.evaluate(rows[held_out], task.train_labels[held_out], verbose=0)[1]
        if found > best:
            best, weights = found, network.get_weights()
    network.set_weights(weights)
    return network


def encoded(vocabulary: Vocabulary, texts: list[str]) -> np.ndarray:
    """Token numbers; what is cut and unknown is part of the tasks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A vocabulary cuts long texts")
        return vocabulary.encode(texts)


def one_hot(vocabulary: Vocabulary, numbers: np.ndarray) -> np.ndarray:
    """One-hot rows, float32 `(n, length, size)`."""
    return np.eye(vocabulary.size, dtype=np.float32)[numbers]


def main(
    folder: Annotated[Path, typer.Option(help="Where the networks are kept.")] = Path(
        "text_sources"
    ),
) -> None:
    """Trains what is missing."""
    for name in source_names():
        if name == LANGID or name.startswith("untrained"):
            continue
        found = source_named(name, folder)
        shape = "x".join(map(str, found.source.source_shape))
        print(f"{name}: {shape}, accuracy {found.accuracy:.3f} on its own test part", flush=True)


if __name__ == "__main__":
    typer.run(main)
