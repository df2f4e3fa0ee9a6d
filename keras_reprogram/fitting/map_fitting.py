"""Exact fit of an output map: logistic regression on stored answers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from keras_reprogram.fitting.findings_fit import fit_findings
from keras_reprogram.fitting.fit_device import FitDevice
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
from keras_reprogram.fitting.folds import FEW_ROWS, Fold, draw_folds
from keras_reprogram.fitting.logistic_solver import LogisticProblem, LogisticSolution
from keras_reprogram.fitting.principal_axes import PrincipalAxes
from keras_reprogram.fitting.products import NUMPY, Products

# The logit of a class that was never seen; far below any that was.
ABSENT_LOGIT = -30.0
# Of the polynomials of the grade that ordinal fits try.
_DEGREES = (1, 2)


def check_two_classes(labels: np.ndarray) -> None:
    """Refuses labels of one class."""
    if len(np.unique(labels)) < 2:
        raise ValueError(
            "A map needs training images of at least two classes. "
            f"Received: labels of class {np.unique(labels).tolist()} only."
        )


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
    few: int = FEW_ROWS,
    device: str | None = None,
) -> MapFit:
    """Logistic regression, its regularisation chosen on held-out images.

    Minimises `||kernel||^2 / 2 + C * sum_i weight_i * cross_entropy_i` (with two classes
    `||kernel||^2`, as for a single weight vector) on features scaled to mean squared norm 1,
    whose principal axes keep a power of their spread (see `SPREAD_POWERS`). Power and C are those
    with the lowest cross-entropy on held-out rows, counted by their weights there too: on the
    validation part, or, of fewer than 500 rows, on all of them, each left out once in five folds.
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
        validation_split: share held out to choose C, in [0, 1); 0 takes a default. Few rows of one
            class each are held out in folds, whatever the share.
        seed: draws the validation part or the folds.
        groups: `(n,)` or `None`; rows of one value (a patient's, a track's) stay on one side.
            Otherwise near-duplicates of training rows make the weakest regularisation look best.
        ordinal: whether the classes are grades in order.
        few: of fewer rows than this each is held out once, in one of five folds.
        device: where products are taken: `"numpy"`, one of TensorFlow's devices (`"GPU:0"`), or
            `"auto"`: with NumPy, and large ones on TensorFlow's first GPU if it has one and Keras
            runs on TensorFlow. `None` for what the environment variable
            `KERAS_REPROGRAM_FIT_DEVICE` says, `"auto"` without it. Where the device's memory runs
            out, the fit is done with NumPy, and a logged warning says so.

    Returns:
        A `MapFit`.

    Raises:
        ValueError: if there are fewer than two classes in `labels`, and for labels `(n, K)` that
            are not 0 and 1, and for a device that there is not.

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
    features = np.asarray(features, np.float32).reshape(len(labels), -1)
    on = FitDevice(device, features.size * num_classes)
    if labels.ndim == 2:
        return on.run(
            functools.partial(
                fit_findings,
                features,
                labels,
                sample_weight=sample_weight,
                validation_split=validation_split,
                seed=seed,
                groups=groups,
            )
        )
    check_two_classes(labels)
    weight = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, float)
    folds = draw_folds(labels, weight, validation_split, seed, groups, few=few)
    return on.run(functools.partial(_fitted, features, labels, weight, folds, num_classes, ordinal))


def _fitted(
    features: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    folds: list[Fold],
    num_classes: int,
    ordinal: bool,
    products: Products,
) -> MapFit:
    # Training rows first, then validation rows: both are views of the same memory.
    order = training_first(*folds[0], len(labels)) if len(folds) == 1 else np.arange(len(labels))
    axes, rows = PrincipalAxes.fit(features, order, products)
    labels, weight = labels[order], weight[order]
    spread = np.sqrt(np.einsum("ij,ij->j", rows, rows, dtype=np.float64) / len(rows))
    problem = LogisticProblem(rows, labels, weight, products)
    power, regularization, accuracy, start = SPREAD_POWERS[0], DEFAULT_REGULARIZATION, None, None
    found, degree = None, None
    if folds:
        parts = _in_order(folds)
        judges = [FitPart.of(rows, labels, weight, *part, products) for part in parts]
        degrees = _degrees(labels[parts[0][0]]) if ordinal else ()
        trials = [choose_penalty(judges, spread, one) for one in (None, *degrees)]
        best = min(trials, key=lambda trial: trial.loss)
        degree = best.degree
        power, regularization, accuracy = best.power, best.regularization, best.accuracy
        start = best.solutions[0]
        held_out = [part for _, part in parts]
        found = HeldOut(
            np.concatenate(
                [
                    log_probabilities(solution, rows[part], num_classes)
                    for solution, part in zip(best.solutions, held_out, strict=True)
                ]
            ),
            np.concatenate([labels[part] for part in held_out]),
            np.concatenate([weight[part] for part in held_out]),
            np.concatenate([order[part] for part in held_out]),
        )
    solution = problem.solve(
        regularization, penalty=axis_penalties(spread, power), start=start, degree=degree
    )
    kernel, bias = axes.affine(*all_classes(solution, num_classes))
    return MapFit(
        kernel.astype(np.float32),
        bias.astype(np.float32),
        regularization,
        power,
        accuracy,
        ordinal=degree is not None,
        held_out=found,
    )


def _degrees(labels: np.ndarray) -> tuple[int, ...]:
    """Degrees of polynomials of the grade that are less than all freedom."""
    return tuple(one for one in _DEGREES if one < len(np.unique(labels)) - 1)


Rows = slice | np.ndarray


