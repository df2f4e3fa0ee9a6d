"""Multinomial logistic regression, solved to convergence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import minimize

from keras_reprogram.fitting.threads import one_thread, threads_for

# Where the gradient of the mean loss, in preconditioned unknowns, counts as zero. The Hessian is
# nearly the identity there, so the objective is within about 1e-8 of its minimum.
TOLERANCE = 1e-4
_MEMORY = 10
_MAX_ITERATIONS = 2_000
# So many times the tolerance is worth a warning: the objective is then off by 1e-6 or more.
_FAR = 10
# A class that is hardly ever in doubt is taken to curve the loss by no less than this.
_SMALLEST_DOUBT = 1e-6
# Squares of all rows at once would take as much memory as the rows.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class LogisticSolution:
    """`softmax(rows @ kernel + bias)` over the classes that have rows.

    Args:
        classes: `(K,)` sorted labels.
        kernel: `(d, K)`.
        bias: `(K,)`.
        gradient: largest absolute entry of the objective's gradient where the solver ended; see
            `TOLERANCE`.
        iterations: of L-BFGS.
    """

    classes: np.ndarray
    kernel: np.ndarray = field(repr=False)
    bias: np.ndarray = field(repr=False)
    gradient: float
    iterations: int

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities `(n, K)` of rows `(n, d)`."""
        kernel, bias = self.kernel.astype(rows.dtype), self.bias.astype(rows.dtype)
        with one_thread():
            return _softmax(rows @ kernel + bias)[0]


