"""Logistic regressions of several findings on the same rows, all solved to convergence at once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from keras_reprogram.fitting.logistic_solver import FAR, TOLERANCE, lbfgs
from keras_reprogram.fitting.products import NUMPY, Products
from keras_reprogram.fitting.row_losses import RowLosses
from keras_reprogram.fitting.threads import one_thread

# A finding that is hardly ever in doubt is taken to curve the loss by no less than this.
_SMALLEST_DOUBT = 1e-6
# A finding that is told apart nearly surely curves the loss far less at its minimum than where the
# search began; there the same gradient is further from the minimum, so that it goes on from there.
_MUCH_LESS_DOUBT = 0.25
_ROUNDS = 4
# An objective is at least as large as the doubt at its minimum. Where there is less than this, the
# objective counts for more, so that the same gradient ends the search at the same relative excess.
_LITTLE_DOUBT = 0.1
# Squares of all rows at once would take as much memory as the rows.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class FindingsSolution:
    """`sigmoid(rows @ kernel + bias)`, a column for each finding.

    Args:
        kernel: `(d, K)`.
        bias: `(K,)`.
        gradient: largest absolute entry of the objectives' gradients where the solver ended.
        iterations: of L-BFGS.
    """

    kernel: np.ndarray = field(repr=False)
    bias: np.ndarray = field(repr=False)
    gradient: float = 0.0
    iterations: int = 0

    def log_odds(self, rows: np.ndarray) -> np.ndarray:
        """Log-odds `(n, K)` of rows `(n, d)`."""
        kernel, bias = self.kernel.astype(rows.dtype), self.bias.astype(rows.dtype)
        with one_thread():
            return rows @ kernel + bias

    def take(self, columns: np.ndarray) -> FindingsSolution:
        """Some of the findings."""
        return FindingsSolution(
            self.kernel[:, columns], self.bias[columns], self.gradient, self.iterations
        )


class FindingsProblem:
    """Rows `(n, d)` with labels 0 or 1 and weights, both `(n, K)`, for fits at several settings.

    `solve` finds, for each finding k, the minimum of `sum_i penalty_ik kernel_ik^2 / 2 + C_k
    sum_i weight_ik cross_entropy_ik`, the bias being free: K binary logistic regressions.
    """

    # The objectives have no unknown in common, so that the minimum of their sum is the minimum of
    # each. Solved together they share every pass over the rows, which is where the time goes: K
    # columns are one product of matrices. Unknowns are scaled by the root of their own curvature,
    # `penalty / (C n) + s^2 p (1 - p)` along principal axes of spread s, so that the sum looks
    # like the identity to L-BFGS, however rare a finding is (see `LogisticProblem`).

    def __init__(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        weight: np.ndarray,
        products: Products = NUMPY,
    ) -> None:
        self.products = products
        self.rows = rows.astype(np.float32, copy=False)
        self.labels = labels.astype(np.float32)
        self.total = weight.sum(axis=0)
        self.share = weight / self.total
        self.variances = np.zeros((rows.shape[1], labels.shape[1]))
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            self.variances += np.square(self.rows[part]).T @ self.share[part]

    def solve(
        self,
        regularization: np.ndarray,
        *,
        penalty: np.ndarray,
        columns: np.ndarray | None = None,
        start: FindingsSolution | None = None,
        tolerance: float = TOLERANCE,
    ) -> FindingsSolution:
        """The minima of some findings (`columns`), sought from a start or from zero.

        Args:
            regularization: C, `(k,)`, one a column.
            penalty: `(d, k)`.
            columns: which findings; `None` for all.
            start: of these columns.
            tolerance: see `TOLERANCE`; a rougher one ends the search after its first round.
        """
        chosen = np.arange(len(self.total)) if columns is None else columns
        penalties = penalty / (regularization * self.total[chosen])
        weights = np.zeros((len(self.variances) + 1, len(chosen)))
        doubt = self._doubt_by_share(chosen)
        if start is not None:
            weights[:-1], weights[-1] = start.kernel, start.bias
            doubt = self._doubt(chosen, weights)
        gradients, iterations = np.zeros(len(chosen)), 0
        going = np.arange(len(chosen))
        for _ in range(_ROUNDS):
            found = self._minimum(
                chosen[going], penalties[:, going], weights[:, going], doubt, tolerance
            )
            weights[:, going], gradients[going] = found.weights, found.gradients
            iterations += found.iterations
            if tolerance > TOLERANCE:
                break
            before, doubt = doubt, self._doubt(chosen[going], weights[:, going])
            less = doubt < _MUCH_LESS_DOUBT * before
            going, doubt = going[less], doubt[less]
            if not len(going):
                break
        gradient = float(gradients.max())
        if gradient > FAR * tolerance:
            warnings.warn(
                f"The exact fit of {len(chosen)} findings ended after {iterations} iterations "
                f"before its minimum: expected a gradient below {tolerance:g}. Received: "
                f"{gradient:.1e}. Features of very different scales cause this: scale them.",
                stacklevel=2,
            )
        return FindingsSolution(weights[:-1], weights[-1], gradient, iterations)

    @cached_property
    def _held(self) -> Any:
        return self.products.hold(self.rows)

    def _minimum(
        self,
        chosen: np.ndarray,
        penalties: np.ndarray,
        weights: np.ndarray,
        doubt: np.ndarray,
        tolerance: float,
    ) -> _Minimum:
        """Of some findings, from weights `(d + 1, k)` on, with unknowns for a doubt `(k,)`."""
        emphasis = np.maximum(1.0, _LITTLE_DOUBT / doubt) if tolerance <= TOLERANCE else 1.0
        labels, share = self.labels[:, chosen], self.share[:, chosen] * emphasis
        curvature = np.vstack([penalties + self.variances[:, chosen] * doubt, doubt])
        scale = 1 / np.sqrt(emphasis * curvature)
        iterations = 0
        with self.products.sigmoid_losses(self._held, labels, share) as losses:
            # As in `LogisticProblem`: in float32, and in float64 where that is not enough.
            for precision in (np.float32, np.float64):
                found = lbfgs(
                    _Objective(losses.in_precision(precision)).preconditioned,
                    (weights / scale).ravel(),
                    (emphasis * penalties, scale),
                    tolerance,
                )
                weights = found.x.reshape(scale.shape) * scale
                gradients = np.abs(found.jac).reshape(scale.shape).max(axis=0)
                iterations += int(found.nit)
                if gradients.max() <= tolerance:
                    break
        return _Minimum(weights, gradients, iterations)

    def _doubt_by_share(self, chosen: np.ndarray) -> np.ndarray:
        """As `_doubt`, where nothing but the share of rows with a finding is known."""
        often = np.einsum("nk,nk->k", self.share[:, chosen], self.labels[:, chosen])
        return np.maximum(often * (1 - often), _SMALLEST_DOUBT)

    def _doubt(self, chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Mean of `p (1 - p)` of each finding, `(k,)`."""
        labels, share = self.labels[:, chosen], self.share[:, chosen]
        with self.products.sigmoid_losses(self._held, labels, share) as losses:
            return np.maximum(losses.doubt(weights[:-1], weights[-1]), _SMALLEST_DOUBT)


class _Minimum(NamedTuple):
    """Where a search ended: weights `(d + 1, k)`, largest gradients `(k,)`, and its iterations."""

    weights: np.ndarray
    gradients: np.ndarray
    iterations: int


@dataclass(frozen=True, eq=False)
class _Objective:
    """Sum of values, each divided by `C sum_i weight_i`; the last row of weights is the bias."""

    losses: RowLosses

    def preconditioned(
        self, unknowns: np.ndarray, penalties: np.ndarray, scale: np.ndarray
    ) -> tuple[float, np.ndarray]:
        weights = unknowns.reshape(scale.shape) * scale
        kernel = weights[:-1]
        value, gradient = self.losses.mean(weights)
        value += np.vdot(penalties * kernel, kernel) / 2
        gradient[:-1] += penalties * kernel
        return float(value), (gradient * scale).ravel()
