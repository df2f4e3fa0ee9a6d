"""Exact fit of an output map: logistic regression on stored answers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from keras_reprogram.fitting.findings_fit import fit_findings
from keras_reprogram.fitting.fit_settings import (
    CLEARLY_WORSE,
    DEFAULT_REGULARIZATION,
    FIRST_REGULARIZATION,
    MOMENTUM,
    PATIENCE,
    REGULARIZATIONS,
    ROUGH,
    SPREAD_POWERS,
    HeldOut,
    MapFit,
    axis_penalties,
    training_first,
)
from keras_reprogram.fitting.logistic_solver import LogisticProblem, LogisticSolution
from keras_reprogram.fitting.principal_axes import PrincipalAxes
from keras_reprogram.fitting.validation import split_validation

# The logit of a class that was never seen; far below any that was.
_ABSENT_LOGIT = -30.0
# Of the polynomials of the grade that ordinal fits try.
_DEGREES = (1, 2)


def fit_logistic_regression(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    sample_weight: np.ndarray | None = None,
    validation_split: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
    ordinal: bool = False,
) -> MapFit:
    """Logistic regression, its regularisation chosen on a held-out part.

    Minimises `||kernel||^2 / 2 + C * sum_i weight_i * cross_entropy_i` (with two classes
    `||kernel||^2`, as for a single weight vector) on features scaled to mean squared norm 1,
    whose principal axes keep a power of their spread (see `SPREAD_POWERS`). Power and C are those
    with the lowest cross-entropy on the validation part, rows counted by their weights there too:
    C is sought on the grid `REGULARIZATIONS` from 10 upwards, or else downwards, until the loss
    is 1 % above the lowest one or two values in a row are above it; the second power is tried
    around the C that the first one chose. The result is then fitted on all rows. Each fit is
    solved to its minimum (`LogisticProblem`): C is what regularises, and nothing else. Features
    are first rotated to the axes along which they vary, which changes nothing but the time.

    With labels `(n, K)` of 0 and 1, several findings an image, it is a binary regression of each
    finding, with a power and a C of its own, all solved together on the same axes. The probability
    from which a finding counts as found is the one with the highest F1 on the validation part.

    With `ordinal` the classes are grades, 0 the lowest, and two more forms are tried, in which a
    feature's weights are a polynomial of the grade, of degree 1 or 2 (`grade_directions`): degree 1
    is the model of adjacent categories, one weight a feature. The form with the lowest
    cross-entropy on the validation part is kept; without one it is the multinomial.

    Args:
        features: `(n, d)` finite numbers.
        labels: `(n,)` integers in [0, num_classes), or `(n, num_classes)` of 0 and 1: several
            findings an image, or none.
        num_classes: K. A class without a row gets probability 0.
        sample_weight: `(n,)` non-negative, or `None`; of several findings `(n, num_classes)` too.
            Their scale is part of C, as repeated rows are: weights of mean 1 keep the grid of
            regularisations where it suits.
        validation_split: share held out to choose C, in [0, 1); 0 takes a default.
        seed: draws the validation part.
        groups: `(n,)` or `None`; rows of one value (a patient's, a track's) stay on one side.
            Otherwise near-duplicates of training rows make the weakest regularisation look best.
        ordinal: whether the classes are grades in order.

    Returns:
        A `MapFit`.

    Raises:
        ValueError: if there are fewer than two classes in `labels`, and for labels `(n, K)` that
            are not 0 and 1.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.fitting import fit_logistic_regression

    features = np.random.default_rng(0).normal(size=(60, 4))
    fit = fit_logistic_regression(features, (features[:, 0] > 0).astype(int), num_classes=2)
    assert fit.kernel.shape == (4, 2)
    ```
    """
    return fit_and_hold_out(
        features,
        labels,
        num_classes=num_classes,
        sample_weight=sample_weight,
        validation_split=validation_split,
        seed=seed,
        groups=groups,
        ordinal=ordinal,
    )[0]


def fit_and_hold_out(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    sample_weight: np.ndarray | None,
    validation_split: float,
    seed: int,
    groups: np.ndarray | None,
    ordinal: bool = False,
) -> tuple[MapFit, HeldOut | None]:
    """`fit_logistic_regression`, and what its best fit on the training part says of the rest."""
    labels = np.asarray(labels)
    if labels.ndim == 2:
        return fit_findings(
            features,
            labels,
            sample_weight=sample_weight,
            validation_split=validation_split,
            seed=seed,
            groups=groups,
        )
    if len(np.unique(labels)) < 2:
        raise ValueError(
            "A map needs training images of at least two classes. "
            f"Received: labels of class {np.unique(labels).tolist()} only."
        )
    features = np.asarray(features, np.float32).reshape(len(labels), -1)
    weight = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, float)
    held_out = held_out_rows(labels, weight, validation_split, seed, groups)
    # Training rows first, then validation rows: both are views of the same memory.
    order = np.arange(len(labels)) if held_out is None else training_first(*held_out, len(labels))
    axes, rows = PrincipalAxes.fit(features, order)
    labels, weight = labels[order], weight[order]
    spread = np.sqrt(np.einsum("ij,ij->j", rows, rows, dtype=np.float64) / len(rows))
    problem = LogisticProblem(rows, labels, weight)
    power, regularization, accuracy, start = SPREAD_POWERS[0], DEFAULT_REGULARIZATION, None, None
    found, degree = None, None
    if held_out is not None:
        num_train, num_validation = (len(part) for part in held_out)
        degrees = _degrees(labels[:num_train]) if ordinal else ()
        trials = [
            choose_penalty(rows, labels, weight, spread, num_train, num_validation, one)
            for one in (None, *degrees)
        ]
        best = min(trials, key=lambda trial: trial.loss)
        degree = best.degree
        power, regularization, accuracy = best.power, best.regularization, best.accuracy
        start = best.solution
        validation = slice(len(held_out[0]), len(held_out[0]) + len(held_out[1]))
        found = HeldOut(
            log_probabilities(start, rows[validation], num_classes),
            labels[validation],
            weight[validation],
        )
    solution = problem.solve(
        regularization, penalty=axis_penalties(spread, power), start=start, degree=degree
    )
    kernel, bias = axes.affine(*all_classes(solution, num_classes))
    fit = MapFit(
        kernel.astype(np.float32),
        bias.astype(np.float32),
        regularization,
        power,
        accuracy,
        ordinal=degree is not None,
    )
    return fit, found


def _degrees(labels: np.ndarray) -> tuple[int, ...]:
    """Degrees of polynomials of the grade that are less than all freedom."""
    return tuple(one for one in _DEGREES if one < len(np.unique(labels)) - 1)


def held_out_rows(
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


@dataclass(frozen=True, eq=False)
class PenaltyTrial:
    """A power and a C, tried on validation."""

    loss: float
    accuracy: float
    power: float
    regularization: float
    solution: LogisticSolution
    degree: int | None = None

    def moved_on(self, before: PenaltyTrial) -> LogisticSolution:
        """Where the minimum will about be if it moves on as it did since the trial before."""
        now, then = self.solution, before.solution
        kernel = now.kernel + MOMENTUM * (now.kernel - then.kernel)
        bias = now.bias + MOMENTUM * (now.bias - then.bias)
        return replace(now, kernel=kernel, bias=bias)


def choose_penalty(
    rows: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    spread: np.ndarray,
    num_train: int,
    num_validation: int,
    degree: int | None = None,
) -> PenaltyTrial:
    """The power and the C with the lowest loss on the validation rows that follow the training.

    Labels may be soft, `(n, K)`; on the validation rows the most probable class counts.
    """
    problem = LogisticProblem(rows[:num_train], labels[:num_train], weight[:num_train])
    validation = slice(num_train, num_train + num_validation)
    truth = labels[validation] if labels.ndim == 1 else labels[validation].argmax(axis=1)
    share = weight[validation] if weight[validation].any() else None

    def trial(power: float, index: int, start: LogisticSolution | None) -> PenaltyTrial:
        solution = problem.solve(
            REGULARIZATIONS[index],
            penalty=axis_penalties(spread, power),
            start=start,
            tolerance=ROUGH,
            degree=degree,
        )
        probabilities = solution.probabilities(rows[validation])
        loss = _cross_entropy(probabilities, solution.classes, truth, share)
        hits = solution.classes[probabilities.argmax(axis=1)] == truth
        accuracy = float(np.average(hits, weights=share))
        return PenaltyTrial(loss, accuracy, power, REGULARIZATIONS[index], solution, degree)

    best: list[PenaltyTrial] = []
    for power in SPREAD_POWERS:
        # The best C of one power is close to that of another, and so is the minimum.
        first = best[-1].regularization if best else FIRST_REGULARIZATION
        start = best[-1].solution if best else None
        index = REGULARIZATIONS.index(first)
        best.append(_climb(functools.partial(trial, power), index, start))
    return min(best, key=lambda found: found.loss)


def _climb(
    trial: Callable[[int, LogisticSolution | None], PenaltyTrial],
    index: int,
    start: LogisticSolution | None,
) -> PenaltyTrial:
    """The best trial, from a value of C upwards, or downwards where that does not help."""
    first = trial(index, start)
    for step in (1, -1):
        trials = [first]
        while 0 <= index + step * len(trials) < len(REGULARIZATIONS):
            near = trials[-1].moved_on(trials[-2]) if len(trials) > 1 else first.solution
            trials.append(trial(index + step * len(trials), near))
            losses = [tried.loss for tried in trials]
            clearly_worse = losses[-1] > (1 + CLEARLY_WORSE) * min(losses)
            if clearly_worse or min(losses[-PATIENCE:]) > min(losses):
                break
        best = min(trials, key=lambda found: found.loss)
        if best is not first:
            return best
    return first


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


def log_probabilities(solution: LogisticSolution, rows: np.ndarray, num_classes: int) -> np.ndarray:
    """Log-probabilities `(n, K)` of all classes, also of those without a row."""
    logs = np.full((len(rows), num_classes), _ABSENT_LOGIT)
    own = np.maximum(solution.probabilities(rows), np.exp(_ABSENT_LOGIT))
    logs[:, solution.classes] = np.log(own)
    return logs


def all_classes(solution: LogisticSolution, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel `(d, K)` and bias `(K,)` of all classes, also of those without a row."""
    all_kernel = np.zeros((len(solution.kernel), num_classes))
    all_bias = np.full(num_classes, _ABSENT_LOGIT)
    all_kernel[:, solution.classes] = solution.kernel
    all_bias[solution.classes] = solution.bias
    return all_kernel, all_bias
