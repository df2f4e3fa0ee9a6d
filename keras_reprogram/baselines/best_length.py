"""How many steps a network should take: those after which it was best on validation."""

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
        from keras_reprogram.baselines.best_length import Length

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
        from keras_reprogram.baselines.best_length import best_length
        from keras_reprogram.baselines.small_network import SmallNetwork

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
