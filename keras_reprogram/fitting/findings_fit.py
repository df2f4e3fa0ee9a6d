"""Exact fit of several findings an image: one binary logistic regression each, on shared axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from keras_reprogram.fitting.findings_solver import FindingsProblem, FindingsSolution
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
from keras_reprogram.fitting.principal_axes import PrincipalAxes
from keras_reprogram.fitting.products import Products
from keras_reprogram.fitting.validation import split_validation, strata

EVEN = 0.5
# Log-probabilities of a finding do not fall below this one's logarithm.
_SMALLEST = 1e-13


def fit_findings(
    features: np.ndarray,
    labels: np.ndarray,
    products: Products,
    *,
    sample_weight: np.ndarray | None,
    validation_split: float,
    seed: int,
    groups: np.ndarray | None,
) -> MapFit:
    """`fit_logistic_regression` for labels `(n, K)` of 0 and 1.

    A finding that all rows have, or none, becomes a constant: its share of rows, with one more of
    either side.
    """
    labels = _checked(labels)
    features = np.asarray(features, np.float32).reshape(len(labels), -1)
    weight = matrix_of(sample_weight, labels.shape)
    held_out = _held_out(labels, weight, validation_split, seed, groups)
    order = np.arange(len(labels)) if held_out is None else training_first(*held_out, len(labels))
    axes, rows = PrincipalAxes.fit(features, order, products)
    labels, weight = labels[order], weight[order]
    spread = np.sqrt(np.einsum("ij,ij->j", rows, rows, dtype=np.float64) / len(rows))
    choice = _Choice.default(spread, labels.shape[1], products)
    found = None
    if held_out is not None:
        num_train, num_validation = (len(part) for part in held_out)
        choice.search(rows, labels, weight, num_train, num_validation)
        validation = slice(num_train, num_train + num_validation)
        # What the fits on the training part alone say, before the last ones on all rows.
        found = _said(choice.solution(), rows[validation], labels[validation], weight[validation])
    kernel, bias = choice.solve_on_all(rows, labels, weight)
    kernel, bias = axes.affine(kernel, bias)
    return MapFit(
        kernel.astype(np.float32),
        bias.astype(np.float32),
        _median(choice.regularizations),
        _median(choice.powers),
        None if found is None else found.accuracy(),
        thresholds=thresholds_of(found, labels.shape[1]),
        regularizations=tuple(choice.regularizations.tolist()),
        spread_powers=tuple(choice.powers.tolist()),
        held_out=found,
    )


def _median(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.5, method="lower"))


def matrix_of(weight: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
    """Weights of images `(n,)`, of findings of images `(n, K)`, or `None`, as `(n, K)`."""
    if weight is None:
        return np.ones(shape)
    weight = np.asarray(weight, float)
    return np.array(np.broadcast_to(weight[:, None] if weight.ndim == 1 else weight, shape))


def best_thresholds(
    probabilities: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """The threshold of each finding with the highest F1, `(K,)`.

    Half way between two probabilities that occur. A finding that no image has, or all have, gets
    .5: there is nothing to choose by.

    Args:
        probabilities: `(n, K)`.
        labels: `(n, K)` of 0 and 1.
        weight: `(n,)` or `(n, K)`, or `None`.
    """
    weights = matrix_of(weight, labels.shape)
    return np.array(
        [
            _best_threshold(*columns)
            for columns in zip(probabilities.T, labels.T, weights.T, strict=True)
        ]
    )


def thresholds_of(held_out: HeldOut | None, num_findings: int) -> tuple[float, ...]:
    """Thresholds chosen on a validation part; .5 without one."""
    if held_out is None:
        return (EVEN,) * num_findings
    probabilities = np.exp(held_out.log_probabilities[:, 1]).reshape(-1, num_findings)
    labels, weight = (part.reshape(-1, num_findings) for part in (held_out.labels, held_out.weight))
    return tuple(best_thresholds(probabilities, labels, weight).tolist())


def _best_threshold(probabilities: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(-probabilities, kind="stable")
    ordered, positive = probabilities[order], (weight * labels)[order]
    total = positive.sum()
    if not total or total == weight.sum():
        return EVEN
    # F1 = 2 TP / (TP + FP + TP + FN), where the first `count` images are called positive.
    f1 = 2 * np.cumsum(positive) / (np.cumsum(weight[order]) + total)
    # Images of equal probability cannot be told apart.
    last = np.append(ordered[1:] < ordered[:-1], True)
    best = int(np.argmax(np.where(last, f1, -1.0)))
    below = ordered[best + 1] if best + 1 < len(ordered) else 0.0
    return float((ordered[best] + below) / 2)


def _checked(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(
            "Labels (n, K) of several findings must be 0 or 1. Received: "
            f"{labels[~np.isin(labels, (0, 1))][0]}. Pass integers (n,) for one class an image."
        )
    return labels.astype(np.int64)


def _held_out(
    labels: np.ndarray,
    weight: np.ndarray,
    validation_split: float,
    seed: int,
    groups: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray] | None:
    num_units = len(labels) if groups is None else len(np.unique(groups))
    if not validation_split or num_units <= len(np.unique(strata(labels))):
        return None
    train, validation = split_validation(labels, labels, validation_split, seed, groups)
    return (train, validation) if weight[train].any() and weight[validation].any() else None


def _said(
    solution: FindingsSolution, rows: np.ndarray, labels: np.ndarray, weight: np.ndarray
) -> HeldOut:
    """Each pair of an image and a finding as a row of two classes, image after image."""
    p = np.clip(expit(solution.log_odds(rows).astype(np.float64)), _SMALLEST, 1 - _SMALLEST)
    logs = np.stack([np.log1p(-p), np.log(p)], axis=-1)
    return HeldOut(logs.reshape(-1, 2), labels.ravel(), weight.ravel())


def _losses(log_odds: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean cross-entropy of each finding, `(K,)`."""
    each = np.logaddexp(0.0, log_odds) - labels * log_odds
    return np.einsum("nk,nk->k", weight, each) / np.maximum(weight.sum(axis=0), 1e-300)


