"""Exact fit of an output map: multinomial logistic regression on stored answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from keras_reprogram.fitting.logistic_solver import (
    LogisticSolution,
    LosslessRotation,
    solve_logistic,
)
from keras_reprogram.fitting.one_thread import one_thread
from keras_reprogram.fitting.validation import split_validation

# Inverse regularisation C for features of mean squared norm 1, from a strong prior to hardly any.
REGULARIZATIONS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
# The power of its spread that a principal axis of the features keeps. 1 is plain ridge; less lets
# axes speak along which the answers hardly vary, where a source knows more than its first label.
SPREAD_POWERS = (1.0, 0.75)
# An axis with less than this share of the largest spread is noise, not to be blown up.
_SPREAD_FLOOR = 1e-3
# The loss on validation falls and then rises with C: after so many values of C that are worse than
# the best one, the rest, whose fits take longest, is left out.
_PATIENCE = 2
# Where nothing can be held out: the middle of what validation chooses on real sources.
_DEFAULT_REGULARIZATION = 100.0
# The logit of a class that was never seen; far below any that was.
_ABSENT_LOGIT = -30.0


@dataclass(frozen=True, eq=False)
class MapFit:
    """A fitted linear classifier, `softmax(features @ kernel + bias)`.

    Args:
        kernel: float32 array `(d, K)`.
        bias: float32 array `(K,)`.
        regularization: the inverse regularisation C that was chosen.
        spread_power: the power of their spread that principal axes kept.
        validation_accuracy: accuracy on the held-out part that chose it, its images counted by
            their weights, or `None`.

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


