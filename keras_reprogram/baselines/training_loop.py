"""How many steps a network should take: those after which it was best on validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Length:
    """What validation says of a training.

    Args:
        steps: After which the network was best.
        accuracy: On validation then, 0..1.
        log_likelihood: Mean log-probability of the right label then; decides between equals.
        converged: Whether more steps did not help.

    Example:
        ```python
        from keras_reprogram.baselines.training_loop import Length

        best = max(Length(50, 0.8, -0.6, True), Length(25, 0.8, -0.5, True), key=Length.rank)
        print(best.steps)  # 25
        ```
    """

    steps: int
    accuracy: float
    log_likelihood: float
    converged: bool

    def rank(self) -> tuple[float, float]:
        """What is compared: accuracy, then log-likelihood."""
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
    """Trains a network until validation no longer gets better.

    Args:
        network: With `train(rows, labels, steps)`, `steps_taken` and
            `predict_probabilities(rows)`.
        train: Rows and labels to learn from.
        held_out: Rows and labels of validation.
        most_steps: Most steps, at least 1.
        round_steps: Steps after which validation is looked at.
        patience: Rounds without anything better that end it.

    Returns:
        The best `Length`.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines.training_loop import best_length
        from keras_reprogram.baselines.scratch import SmallNetwork

        labels = np.arange(32) % 2
        rows = np.repeat(labels[:, None] * 2.0 - 1.0, 64, axis=1)
        best = best_length(
            SmallNetwork((8, 8, 1), num_classes=2), (rows, labels), (rows, labels),
            most_steps=20, round_steps=10, patience=2,
        )
        print(best.steps)
        ```
    """
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
    """Endless batches of row numbers, all of one size.

    Args:
        batch_size: Rows a batch; fewer only where there are fewer in all.
        random: What the orders are drawn from.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines.training_loop import BatchStream

        stream = BatchStream(2, np.random.default_rng(0))
        print(len(stream.next(5)), stream.steps_a_pass(5))  # 2 2
        ```
    """

    def __init__(self, batch_size: int, random: np.random.Generator) -> None:
        self.batch_size = batch_size
        self._random = random
        self._batches: Iterator[np.ndarray] = iter(())

    def next(self, count: int) -> np.ndarray:
        """The rows of the next batch.

        Args:
            count: How many rows there are, the same at every call.

        Returns:
            Integer array.
        """
        batch = next(self._batches, None)
        if batch is None:
            order, size = self._random.permutation(count), self.batch_size
            whole = self.steps_a_pass(count)
            self._batches = iter([order[i * size : (i + 1) * size] for i in range(whole)])
            batch = next(self._batches)
        return batch

    def steps_a_pass(self, count: int) -> int:
        """How many batches make up one pass; what is left over comes in another one.

        Args:
            count: How many rows there are.
        """
        return max(count // self.batch_size, 1)


@dataclass(frozen=True)
class Augmentation:
    """How training images are moved before each step.

    Args:
        shift: Largest shift as a share of a side, 0 for none. Edges are repeated.
        mirror: Whether left and right may change places.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines.training_loop import Augmentation

        images = np.random.default_rng(0).normal(size=(4, 20, 20, 1))
        moved = Augmentation(shift=0.1).apply(images, np.random.default_rng(1))
        print(moved.shape, Augmentation(shift=0.1))  # (4, 20, 20, 1) images shifted
        ```
    """

    shift: float = 0.0
    mirror: bool = False

    def apply(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Moves each image of a batch.

        Args:
            images: Array of shape `(n, height, width, channels)`.
            random: What shifts and mirrors are drawn from.

        Returns:
            Array of the same shape and dtype.
        """
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
