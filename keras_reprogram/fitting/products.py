"""The products of matrices that an exact fit spends its time on, and NumPy's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from keras_reprogram.fitting.row_losses import RowLosses, SigmoidLosses, SoftmaxLosses
from keras_reprogram.fitting.threads import threads_for


class Products(Protocol):
    """Products of rows `(n, d)`, which may live elsewhere; what they give are arrays here.

    Rows are arrays, or what `hold` made of them: that is copied to where the products are taken
    once, however many there are.
    """

    def hold(self, rows: np.ndarray) -> Any:
        """Rows where the products are taken."""

    def gram(self, rows: Any) -> np.ndarray:
        """`rows^T rows`, `(d, d)`."""

    def times(self, rows: Any, columns: np.ndarray) -> np.ndarray:
        """`rows columns`, `(n, r)`."""

    def softmax_losses(
        self, rows: Any, targets: np.ndarray, share: np.ndarray, num_classes: int
    ) -> AbstractContextManager[RowLosses]:
        """Cross-entropies of classes `(n,)` or probabilities `(n, K)`, see `SoftmaxLosses`."""

    def sigmoid_losses(
        self, rows: Any, labels: np.ndarray, share: np.ndarray
    ) -> AbstractContextManager[RowLosses]:
        """Cross-entropies of labels 0 or 1, `(n, K)`, see `SigmoidLosses`."""


class NumPyProducts:
    """On this machine's processors, in as many threads as a product is worth."""

    def hold(self, rows: np.ndarray) -> np.ndarray:
        return rows

    def gram(self, rows: np.ndarray) -> np.ndarray:
        return rows.T @ rows

    def times(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return rows @ columns

    @contextmanager
    def softmax_losses(
        self, rows: np.ndarray, targets: np.ndarray, share: np.ndarray, num_classes: int
    ) -> Iterator[RowLosses]:
        with threads_for(rows.size * num_classes) as (num_parts, run):
            yield SoftmaxLosses(rows, targets, share, _parts(len(rows), num_parts), run)

    @contextmanager
    def sigmoid_losses(
        self, rows: np.ndarray, labels: np.ndarray, share: np.ndarray
    ) -> Iterator[RowLosses]:
        with threads_for(rows.size * labels.shape[1]) as (num_parts, run):
            yield SigmoidLosses(rows, labels, share, _parts(len(rows), num_parts), run)


NUMPY = NumPyProducts()


def _parts(count: int, num_parts: int) -> list[slice]:
    bounds = np.linspace(0, count, num_parts + 1).astype(int)
    return [slice(*pair) for pair in pairwise(bounds)]