class LogisticProblem:
    """Rows `(n, d)` with labels and weights `(n,)`, for fits at several regularisations.

    `solve` finds the minimum of `q / 2 sum_ik penalty_i kernel_ik^2 + C sum_i weight_i
    cross_entropy_i`. q is 1, and 2 with two classes, where that is the objective of a single weight
    vector. The bias is free.
    """

    # The columns of the rows should be nearly uncorrelated, as along principal axes. Then the
    # Hessian nearly is, for each column of spread s_i (as a mean over n rows) by itself, the matrix
    # of classes `q penalty_i / (C n) + s_i^2 M`, M being the mean of `diag(p) - p p^T`. Along the
    # eigenvectors of M it is diagonal, and L-BFGS on unknowns that are the weights there times the
    # root of it sees nearly the identity: it takes tens of steps where spreads of several
    # thousands to one need thousands.

    def __init__(self, rows: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> None:
        self.rows = rows.astype(np.float32, copy=False)
        self.classes, self.codes = np.unique(labels, return_inverse=True)
        self.total, self.share = float(weight.sum()), weight / weight.sum()
        self.variances = np.zeros(rows.shape[1])
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            self.variances += self.share[part] @ np.square(self.rows[part])

    def solve(
        self,
        regularization: float,
        *,
        penalty: np.ndarray | float = 1.0,
        start: LogisticSolution | None = None,
        tolerance: float = TOLERANCE,
    ) -> LogisticSolution:
        """The minimum at C, sought from a start or from zero."""
        num_classes = len(self.classes)
        factor = (2.0 if num_classes == 2 else 1.0) / (regularization * self.total)
        penalties = factor * np.broadcast_to(penalty, len(self.variances))[:, None]
        weights = self._weights(start)
        iterations = 0
        with threads_for(self.rows.size * num_classes) as (num_parts, run):
            bounds = np.linspace(0, len(self.rows), num_parts + 1).astype(int)
            parts = [slice(*pair) for pair in pairwise(bounds)]
            doubt, along = self._doubt(parts, run, None if start is None else weights)
            curvature = penalties + self.variances[:, None] * doubt
            scale = 1 / np.sqrt(np.vstack([curvature, doubt]))
            # Products are taken in float32, as the features are, and again in float64 where that
            # leaves the gradient above the tolerance.
            for precision in (np.float32, np.float64):
                objective = _Objective(
                    self.rows.astype(precision, copy=False), self.codes, self.share, parts, run
                )
                found = minimize(
                    objective.preconditioned,
                    (weights @ along / scale).ravel(),
                    (penalties, scale, along),
                    jac=True,
                    method="L-BFGS-B",
                    # The gradient alone ends it: the loss cannot be told apart long before.
                    options={
                        "maxcor": _MEMORY,
                        "gtol": tolerance,
                        "ftol": 0.0,
                        "maxiter": _MAX_ITERATIONS,
                        "maxfun": 2 * _MAX_ITERATIONS,
                    },
                )
                weights = (found.x.reshape(scale.shape) * scale) @ along.T
                gradient = float(np.abs(found.jac).max())
                iterations += int(found.nit)
                if gradient <= tolerance:
                    break
        if gradient > _FAR * tolerance:
            warnings.warn(
                f"The exact fit at C = {regularization:g} ended after {iterations} iterations "
                f"before its minimum: expected a gradient below {tolerance:g}. "
                f"Received: {gradient:.1e}. Features of very different scales cause this: scale "
                "them, or use a smaller C.",
                stacklevel=2,
            )
        return LogisticSolution(self.classes, weights[:-1], weights[-1], gradient, iterations)

    def _weights(self, start: LogisticSolution | None) -> np.ndarray:
        """Kernel and bias of a start, zero where it has none, `(d + 1, K)`."""
        weights = np.zeros((len(self.variances) + 1, len(self.classes)))
        if start is not None:
            _, own, theirs = np.intersect1d(self.classes, start.classes, return_indices=True)
            weights[:-1, own] = start.kernel[:, theirs]
            weights[-1, own] = start.bias[theirs]
        return weights

    def _doubt(
        self, parts: list[slice], run: Callable[..., Any], weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues `(K,)` and eigenvectors `(K, K)` of the mean of `diag(p) - p p^T`."""
        if weights is None:
            often = np.bincount(self.codes, self.share)
            both = np.outer(often, often)
        else:
            small = weights.astype(self.rows.dtype)

            def of(part: slice) -> tuple[np.ndarray, np.ndarray]:
                p, _ = _softmax(self.rows[part] @ small[:-1] + small[-1])
                weighted = p.T * self.share[part]
                return weighted.sum(axis=1), weighted @ p

            found = list(run(of, parts))
            often = np.sum([each for each, _ in found], axis=0)
            both = np.sum([each for _, each in found], axis=0)
        doubt, along = np.linalg.eigh(np.diag(often) - both)
        # A number that is added to all classes changes nothing: the first eigenvalue is zero.
        return np.maximum(doubt, max(doubt[1], _SMALLEST_DOUBT)), along


@dataclass(frozen=True, eq=False)
class _Objective:
    """Value and gradient, divided by `C sum_i weight_i`; the last row of weights is the bias."""

    rows: np.ndarray
    codes: np.ndarray
    share: np.ndarray
    parts: list[slice]
    run: Callable[..., Any]

    def preconditioned(
        self, unknowns: np.ndarray, penalties: np.ndarray, scale: np.ndarray, along: np.ndarray
    ) -> tuple[float, np.ndarray]:
        weights = (unknowns.reshape(scale.shape) * scale) @ along.T
        kernel, small = weights[:-1], weights.astype(self.rows.dtype)
        found = list(self.run(lambda part: self._of(part, small), self.parts))
        value = sum(loss for loss, _ in found) + np.vdot(penalties * kernel, kernel) / 2
        gradient = np.zeros(scale.shape)
        for _, slope in found:
            gradient += slope
        gradient[:-1] += penalties * kernel
        return float(value), (gradient @ along * scale).ravel()

    def _of(self, part: slice, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean cross-entropy of a part of the rows, and its gradient."""
        rows, codes, share = self.rows[part], self.codes[part], self.share[part]
        logits = rows @ weights[:-1] + weights[-1]
        errors, log_norm = _softmax(logits)
        each = np.arange(len(rows))
        loss = share @ (log_norm - logits[each, codes].astype(np.float64))
        errors[each, codes] -= 1
        errors *= share[:, None].astype(errors.dtype)
        return loss, np.vstack([rows.T @ errors, errors.sum(axis=0, keepdims=True)])


def _softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities `(n, K)`, and the logarithm of their norm `(n,)` in float64."""
    largest = logits.max(axis=1, keepdims=True)
    exponents = np.exp(logits - largest)
    norm = exponents.sum(axis=1, keepdims=True)
    exponents /= norm
    return exponents, (np.log(norm) + largest)[:, 0].astype(np.float64)
