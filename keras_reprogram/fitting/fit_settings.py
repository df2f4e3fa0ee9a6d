"""What all exact fits share: the regularisations they choose from, and what they return."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Inverse regularisation C for features of mean squared norm 1, from a strong prior to hardly any.
REGULARIZATIONS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
# The power of its spread that a principal axis of the features keeps. A power of 1 is plain ridge.
# A smaller power gives more weight to axes along which the answers hardly vary, which carry what a
# source knows beyond its first label.
SPREAD_POWERS = (1.0, 0.75)
# An axis with less than this share of the largest spread is noise, not to be blown up.
SPREAD_FLOOR = 1e-3
# The loss on validation falls and then rises with C. The search starts here and goes up, or else
# down, until a value is worse than the best one by this share, or two values are worse at all.
FIRST_REGULARIZATION = 10.0
CLEARLY_WORSE = 0.01
PATIENCE = 2
# Where a fit ends that is only compared with others: its loss on validation is right to a
# thousandth.
ROUGH = 1e-3
# From one C to the next the minimum moves on about as it moved before.
MOMENTUM = 0.7
# Where nothing can be held out: the middle of what validation chooses on real sources.
DEFAULT_REGULARIZATION = 100.0


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What fits say of rows that they have not seen.

    Of several findings each pair of an image and a finding is a row of two classes, image after
    image.

    Args:
        log_probabilities: `(m, K)`.
        labels: `(m,)`.
        weight: `(m,)`.
        rows: `(m,)`, their positions in the data of the fit; `None` of several findings.
    """

    log_probabilities: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    weight: np.ndarray = field(repr=False)
    rows: np.ndarray | None = field(default=None, repr=False)

    def accuracy(self) -> float:
        """Weighted share of rows whose most probable class is right."""
        hits = self.log_probabilities.argmax(axis=1) == self.labels
        return float(np.average(hits, weights=self.weight if self.weight.any() else None))

    @property
    def losses(self) -> np.ndarray:
        """Cross-entropy of each row, `(m,)`, in nats."""
        return -self.log_probabilities[np.arange(len(self.labels)), self.labels]


@dataclass(frozen=True, eq=False)
class MapFit:
    """A fitted linear classifier, `softmax(features @ kernel + bias)`.

    Of several findings an image it is `sigmoid(features @ kernel + bias)`.

    Args:
        kernel: float32 array `(d, K)`.
        bias: float32 array `(K,)`.
        regularization: the inverse regularisation C that was chosen; of several findings the
            median of `regularizations`, of a closed form its temperature.
        spread_power: the power of their spread that principal axes kept; likewise of
            `spread_powers`.
        validation_accuracy: accuracy on the held-out images that chose it, counted by their
            weights, or `None`. Of few images each was held out once. Of several findings the share
            of pairs of an image and a finding that are read right at .5.
        part_weights: of a joint source, the weight of each part; else empty.
        thresholds: of several findings the probability from which each counts as found, chosen on
            the held-out part; else empty.
        regularizations: of several findings the C of each; else empty.
        spread_powers: of several findings the power of each; else empty.
        ordinal: of grades, whether a form that knows their order won on the held-out part.
        method: `"exact"` (`fit_logistic_regression`) or `"closed_form"` (`fit_discriminant`).
        held_out: what fits on the rest said of the held-out images, or `None`.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import fit_logistic_regression

    features = np.random.default_rng(0).normal(size=(60, 4))
    fit = fit_logistic_regression(features, (features[:, 0] > 0).astype(int), num_classes=2)
    chosen = (features @ fit.kernel + fit.bias).argmax(axis=1)
    ```
    """

    # Thousands of numbers would hide what a reader of the repr looks for.
    kernel: np.ndarray = field(repr=False)
    bias: np.ndarray = field(repr=False)
    regularization: float
    spread_power: float
    validation_accuracy: float | None
    part_weights: tuple[float, ...] = ()
    thresholds: tuple[float, ...] = field(default=(), repr=False)
    regularizations: tuple[float, ...] = field(default=(), repr=False)
    spread_powers: tuple[float, ...] = field(default=(), repr=False)
    ordinal: bool = False
    method: str = "exact"
    held_out: HeldOut | None = field(default=None, repr=False)


def axis_penalties(spread: np.ndarray, power: float) -> np.ndarray:
    """Penalties of axes that would keep this power of their spread, at a mean squared norm of 1."""
    # Scaling an axis by a factor divides its weights by it, and their penalty by its square.
    largest = float(spread.max()) or 1.0
    factors = np.maximum(spread, SPREAD_FLOOR * largest) ** (power - 1.0)
    return (np.sum((spread * factors) ** 2) or 1.0) / factors**2


def training_first(train: np.ndarray, validation: np.ndarray, count: int) -> np.ndarray:
    """Positions of all rows: the training rows, the validation rows, then the others."""
    rest = np.setdiff1d(np.arange(count), np.concatenate([train, validation]))
    return np.concatenate([train, validation, rest])
