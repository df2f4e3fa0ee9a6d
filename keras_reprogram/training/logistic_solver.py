"""Multinomial logistic regression, solved to the minimum of its objective."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

# Where the gradient of the mean loss, in preconditioned unknowns, counts as zero. The Hessian is
# nearly the identity there, so the objective is within about 1e-8 of its minimum.
TOLERANCE = 1e-4
_MEMORY = 20
_MAX_ITERATIONS = 2_000
# A class's cross-entropy curves along its logit by p (1 - p) <= 1/4, two classes together by 1/2.
_CURVATURE = 0.5


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
        return _softmax(_product(rows, self.kernel) + self.bias)[0]


def solve_logistic(
    rows: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    regularization: float,
    *,
    start: LogisticSolution | None = None,
    tolerance: float = TOLERANCE,
) -> LogisticSolution:
    """The minimum of `q / 2 ||kernel||^2 + C sum_i weight_i cross_entropy_i`.

    q is 1, and 2 with two classes, where that is the objective of a single weight vector. The
    bias is free. The columns of `rows` should be nearly uncorrelated, as along principal axes:
    then the Hessian is nearly diagonal, `q / (C n) + s_i^2 / 2` for a column of spread s_i (as a
    mean over n rows). L-BFGS on the unknowns v, `kernel_i = v_i / sqrt(q / (C n) + s_i^2 / 2)`,
    sees nearly the identity, and takes tens of steps where spreads of several thousands to one
    need thousands. Products are taken in float32, as the features are, and again in float64 where
    that leaves the gradient above the tolerance.

    Args:
        rows: `(n, d)`, centred, along principal axes.
        labels: `(n,)`, two classes or more.
        weight: `(n,)` non-negative, not all zero.
        regularization: C.
        start: a solution for the same columns to start from, say at a neighbouring C.
        tolerance: for the gradient of the objective over `C sum_i weight_i`, in v.

    Returns:
        The solution.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    share = weight / weight.sum()
    penalty = (2.0 if len(classes) == 2 else 1.0) / (regularization * weight.sum())
    spread = np.sqrt(share @ np.square(rows, dtype=np.float64))
    scale = np.append(1 / np.sqrt(penalty + _CURVATURE * spread**2), 1 / np.sqrt(_CURVATURE))
    unknowns = _unknowns(start, classes, scale)
    iterations = 0
    # Products this small cost less than waking threads for them: on a busy machine one thread is
    # eighty times faster than two.
    with threadpool_limits(1):
        for precision in (np.float32, np.float64):
            objective = _Objective(rows.astype(precision), codes, share, penalty, scale)
            found = minimize(
                objective,
                unknowns,
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
            unknowns, gradient = found.x, float(np.abs(found.jac).max())
            iterations += int(found.nit)
            if gradient <= tolerance:
                break
    solution = unknowns.reshape(-1, len(classes)) * scale[:, None]
    return LogisticSolution(classes, solution[:-1], solution[-1], gradient, iterations)


class _Objective:
    """Value and gradient in v, divided by `C sum_i weight_i`."""

    def __init__(
        self,
        rows: np.ndarray,
        codes: np.ndarray,
        share: np.ndarray,
        penalty: float,
        scale: np.ndarray,
    ) -> None:
        self.rows, self.codes, self.share = rows, codes, share
        self.penalty, self.scale = penalty, scale[:, None]
        self.all_rows = np.arange(len(rows))

    def __call__(self, unknowns: np.ndarray) -> tuple[float, np.ndarray]:
        weights = unknowns.reshape(len(self.scale), -1) * self.scale
        kernel, bias = weights[:-1], weights[-1]
        logits = self.rows @ kernel.astype(self.rows.dtype) + bias.astype(self.rows.dtype)
        errors, log_norm = _softmax(logits)
        own = logits[self.all_rows, self.codes].astype(np.float64)
        value = self.share @ (log_norm - own) + self.penalty / 2 * np.vdot(kernel, kernel)
        errors[self.all_rows, self.codes] -= 1
        errors *= self.share[:, None].astype(errors.dtype)
        gradient = np.empty_like(weights)
        gradient[:-1] = self.rows.T @ errors
        gradient[:-1] += self.penalty * kernel
        gradient[-1] = errors.sum(axis=0, dtype=np.float64)
        return float(value), (gradient * self.scale).ravel()


def _unknowns(start: LogisticSolution | None, classes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    unknowns = np.zeros((len(scale), len(classes)))
    if start is not None:
        _, own, theirs = np.intersect1d(classes, start.classes, return_indices=True)
        unknowns[:-1, own] = start.kernel[:, theirs]
        unknowns[-1, own] = start.bias[theirs]
        unknowns /= scale[:, None]
    return unknowns.ravel()


def _softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities `(n, K)`, and the logarithm of their norm `(n,)` in float64."""
    largest = logits.max(axis=1, keepdims=True)
    exponents = np.exp(logits - largest)
    norm = exponents.sum(axis=1, keepdims=True)
    exponents /= norm
    return exponents, (np.log(norm) + largest)[:, 0].astype(np.float64)


def _product(rows: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    with threadpool_limits(1):
        return rows @ kernel
