"""Trains the small CIFAR-10 classifier that examples/benchmark reprograms.

    export KERAS_REPROGRAM_DATA=...   # the folder that holds cifar10_jpg.zip
    python examples/train_cifar10.py --output examples/benchmark/cifar10_source.keras

Progress goes to stderr, the figures go to stdout as JSON. Without the zip the 50,000 training
images of keras.datasets.cifar10 are downloaded and used.
"""

import argparse
import contextlib
import hashlib
import json
import math
import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_reprogram.datasets import load_cifar10

INPUT_SHAPE = (32, 32, 3)
NUM_CLASSES = 10
BATCH_SIZE = 64
LARGEST_SHIFT = 4
# (filters, stride of the first block, residual blocks) of each stage.
STAGES = ((32, 2, 2), (64, 2, 2), (88, 2, 1))
WARMUP_SHARE = 0.06
PEAK_RATE = 4e-3


class ShiftedImages(keras.utils.PyDataset):
    """Training batches, in a new order in every epoch, flipped and shifted at random."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int) -> None:
        super().__init__()
        self.labels, self.seed, self.epoch = labels, seed, 0
        edge = (LARGEST_SHIFT, LARGEST_SHIFT)
        # Mirrored borders: a black edge would be a thing to learn.
        self.padded = np.pad(images, ((0, 0), edge, edge, (0, 0)), mode="reflect")

    def __len__(self) -> int:
        return len(self.labels) // BATCH_SIZE

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.labels))
        rows = order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        rng = np.random.default_rng([self.seed, self.epoch, index])
        top, left = rng.integers(0, 2 * LARGEST_SHIFT + 1, (2, len(rows)))
        height, width = INPUT_SHAPE[:2]
        across = np.where(rng.random(len(rows)) < 0.5, 1, -1)[:, None] * np.arange(width)
        across = across % width + left[:, None]
        down = np.arange(height) + top[:, None]
        images = self.padded[rows[:, None, None], down[:, :, None], across[:, None, :]]
        return images.astype("float32"), self.labels[rows]

    def on_epoch_end(self) -> None:
        self.epoch += 1


class RateByProgress(keras.callbacks.Callback):
    """Warm-up and cosine decay over the epochs or the minutes, whichever run out first."""

    def __init__(self, steps: int, minutes: float) -> None:
        super().__init__()
        self.steps, self.seconds = steps, 60 * minutes
        self.done, self.started = 0, time.monotonic()

    @property
    def progress(self) -> float:
        """Share of the training that is over, 0..1."""
        return min(1.0, max(self.done / self.steps, self.elapsed / self.seconds))

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        warm = min(1.0, (self.progress + 1e-3) / WARMUP_SHARE)
        decay = 0.5 * (1 + math.cos(math.pi * self.progress))
        self.model.optimizer.learning_rate = PEAK_RATE * min(warm, decay + 1e-3)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.done += 1
        if self.progress >= 1:
            self.model.stop_training = True


def residual_block(x: keras.KerasTensor, filters: int, stride: int) -> keras.KerasTensor:
    """Two 3x3 convolutions beside a short cut."""
    straight = x
    if stride != 1 or x.shape[-1] != filters:
        straight = layers.Conv2D(filters, 1, stride, use_bias=False)(x)
        straight = layers.BatchNormalization(momentum=0.95)(straight)
    x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.95)(x))
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.95)(x)
    return layers.Activation("relu")(layers.Add()([x, straight]))


def build_model() -> keras.Model:
    """Builds the network: raw pixels in, a stem and five residual blocks, ten scores out."""
    image = keras.Input(INPUT_SHAPE, name="image")
    x = layers.Rescaling(1 / 127.5, -1, name="to_unit_range")(image)
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.95)(x))
    for filters, stride, blocks in STAGES:
        for block in range(blocks):
            x = residual_block(x, filters, stride if block == 0 else 1)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    scores = layers.Dense(NUM_CLASSES, activation="softmax", name="scores")(x)
    return keras.Model(image, scores, name="cifar10")


def train(
    images: np.ndarray, labels: np.ndarray, epochs: int, minutes: float, seed: int
) -> tuple[keras.Model, float]:
    """Trains for at most `epochs` and `minutes`; an uncompiled model and the epochs it saw."""
    keras.utils.set_random_seed(seed)
    model = build_model()
    batches = ShiftedImages(images, labels, seed)
    rate = RateByProgress(epochs * len(batches), minutes)
    optimizer = keras.optimizers.AdamW(PEAK_RATE, weight_decay=0.02)
    targets = keras.losses.CategoricalCrossentropy(label_smoothing=0.05)
    batches.labels = np.eye(NUM_CLASSES, dtype="float32")[labels]
    model.compile(optimizer, targets, metrics=["accuracy"])
    model.fit(batches, epochs=epochs, callbacks=[rate], shuffle=False, verbose=2)
    # Without compiling, the file holds no optimizer state.
    shipped = build_model()
    shipped.set_weights(model.get_weights())
    return shipped, rate.done / len(batches)


def measure(path: Path, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy and cross-entropy of a file, as a user would load it."""
    model = keras.saving.load_model(path)
    scores = model.predict(images.astype("float32"), batch_size=256, verbose=0)
    loss = -np.log(np.maximum(scores[np.arange(len(labels)), labels], 1e-7)).mean()
    accuracy = (scores.argmax(axis=1) == labels).mean()
    return {"images": len(labels), "accuracy": round(float(accuracy), 4), "loss": float(loss)}


def run(arguments: argparse.Namespace) -> dict:
    """Trains, writes the file and returns the figures."""
    started, data = time.monotonic(), load_cifar10()
    model, epochs = train(
        data.train_images, data.train_labels, arguments.epochs, arguments.minutes, arguments.seed
    )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    model.save(arguments.output)
    content = arguments.output.read_bytes()
    return {
        "origin": data.origin,
        "train_images": len(data.train_labels),
        "epochs": round(epochs, 1),
        "seed": arguments.seed,
        "parameters": model.count_params(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "test": measure(arguments.output, data.test_images, data.test_labels),
        "seconds": round(time.monotonic() - started),
    }


def main() -> None:
    """Parses the command line, trains, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("saved_models/cifar10_source.keras"),
        help="file to write",
    )
    parser.add_argument("--epochs", type=int, default=40, help="at most")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, at most")
    parser.add_argument("--seed", type=int, default=0, help="of weights and augmentation")
    parser.add_argument("--overwrite", action="store_true", help="replace the file --output")
    arguments = parser.parse_args()
    if arguments.output.exists() and not arguments.overwrite:
        parser.error(f"{arguments.output} exists. Pass --overwrite, or another --output.")
    with contextlib.redirect_stdout(sys.stderr):
        figures = run(arguments)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
