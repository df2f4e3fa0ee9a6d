"""Training loop of the baselines: batches, augmentation, early stopping on validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np


@dataclass(frozen=True)
class Length:
    """The validation result of a training of some length.

    Args:
        steps: After which the network was best.
        accuracy: On validation then, 0..1.
        log_likelihood: Mean log-probability of the right label then; decides between equals.
        converged: Whether more steps did not help.
    """

    steps: int
    accuracy: float
    log_likelihood: float
    converged: bool

    def rank(self) -> tuple[float, float]:
        """Sort key: accuracy, then log-likelihood."""
        return self.accuracy, self.log_likelihood


def best_length(
    network: Any,
    train: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray],
    *,
    most_steps: int,
    round_steps: int,
    patience: int,
) -> Length:
    """Trains a network until validation stops improving; returns the best `Length`."""
    rows, labels = held_out
    best = Length(0, -1.0, 0.0, False)
    while network.steps_taken < most_steps:
        network.train(*train, min(round_steps, most_steps - network.steps_taken))
        probabilities = network.predict_probabilities(rows)
        own = probabilities[np.arange(len(labels)), labels]
        reached = Length(
            network.steps_taken,
            float(np.mean(probabilities.argmax(axis=1) == labels)),
            float(np.mean(np.log(np.maximum(own, 1e-7)))),
            converged=False,
        )
        if reached.rank() > best.rank():
            best = reached
        elif network.steps_taken - best.steps >= patience * round_steps:
            break
    converged = best.steps < network.steps_taken
    return Length(best.steps, best.accuracy, best.log_likelihood, converged)


class BatchStream:
    """Endless batches of row numbers, all of one size."""

    def __init__(self, batch_size: int, random: np.random.Generator) -> None:
        self.batch_size = batch_size
        self._random = random
        self._batches: Iterator[np.ndarray] = iter(())

    def next(self, count: int) -> np.ndarray:
        """Row numbers of the next batch; `count` rows, the same at every call."""
        batch = next(self._batches, None)
        if batch is None:
            order, size = self._random.permutation(count), self.batch_size
            whole = self.steps_a_pass(count)
            self._batches = iter([order[i * size : (i + 1) * size] for i in range(whole)])
            batch = next(self._batches)
        return batch

    def steps_a_pass(self, count: int) -> int:
        """Batches in one pass; leftover rows come in a later pass."""
        return max(count // self.batch_size, 1)


@dataclass(frozen=True)
class Augmentation:
    """Random shifts and flips of training images.

    Args:
        shift: Largest shift as a share of a side, 0 for none. Edges are repeated.
        mirror: Whether left and right may change places.
    """

    shift: float = 0.0
    mirror: bool = False

    def apply(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Moves each image of a batch."""
        height, width = images.shape[1:3]
        reach = round(self.shift * height), round(self.shift * width)
        padded = np.pad(images, ((0, 0), (reach[0],) * 2, (reach[1],) * 2, (0, 0)), mode="edge")
        tops = random.integers(0, 2 * reach[0] + 1, len(images))
        lefts = random.integers(0, 2 * reach[1] + 1, len(images))
        turned = random.random(len(images)) < (0.5 if self.mirror else 0.0)
        moved = np.empty_like(images)
        for i, (top, left) in enumerate(zip(tops, lefts, strict=True)):
            window = padded[i, top : top + height, left : left + width]
            moved[i] = window[:, ::-1] if turned[i] else window
        return moved

    def __str__(self) -> str:
        done = [name for name, on in (("shifted", self.shift), ("mirrored", self.mirror)) if on]
        return f"images {' and '.join(done)}" if done else "images as they are, no augmentation"


AS_THEY_ARE = Augmentation()


class BatchTraining:
    """Steps of a compiled network on batches in a random order, augmented."""

    def __init__(
        self, model: Any, batch_size: int, augmentation: Augmentation, random: np.random.Generator
    ) -> None:
        self._model, self._augmentation, self._random = model, augmentation, random
        self._stream = BatchStream(batch_size, random)
        self.steps_taken = 0

    def train(self, images: np.ndarray, labels: np.ndarray, steps: int) -> None:
        """Trains for more steps; later calls continue from there."""
        for _ in range(steps):
            rows = self._stream.next(len(images))
            moved = self._augmentation.apply(images[rows], self._random)
            self._model.train_on_batch(moved, labels[rows])
        self.steps_taken += steps


def in_parts(function: Any, rows: np.ndarray, size: int) -> np.ndarray:
    """Applies `function` to rows in parts, to save memory."""
    starts = range(0, len(rows), size)
    parts = [function(rows[start : start + size]) for start in starts]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