def fit_logistic_regression(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    sample_weight: np.ndarray | None = None,
    validation_split: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> MapFit:
    """Multinomial logistic regression, its regularisation chosen on a held-out part.

    Minimises `||kernel||^2 / 2 + C * sum_i weight_i * cross_entropy_i` (with two classes
    `||kernel||^2`, as for a single weight vector) on features scaled to mean squared norm 1,
    whose principal axes keep a power of their spread (see `SPREAD_POWERS`). Power and C are those
    with the lowest cross-entropy on the validation part, rows counted by their weights there too;
    the result is then fitted on all rows. Each fit is solved to its minimum (`solve_logistic`): C
    is what regularises, and nothing else. More features than rows are rotated into the rows' span
    first, which changes nothing but the time.

    Args:
        features: `(n, d)` finite numbers.
        labels: `(n,)` integers in [0, num_classes).
        num_classes: K. A class without a row gets probability 0.
        sample_weight: `(n,)` non-negative, or `None`. Their scale is part of C, as repeated rows
            are: weights of mean 1 keep the grid of regularisations where it suits.
        validation_split: share held out to choose C, in [0, 1); 0 takes a default.
        seed: draws the validation part.
        groups: `(n,)` or `None`; rows of one value (a patient's, a track's) stay on one side.
            Otherwise near-duplicates of training rows make the weakest regularisation look best.

    Returns:
        A `MapFit`.

    Raises:
        ValueError: if there are fewer than two classes in `labels`.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.fitting import fit_logistic_regression

    features = np.random.default_rng(0).normal(size=(60, 4))
    fit = fit_logistic_regression(features, (features[:, 0] > 0).astype(int), num_classes=2)
    assert fit.kernel.shape == (4, 2)
    ```
    """
    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        raise ValueError(
            "A map needs training images of at least two classes. "
            f"Received: labels of class {np.unique(labels).tolist()} only."
        )
    rotation, rows = LosslessRotation.fit(features)
    axes, rows = _principal_axes(rotation, rows)
    weight = np.ones(len(rows)) if sample_weight is None else np.asarray(sample_weight, float)
    held_out = _held_out(labels, weight, validation_split, seed, groups)
    if held_out is None:
        power, regularization, accuracy = SPREAD_POWERS[0], _DEFAULT_REGULARIZATION, None
    else:
        power, regularization, accuracy = _choose(rows, labels, weight, *held_out)
    scales = _axis_scales(rows, power)
    solution = solve_logistic(_scaled(rows, scales), labels, weight, regularization)
    kernel, bias = _all_classes(solution, num_classes)
    kernel = axes @ (scales[:, None] * kernel) / rotation.scale
    bias = bias - rotation.mean @ kernel
    return MapFit(
        kernel.astype(np.float32), bias.astype(np.float32), regularization, power, accuracy
    )


def _principal_axes(rotation: LosslessRotation, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal axes `(d, r)` and the rows projected onto them; a rotation has both."""
    if rotation.axes is not None:
        return rotation.axes, rows
    with one_thread():
        _, axes = np.linalg.eigh(rows.T @ rows)
    return axes, rows @ axes


def _axis_scales(rows: np.ndarray, power: float) -> np.ndarray:
    """Factors that leave each axis this power of its spread, and the mean squared norm at 1."""
    spread = np.sqrt(np.mean(rows**2, axis=0))
    largest = float(spread.max()) or 1.0
    scales = np.maximum(spread, _SPREAD_FLOOR * largest) ** (power - 1.0)
    norm = float(np.sqrt(np.sum((spread * scales) ** 2))) or 1.0
    return scales / norm


def _held_out(
    labels: np.ndarray,
    weight: np.ndarray,
    validation_split: float,
    seed: int,
    groups: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Training and validation rows; `None` where no row can be spared."""
    num_units = len(labels) if groups is None else len(np.unique(groups))
    if not validation_split or num_units <= len(np.unique(labels)):
        return None
    train, validation = split_validation(labels, labels, validation_split, seed, groups)
    # A group that is held out may take a whole class with it.
    validation = validation[np.isin(labels[validation], labels[train])]
    if len(np.unique(labels[train])) < 2 or not len(validation) or not weight[train].any():
        return None
    return train, validation


def _choose(
    rows: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
) -> tuple[float, float, float]:
    trials = []
    share = weight[validation] if weight[validation].any() else None
    for power in SPREAD_POWERS:
        scaled = _scaled(rows, _axis_scales(rows, power))
        solution, losses = None, []
        for regularization in REGULARIZATIONS:
            # From one C to the next the minimum moves little: it is found from there.
            solution = solve_logistic(
                scaled[train], labels[train], weight[train], regularization, start=solution
            )
            probabilities = solution.probabilities(scaled[validation])
            loss = _cross_entropy(probabilities, solution.classes, labels[validation], share)
            predicted = solution.classes[probabilities.argmax(axis=1)]
            hits = predicted == labels[validation]
            accuracy = float(np.average(hits, weights=share))
            trials.append((loss, power, regularization, accuracy))
            losses.append(loss)
            if min(losses[-_PATIENCE:]) > min(losses):
                break
    _, power, regularization, accuracy = min(trials)
    return power, regularization, accuracy


def _cross_entropy(
    probabilities: np.ndarray,
    classes: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray | None,
) -> float:
    """Weighted mean over labels that are all among the sorted classes."""
    # What scikit-learn's `log_loss` gives, whose checks take longer than the fits between them.
    own = probabilities[np.arange(len(labels)), np.searchsorted(classes, labels)]
    smallest = np.finfo(own.dtype).eps
    return float(np.average(-np.log(np.clip(own, smallest, 1 - smallest)), weights=weight))


def _scaled(rows: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Scales rows in float32, the type of the features."""
    return (rows * scales).astype(np.float32)


def _all_classes(solution: LogisticSolution, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel `(d, K)` and bias `(K,)` of all classes, also of those without a row."""
    all_kernel = np.zeros((len(solution.kernel), num_classes))
    all_bias = np.full(num_classes, _ABSENT_LOGIT)
    all_kernel[:, solution.classes] = solution.kernel
    all_bias[solution.classes] = solution.bias
    return all_kernel, all_bias
