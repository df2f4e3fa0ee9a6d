"""Multinomial logistic regression, solved to convergence."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize

from keras_reprogram.fitting.one_thread import one_thread

# Where the gradient of the mean loss, in preconditioned unknowns, counts as zero. The Hessian is
# nearly the identity there, so the objective is within about 1e-8 of its minimum.
TOLERANCE = 1e-4
_MEMORY = 20
_MAX_ITERATIONS = 2_000
# So many times the tolerance is worth a warning: the objective is then off by 1e-6 or more.
_FAR = 10
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
    """The minimum of `q / 2 ||kernel||^2 + C sum_i weight_i cross_entropy_i`."""
    # q is 1, and 2 with two classes, where that is the objective of a single weight vector. The
    # bias is free. The columns of `rows` should be nearly uncorrelated, as along principal axes:
    # then the Hessian is nearly diagonal, `q / (C n) + s_i^2 / 2` for a column of spread s_i (as a
    # mean over n rows). L-BFGS on the unknowns v, `kernel_i = v_i / sqrt(q / (C n) + s_i^2 / 2)`,
    # sees nearly the identity, and takes tens of steps where spreads of several thousands to one
    # need thousands. Products are taken in float32, as the features are, and again in float64 where
    # that leaves the gradient above the tolerance.
    classes, codes = np.unique(labels, return_inverse=True)
    share = weight / weight.sum()
    penalty = (2.0 if len(classes) == 2 else 1.0) / (regularization * weight.sum())
    spread = np.sqrt(share @ np.square(rows, dtype=np.float64))
    scale = np.append(1 / np.sqrt(penalty + _CURVATURE * spread**2), 1 / np.sqrt(_CURVATURE))
    unknowns = _unknowns(start, classes, scale)
    iterations = 0
    # Products this small cost less than waking threads for them: on a busy machine one thread is
    # eighty times faster than two.
    with one_thread():
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
    if gradient > _FAR * tolerance:
        warnings.warn(
            f"The exact fit at C = {regularization:g} ended after {iterations} iterations before "
            f"its minimum: expected a gradient below {tolerance:g}. Received: {gradient:.1e}. "
            "Features of very different scales cause this: scale them, or use a smaller C.",
            stacklevel=2,
        )
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
    with one_thread():
        return rows @ kernel


# Below this share of the largest variance a direction is rounding noise of float32.
SMALLEST_SHARE = 1e-7


@dataclass(frozen=True, eq=False)
class LosslessRotation:
    """Flattens, centres and scales inputs, and rotates them into the space that the rows span.

    The rows' mean squared norm becomes 1, so that one grid of regularisations suits any number of
    features. With `n` rows of `d > n` features only `n` axes carry anything: rotating to those
    keeps all inner products and distances between rows. Ridge-regularised linear models see
    nothing else, so their fit and predictions are the same as on `d` features, at a fraction of
    the time.

    Args:
        mean: float32 array of shape `(d,)`.
        scale: Root mean squared norm of the centred rows.
        axes: float32 array of shape `(d, r)` with orthonormal columns, or `None` where `d <= n`.
    """

    mean: np.ndarray = field(repr=False)
    scale: float
    axes: np.ndarray | None = field(repr=False)

    @classmethod
    def fit(cls, inputs: np.ndarray) -> tuple[LosslessRotation, np.ndarray]:
        """The rotation of inputs `(n, ...)`, and the rotated rows, float64 `(n, r)`."""
        rows = _flat(inputs)
        mean = rows.mean(axis=0)
        rows = rows - mean
        scale = float(np.sqrt(np.mean(np.einsum("ij,ij->i", rows, rows)))) or 1.0
        rows /= scale
        axes = _axes(rows) if rows.shape[1] > rows.shape[0] else None
        rotated = rows if axes is None else rows @ axes
        return cls(mean, scale, axes), rotated.astype(np.float64)

    def apply(self, inputs: np.ndarray) -> np.ndarray:
        """Rotates further inputs to float64 `(m, r)`."""
        rows = _flat(inputs)
        if rows.shape[1] != len(self.mean):
            raise ValueError(
                f"Expected images (or features) of {len(self.mean)} values, as for training. "
                f"Received: shape {np.shape(inputs)}. Resize them."
            )
        rows = (rows - self.mean) / np.float32(self.scale)
        return (rows if self.axes is None else rows @ self.axes).astype(np.float64)


def _flat(inputs: np.ndarray) -> np.ndarray:
    return np.asarray(inputs, np.float32).reshape(len(inputs), -1)


def _axes(rows: np.ndarray) -> np.ndarray:
    # With rows = U S V^T, rows rows^T = U S^2 U^T is the small matrix, and V = rows^T U / S.
    with one_thread():
        variances, directions = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    kept = variances > SMALLEST_SHARE * max(variances[-1], np.finfo(np.float64).tiny)
    # Rows that are all alike have no axis of their own; one keeps the shapes.
    kept[-1] = True
    scaled = directions[:, kept] / np.sqrt(np.where(variances > 0, variances, 1.0)[kept])
    return rows.T @ scaled.astype(np.float32)