def _in_order(folds: list[Fold]) -> list[tuple[Rows, Rows]]:
    """The rows of each fold; slices of a single one, whose rows come first."""
    if len(folds) > 1:
        return list(folds)
    train, held_out = (len(part) for part in folds[0])
    return [(slice(train), slice(train, train + held_out))]


@dataclass(frozen=True, eq=False)
class FitPart:
    """A problem of training rows, and the held-out rows that judge its solutions."""

    problem: LogisticProblem
    rows: np.ndarray
    labels: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        labels: np.ndarray,
        weight: np.ndarray,
        train: Rows,
        held_out: Rows,
        products: Products = NUMPY,
    ) -> FitPart:
        """From all rows, and which of them are trained on and held out.

        Labels may be soft, `(n, K)`; on the held-out rows the most probable class counts.
        """
        problem = LogisticProblem(rows[train], labels[train], weight[train], products)
        truth = labels[held_out] if labels.ndim == 1 else labels[held_out].argmax(axis=1)
        return cls(problem, rows[held_out], truth, weight[held_out])

    def judge(self, solution: LogisticSolution) -> tuple[np.ndarray, np.ndarray]:
        """Cross-entropy of each held-out row, and whether it is read right."""
        probabilities = solution.probabilities(self.rows)
        hits = solution.classes[probabilities.argmax(axis=1)] == self.labels
        return _cross_entropies(probabilities, solution.classes, self.labels), hits


@dataclass(frozen=True, eq=False)
class PenaltyTrial:
    """A power and a C, tried on what each part holds out."""

    loss: float
    accuracy: float
    power: float
    regularization: float
    solutions: tuple[LogisticSolution, ...]
    degree: int | None = None

    def moved_on(self, before: PenaltyTrial) -> tuple[LogisticSolution, ...]:
        """Where the minima will about be if they move on as they did since the trial before."""
        return tuple(map(_moved_on, self.solutions, before.solutions))


def _moved_on(now: LogisticSolution, then: LogisticSolution) -> LogisticSolution:
    kernel = now.kernel + MOMENTUM * (now.kernel - then.kernel)
    bias = now.bias + MOMENTUM * (now.bias - then.bias)
    return replace(now, kernel=kernel, bias=bias)


def choose_penalty(
    parts: list[FitPart], spread: np.ndarray, degree: int | None = None
) -> PenaltyTrial:
    """The power and the C with the lowest loss on the rows that the parts hold out."""
    weight = np.concatenate([part.weight for part in parts])
    share = weight if weight.any() else None

    def trial(power: float, index: int, starts: Starts) -> PenaltyTrial:
        solutions = tuple(
            part.problem.solve(
                REGULARIZATIONS[index],
                penalty=axis_penalties(spread, power),
                start=start,
                tolerance=ROUGH,
                degree=degree,
            )
            for part, start in zip(parts, starts or [None] * len(parts), strict=True)
        )
        judged = [part.judge(found) for part, found in zip(parts, solutions, strict=True)]
        loss, accuracy = (
            float(np.average(np.concatenate(each), weights=share))
            for each in zip(*judged, strict=True)
        )
        return PenaltyTrial(loss, accuracy, power, REGULARIZATIONS[index], solutions, degree)

    best: list[PenaltyTrial] = []
    for power in SPREAD_POWERS:
        # The best C of one power is close to that of another, and so is the minimum.
        first = best[-1].regularization if best else FIRST_REGULARIZATION
        start = best[-1].solutions if best else None
        index = REGULARIZATIONS.index(first)
        best.append(_climb(functools.partial(trial, power), index, start))
    return min(best, key=lambda found: found.loss)


Starts = tuple[LogisticSolution, ...] | None


def _climb(
    trial: Callable[[int, Starts], PenaltyTrial],
    index: int,
    start: Starts,
) -> PenaltyTrial:
    """The best trial, from a value of C upwards, or downwards where that does not help."""
    first = trial(index, start)
    for step in (1, -1):
        trials = [first]
        while 0 <= index + step * len(trials) < len(REGULARIZATIONS):
            near = trials[-1].moved_on(trials[-2]) if len(trials) > 1 else first.solutions
            trials.append(trial(index + step * len(trials), near))
            losses = [tried.loss for tried in trials]
            clearly_worse = losses[-1] > (1 + CLEARLY_WORSE) * min(losses)
            if clearly_worse or min(losses[-PATIENCE:]) > min(losses):
                break
        best = min(trials, key=lambda found: found.loss)
        if best is not first:
            return best
    return first


def _cross_entropies(
    probabilities: np.ndarray, classes: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Of labels that are all among the sorted classes, `(n,)`."""
    # What scikit-learn's `log_loss` averages, whose checks take longer than the fits between them.
    own = probabilities[np.arange(len(labels)), np.searchsorted(classes, labels)]
    smallest = np.finfo(own.dtype).eps
    return -np.log(np.clip(own, smallest, 1 - smallest))


def log_probabilities(solution: LogisticSolution, rows: np.ndarray, num_classes: int) -> np.ndarray:
    """Log-probabilities `(n, K)` of all classes, also of those without a row."""
    logs = np.full((len(rows), num_classes), ABSENT_LOGIT)
    own = np.maximum(solution.probabilities(rows), np.exp(ABSENT_LOGIT))
    logs[:, solution.classes] = np.log(own)
    return logs


def all_classes(solution: LogisticSolution, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel `(d, K)` and bias `(K,)` of all classes, also of those without a row."""
    all_kernel = np.zeros((len(solution.kernel), num_classes))
    all_bias = np.full(num_classes, ABSENT_LOGIT)
    all_kernel[:, solution.classes] = solution.kernel
    all_bias[solution.classes] = solution.bias
    return all_kernel, all_bias
