"""validation_score: what probabilities are worth on held-out images, by which all is chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A probability below this is a miss like any other; its logarithm stays finite.
_SMALLEST_PROBABILITY = 1e-7


@dataclass(frozen=True, order=True)
class ValidationScore:
    """Weighted figures of held-out images; the smaller one has the lower loss.

    Args:
        loss: mean cross-entropy, in nats, >= 0.
        error: share that is read wrong, in [0, 1].

    Example:
    ```python
    from keras_reprogram.training.validation_score import ValidationScore

    first, second = ValidationScore(0.5, 0.1), ValidationScore(0.4, 0.2)
    assert second < first and not second.beats(first)
    ```
    """

    loss: float
    error: float

    @property
    def accuracy(self) -> float:
        """Share that is read right, in [0, 1]."""
        return 1.0 - self.error

    def beats(self, best: ValidationScore) -> bool:
        """Whether it may replace the best so far: surer, and wrong no more often.

        Accuracy alone is too coarse on a few hundred images, and loss alone may give right answers
        up for surer ones.

        Args:
            best: of what came before.
        """
        return self.loss < best.loss and self.error <= best.error


# What anything beats.
NOTHING_YET = ValidationScore(np.inf, 1.0)


def validation_score(
    probabilities: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None = None
) -> ValidationScore:
    """Cross-entropy and error, each image counted by its weight.

    Args:
        probabilities: `(n, K)`.
        labels: `(n,)` integers in [0, K).
        sample_weight: `(n,)` non-negative, or `None`. Where all are 0, images count alike.

    Returns:
        A `ValidationScore`.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.training.validation_score import validation_score

    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    score = validation_score(probabilities, np.array([0, 1]), np.array([1.0, 3.0]))
    assert score.error == 0.75
    ```
    """
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if sample_weight is not None and not np.any(sample_weight):
        sample_weight = None
    own = probabilities[np.arange(len(labels)), labels]
    losses = -np.log(np.maximum(own, _SMALLEST_PROBABILITY))
    misses = probabilities.argmax(axis=1) != labels
    return ValidationScore(
        float(np.average(losses, weights=sample_weight)),
        float(np.average(misses, weights=sample_weight)),
    )
