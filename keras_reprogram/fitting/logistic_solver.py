"""Multinomial logistic regression, solved to convergence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from keras_reprogram.fitting.products import NUMPY, Products
from keras_reprogram.fitting.row_losses import RowLosses, softmax
from keras_reprogram.fitting.threads import one_thread

# Where the gradient of the mean loss, in preconditioned unknowns, counts as zero. The Hessian is
# nearly the identity there, so the objective is within about 1e-8 of its minimum.
TOLERANCE = 1e-4
_MEMORY = 10
_MAX_ITERATIONS = 2_000
# So many times the tolerance is worth a warning: the objective is then off by 1e-6 or more.
FAR = 10
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
            return softmax(rows @ kernel + bias)[0]


class LogisticProblem:
    """Rows `(n, d)` with labels and weights `(n,)`, for fits at several regularisations.

    Labels may also be soft, rows `(n, K)` of probabilities: then the cross-entropy of a row is
    `-sum_k label_k log p_k`, and classes without any probability are left out.

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

    def __init__(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        weight: np.ndarray,
        products: Products = NUMPY,
    ) -> None:
        self.products = products
        self.rows = rows.astype(np.float32, copy=False)
        # Numbers of classes `(n,)`, or probabilities `(n, K)`.
        self.targets: np.ndarray
        if labels.ndim == 2:
            self.classes = np.flatnonzero(weight @ labels)
            self.targets = labels[:, self.classes].astype(np.float32, copy=False)
        else:
            self.classes, self.targets = np.unique(labels, return_inverse=True)
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
        degree: int | None = None,
    ) -> LogisticSolution:
        """The minimum at C, sought from a start or from zero.

        With a `degree` the classes are grades, see `grade_directions`: a column's weights of all
        classes are a polynomial of the grade, of that degree.
        """
        num_classes = len(self.classes)
        factor = (2.0 if num_classes == 2 else 1.0) / (regularization * self.total)
        penalties = factor * np.broadcast_to(penalty, len(self.variances))[:, None]
        weights = self._weights(start)
        iterations = 0
        with self.products.softmax_losses(
            self._held, self.targets, self.share, num_classes
        ) as losses:
            doubt, along = self._doubt(losses, None if start is None else weights)
            steep, within = doubt, along
            if degree is not None:
                steep, within = _restricted(doubt, along, grade_directions(self.classes, degree))
            curvature = penalties + self.variances[:, None] * steep
            scale = _Sides(1 / np.sqrt(curvature), 1 / np.sqrt(doubt))
            turn = _Sides(within, along)
            # Products are taken in float32, as the features are, and again in float64 where that
            # leaves the gradient above the tolerance.
            for precision in (np.float32, np.float64):
                found = lbfgs(
                    _Objective(losses.in_precision(precision)).preconditioned,
                    _flat(weights[:-1] @ within / scale.kernel, weights[-1] @ along / scale.bias),
                    (penalties, scale, turn),
                    tolerance,
                )
                weights = _weights_of(found.x, scale, turn)
                gradient = float(np.abs(found.jac).max())
                iterations += int(found.nit)
                if gradient <= tolerance:
                    break
        if gradient > FAR * tolerance:
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

    @cached_property
    def _held(self) -> Any:
        return self.products.hold(self.rows)

    def _doubt(
        self, losses: RowLosses, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues `(K,)` and eigenvectors `(K, K)` of the mean of `diag(p) - p p^T`."""
        if weights is None:
            soft = self.targets.ndim == 2
            often = self.share @ self.targets if soft else np.bincount(self.targets, self.share)
            mean = np.diag(often) - np.outer(often, often)
        else:
            mean = losses.doubt(weights[:-1], weights[-1])
        doubt, along = np.linalg.eigh(mean)
        # A number that is added to all classes changes nothing: the first eigenvalue is zero.
        return np.maximum(doubt, max(doubt[1], _SMALLEST_DOUBT)), along


def lbfgs(objective: Callable[..., Any], start: np.ndarray, given: tuple, tolerance: float) -> Any:
    """SciPy's L-BFGS-B until the largest entry of the gradient is below the tolerance.

    Args:
        objective: `(unknowns, *given)` -> value and gradient.
        start: unknowns.
        given: what else the objective takes.
        tolerance: see `TOLERANCE`.

    Returns:
        SciPy's `OptimizeResult`.
    """
    return minimize(
        objective,
        start,
        given,
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


class _Sides(NamedTuple):
    """What is done to a kernel `(d, r)`, and what to a bias `(K,)`."""

    kernel: np.ndarray
    bias: np.ndarray


def _flat(kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return np.concatenate([kernel.ravel(), bias])


def _weights_of(unknowns: np.ndarray, scale: _Sides, turn: _Sides) -> np.ndarray:
    """Kernel and bias `(d + 1, K)` of the unknowns."""
    kernel, bias = np.split(unknowns, [scale.kernel.size])
    kernel = kernel.reshape(scale.kernel.shape)
    return np.vstack([(kernel * scale.kernel) @ turn.kernel.T, (bias * scale.bias) @ turn.bias.T])


def grade_directions(grades: np.ndarray, degree: int) -> np.ndarray:
    """Orthonormal polynomials of grades without the constant, `(K, degree)`.

    Degree 1 is the model of adjacent categories: with weights `w` of grade 0 to K - 1,
    `log p(k + 1) / p(k) = w x + b_k`, one vector `w` for every step from a grade to the next, as
    each grade is as far from the next one.

    References:
        Agresti, "Analysis of ordinal categorical data", 2nd edition 2010, section 4.1.
    """
    powers = np.vander(np.asarray(grades, float) - np.mean(grades), degree + 1, increasing=True)
    return np.linalg.qr(powers)[0][:, 1:]


def _restricted(
    doubt: np.ndarray, along: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `(r,)` and eigenvectors `(K, r)` of a matrix of classes on some directions."""
    within = directions.T @ along
    values, vectors = np.linalg.eigh((within * doubt) @ within.T)
    return np.maximum(values, _SMALLEST_DOUBT), directions @ vectors


@dataclass(frozen=True, eq=False)
class _Objective:
    """Value and gradient, divided by `C sum_i weight_i`; the last row of weights is the bias."""

    losses: RowLosses

    def preconditioned(
        self, unknowns: np.ndarray, penalties: np.ndarray, scale: _Sides, turn: _Sides
    ) -> tuple[float, np.ndarray]:
        weights = _weights_of(unknowns, scale, turn)
        kernel = weights[:-1]
        value, gradient = self.losses.mean(weights)
        value += np.vdot(penalties * kernel, kernel) / 2
        gradient[:-1] += penalties * kernel
        of_kernel = gradient[:-1] @ turn.kernel * scale.kernel
        return float(value), _flat(of_kernel, gradient[-1] @ turn.bias * scale.bias)