@dataclass(eq=False)
class _Choice:
    """Power and C of each finding, and its fit on the training part."""

    spread: np.ndarray
    powers: np.ndarray
    regularizations: np.ndarray
    losses: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    products: Products

    @classmethod
    def default(cls, spread: np.ndarray, num_findings: int, products: Products) -> _Choice:
        """Of findings of which nothing can be held out."""
        return cls(
            spread,
            np.full(num_findings, SPREAD_POWERS[0]),
            np.full(num_findings, DEFAULT_REGULARIZATION),
            np.full(num_findings, np.inf),
            np.zeros((len(spread), num_findings)),
            np.zeros(num_findings),
            products,
        )

    def solution(self) -> FindingsSolution:
        """The chosen fits on the training part."""
        return FindingsSolution(self.kernel, self.bias)

    def search(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        weight: np.ndarray,
        num_train: int,
        num_validation: int,
    ) -> None:
        """Chooses by the loss on the validation rows, which follow the training rows."""
        train, validation = slice(0, num_train), slice(num_train, num_train + num_validation)
        self.bias[:] = _constant(labels[train], weight[train])
        told = _varies(labels[train], weight[train]) & weight[validation].any(axis=0)
        columns = np.flatnonzero(told)
        if not len(columns):
            return
        problem = FindingsProblem(rows[train], labels[train], weight[train] + ~told, self.products)
        trials = _Trials(problem, self.spread, rows[validation], labels[validation],
                         weight[validation])  # fmt: skip
        index = np.full(len(self.powers), REGULARIZATIONS.index(FIRST_REGULARIZATION))
        for power in SPREAD_POWERS:
            self._climb(trials, power, index, columns)
            # The best C of one power is close to that of another, and so is the minimum.
            index[columns] = [REGULARIZATIONS.index(c) for c in self.regularizations[columns]]

    def solve_on_all(
        self, rows: np.ndarray, labels: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias of the chosen settings, fitted on all rows."""
        columns = np.flatnonzero(_varies(labels, weight))
        kernel, bias = np.zeros_like(self.kernel), _constant(labels, weight)
        if len(columns):
            problem = FindingsProblem(rows, labels[:, columns], weight[:, columns], self.products)
            penalty = np.stack([axis_penalties(self.spread, self.powers[k]) for k in columns], 1)
            found = problem.solve(
                self.regularizations[columns],
                penalty=penalty,
                start=self.solution().take(columns),
            )
            kernel[:, columns], bias[columns] = found.kernel, found.bias
        return kernel, bias

    def _climb(self, trials: _Trials, power: float, first: np.ndarray, columns: np.ndarray) -> None:
        """The best C of each finding: upwards from the first, or downwards where that is worse.

        All findings climb at once, each on its own ladder, and leave when their loss has risen.
        """
        start = self.solution().take(columns) if np.isfinite(self.losses[columns]).all() else None
        losses, fitted = trials.of(power, first[columns], columns, start)
        begun, best_below = losses.copy(), losses.copy()
        self._keep(power, first[columns], columns, losses, fitted)
        for step in (1, -1):
            # Downwards only those that found nothing better above.
            going = np.arange(len(columns)) if step == 1 else np.flatnonzero(best_below == begun)
            steps, lowest, worse = 0, begun.copy(), np.zeros(len(columns), int)
            now, before = fitted, None
            kept = np.arange(len(columns))
            while True:
                steps += 1
                index = first[columns[going]] + step * steps
                going = going[(index >= 0) & (index < len(REGULARIZATIONS))]
                if not len(going):
                    break
                index = first[columns[going]] + step * steps
                near = _moved_on(now, before, np.searchsorted(kept, going))
                losses, found = trials.of(power, index, columns[going], near)
                self._keep(power, index, columns[going], losses, found)
                # The starts of the next trials: of those that go on, now and before.
                before = now.take(np.searchsorted(kept, going))
                now, kept = found, going
                rises = losses > lowest[going]
                worse[going] = np.where(rises, worse[going] + 1, 0)
                clearly = losses > (1 + CLEARLY_WORSE) * lowest[going]
                lowest[going] = np.minimum(lowest[going], losses)
                if step == 1:
                    best_below[going] = lowest[going]
                going = going[~clearly & (worse[going] < PATIENCE)]
                if not len(going):
                    break

    def _keep(
        self,
        power: float,
        index: np.ndarray,
        columns: np.ndarray,
        losses: np.ndarray,
        found: FindingsSolution,
    ) -> None:
        better = losses < self.losses[columns]
        chosen = columns[better]
        self.powers[chosen], self.losses[chosen] = power, losses[better]
        self.regularizations[chosen] = np.asarray(REGULARIZATIONS)[index[better]]
        self.kernel[:, chosen] = found.kernel[:, better]
        self.bias[chosen] = found.bias[better]


@dataclass(frozen=True, eq=False)
class _Trials:
    """Fits on the training rows, and their losses on the validation rows."""

    problem: FindingsProblem
    spread: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    weight: np.ndarray

    def of(
        self,
        power: float,
        index: np.ndarray,
        columns: np.ndarray,
        start: FindingsSolution | None,
    ) -> tuple[np.ndarray, FindingsSolution]:
        """Losses `(k,)` and fits of some findings, at a C each."""
        penalty = np.repeat(axis_penalties(self.spread, power)[:, None], len(columns), axis=1)
        found = self.problem.solve(
            np.asarray(REGULARIZATIONS)[index],
            penalty=penalty,
            columns=columns,
            start=start,
            tolerance=ROUGH,
        )
        log_odds = found.log_odds(self.rows).astype(np.float64)
        return _losses(log_odds, self.labels[:, columns], self.weight[:, columns]), found


def _moved_on(
    now: FindingsSolution, before: FindingsSolution | None, columns: np.ndarray
) -> FindingsSolution:
    """Where the minima will about be if they move on as they did since the trial before."""
    here = now.take(columns)
    if before is None:
        return here
    then = before.take(columns)
    return FindingsSolution(
        here.kernel + MOMENTUM * (here.kernel - then.kernel),
        here.bias + MOMENTUM * (here.bias - then.bias),
    )


def _varies(labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Findings that some rows have and some have not, among rows that count, `(K,)`."""
    counts = weight > 0
    return (counts & (labels == 1)).any(axis=0) & (counts & (labels == 0)).any(axis=0)


def _constant(labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Log-odds of the share of rows with each finding, one more row on either side, `(K,)`."""
    with_it = np.einsum("nk,nk->k", weight, labels) + 1
    return np.log(with_it) - np.log(np.einsum("nk,nk->k", weight, 1 - labels) + 1)
