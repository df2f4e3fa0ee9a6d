"""Mean losses of linear models over rows, their gradients, and how much is in doubt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from scipy.special import expit


class RowLosses(Protocol):
    """The losses of rows `(n, d)` with known targets, by weights `(d + 1, K)`.

    The last row of the weights is the bias.
    """

    def in_precision(self, precision: Any) -> RowLosses:
        """The same, products being taken in float32 or float64."""

    def mean(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Weighted mean of the losses, and its gradient `(d + 1, K)`, in float64."""

    def doubt(self, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """How much the loss curves: the weighted mean of its second derivatives by the logits.

        `(K, K)`, or `(K,)` where the columns are independent.
        """


@dataclass(frozen=True, eq=False)
class SoftmaxLosses:
    """Cross-entropies of `softmax(rows @ kernel + bias)`, in NumPy.

    Args:
        rows: `(n, d)`.
        targets: classes `(n,)`, or probabilities `(n, K)`.
        share: weights of the rows, `(n,)`, which sum to 1.
        parts: of the rows, each of them done by itself.
        run: does them, like `map`.
    """

    rows: np.ndarray
    targets: np.ndarray
    share: np.ndarray
    parts: list[slice]
    run: Callable[..., Iterable]

    def in_precision(self, precision: Any) -> SoftmaxLosses:
        return replace(self, rows=self.rows.astype(precision, copy=False))

    def mean(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        small = weights.astype(self.rows.dtype)
        return _summed(self.run(lambda part: self._of(part, small), self.parts), weights.shape)

    def _of(self, part: slice, weights: np.ndarray) -> tuple[float, np.ndarray]:
        rows, targets, share = self.rows[part], self.targets[part], self.share[part]
        logits = rows @ weights[:-1] + weights[-1]
        errors, log_norm = softmax(logits)
        if targets.ndim == 2:
            loss = share @ (log_norm - np.einsum("nk,nk->n", targets, logits, dtype=np.float64))
            errors -= targets
        else:
            each = np.arange(len(rows))
            loss = share @ (log_norm - logits[each, targets].astype(np.float64))
            errors[each, targets] -= 1
        errors *= share[:, None].astype(errors.dtype)
        return loss, np.vstack([rows.T @ errors, errors.sum(axis=0, keepdims=True)])

    def doubt(self, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """The mean of `diag(p) - p p^T`, `(K, K)`."""
        kernel, bias = kernel.astype(self.rows.dtype), bias.astype(self.rows.dtype)

        def of(part: slice) -> tuple[np.ndarray, np.ndarray]:
            p, _ = softmax(self.rows[part] @ kernel + bias)
            weighted = p.T * self.share[part]
            return weighted.sum(axis=1), weighted @ p

        found = list(self.run(of, self.parts))
        often = np.sum([each for each, _ in found], axis=0)
        return np.diag(often) - np.sum([each for _, each in found], axis=0)


@dataclass(frozen=True, eq=False)
class SigmoidLosses:
    """Cross-entropies of `sigmoid(rows @ kernel + bias)`, summed over its columns, in NumPy.

    Args:
        rows: `(n, d)`.
        labels: 0 or 1, `(n, K)`.
        share: weights of the labels, `(n, K)`; each column sums to 1.
        parts: as of `SoftmaxLosses`.
        run: likewise.
    """

    rows: np.ndarray
    labels: np.ndarray
    share: np.ndarray
    parts: list[slice]
    run: Callable[..., Iterable]

    def in_precision(self, precision: Any) -> SigmoidLosses:
        rows = self.rows.astype(precision, copy=False)
        return replace(self, rows=rows, labels=self.labels.astype(precision))

    def mean(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        small = weights.astype(self.rows.dtype)
        return _summed(self.run(lambda part: self._of(part, small), self.parts), weights.shape)

    def _of(self, part: slice, weights: np.ndarray) -> tuple[float, np.ndarray]:
        rows, share = self.rows[part], self.share[part]
        # By margin a label that is nearly sure keeps all digits of its loss and of its slope. The
        # difference of log(1 + exp(l)) and l has none left in float32 from l = 17 on.
        signs = 2 * self.labels[part] - 1
        margins = signs * (rows @ weights[:-1] + weights[-1])
        # exp(-|m|) never overflows; the loss and the sigmoid of -m share it.
        small = np.exp(-np.abs(margins))
        losses = np.log1p(small) - np.minimum(margins, 0)
        errors = -signs * np.where(margins < 0, 1, small) / (1 + small)
        errors *= share.astype(errors.dtype)
        slope = np.vstack([rows.T @ errors, errors.sum(axis=0, keepdims=True)])
        return float(np.vdot(share, losses.astype(np.float64))), slope

    def doubt(self, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """The mean of `p (1 - p)` of each column, `(K,)`."""
        kernel, bias = kernel.astype(self.rows.dtype), bias.astype(self.rows.dtype)
        p = expit(self.rows @ kernel + bias)
        return np.einsum("nk,nk->k", self.share, p * (1 - p))


def _summed(
    found: Iterable[tuple[float, np.ndarray]], shape: tuple[int, ...]
) -> tuple[float, np.ndarray]:
    value, gradient = 0.0, np.zeros(shape)
    for loss, slope in found:
        value += loss
        gradient += slope
    return value, gradient


def softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities `(n, K)`, and the logarithm of their norm `(n,)` in float64."""
    largest = logits.max(axis=1, keepdims=True)
    exponents = np.exp(logits - largest)
    norm = exponents.sum(axis=1, keepdims=True)
    exponents /= norm
    return exponents, (np.log(norm) + largest)[:, 0].astype(np.float64)
