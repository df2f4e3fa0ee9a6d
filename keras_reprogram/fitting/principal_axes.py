"""Features along their principal axes: few columns, uncorrelated, in float32."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg

from keras_reprogram.fitting.threads import one_thread, threads_for

# Below this share of the largest variance an axis is rounding noise of float32.
_SMALLEST_SHARE = 1e-7
# Columns are first reduced so many at a time, where there are more: the log-scores of a view have
# as many axes as the source's penultimate layer is wide, often a quarter of its labels. Time grows
# with the third power of the width.
_BLOCK_WIDTH = 1024
# A block that keeps a larger share of its axes is not worth rotating twice.
_WORTH_ROTATING = 0.9


@dataclass(frozen=True, eq=False)
class PrincipalAxes:
    """Centres features, scales them to a mean squared norm of 1, rotates them to their axes.

    Axes without variance are left out. Linear models with a ridge penalty see nothing else, so
    that their fit is the same as on all columns, at a fraction of the time.

    Args:
        mean: `(d,)`.
        scale: root mean squared norm of the centred features.
        expand: weights of the axes `(r, K)` -> weights of the centred, scaled features `(d, K)`.
    """

    mean: np.ndarray = field(repr=False)
    scale: float
    expand: Callable[[np.ndarray], np.ndarray] = field(repr=False)

    @classmethod
    def fit(cls, features: np.ndarray, order: np.ndarray) -> tuple[PrincipalAxes, np.ndarray]:
        """Finds the axes of features `(n, d)`; also returns rows `(n, r)`, features[order] rotated.

        Args:
            features: float32, `(n, d)`.
            order: `(n,)`, all positions of rows.
        """
        mean = features.mean(axis=0, dtype=np.float64)

        def centred(columns: slice) -> np.ndarray:
            return features[order, columns] - mean[columns].astype(np.float32)

        columns = _blocks(*features.shape)
        if len(columns) == 1:
            rows, expand = _rotated(centred(columns[0]))
        else:
            with threads_for(features.size * _BLOCK_WIDTH) as (_, run):
                blocks = list(run(lambda part: _reduced(centred(part)), columns))
            within = [axes for _, axes in blocks]
            rows, between = _rotated(np.concatenate([block for block, _ in blocks], axis=1))

            def expand(weights: np.ndarray) -> np.ndarray:
                return _through(within, columns, between(weights))

        scale = (
            float(np.sqrt(np.einsum("ij,ij->", rows, rows, dtype=np.float64) / len(rows))) or 1.0
        )
        rows /= np.float32(scale)
        return cls(mean, scale, expand), rows

    def affine(self, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Kernel `(d, K)` and bias `(K,)` for features as they are, of those for rows."""
        kernel = self.expand(kernel) / self.scale
        return kernel, bias - self.mean @ kernel


def _blocks(count: int, width: int) -> list[slice]:
    num_blocks = -(-width // _BLOCK_WIDTH) if min(count, width) > _BLOCK_WIDTH else 1
    bounds = np.linspace(0, width, num_blocks + 1).astype(int)
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def _rotated(rows: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Centred rows along their axes, and the way back for weights."""
    if rows.shape[1] <= len(rows):
        _, axes = _axes(rows.T @ rows)
        return rows @ axes, axes.__matmul__
    # With rows = U S V^T, rows rows^T = U S^2 U^T is the small matrix, and V = rows^T U / S. V
    # itself is never needed: rows V is a product of small matrices, V w one of thin ones.
    products = rows @ rows.T
    variances, directions = _axes(products)
    directions /= np.sqrt(np.where(variances > 0, variances, 1.0)).astype(np.float32)
    return products @ directions, lambda weights: rows.T @ (directions @ weights)


def _reduced(block: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """A block of columns along its axes, or as it is where that hardly saves any."""
    _, axes = _axes(block.T @ block)
    if axes.shape[1] > _WORTH_ROTATING * block.shape[1]:
        return block, None
    return block @ axes, axes


def _axes(products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `(r,)` and eigenvectors `(d, r)` of a symmetric matrix that are not noise."""
    with one_thread():
        variances, directions = scipy.linalg.eigh(products, driver="evd", check_finite=False)
    kept = variances > _SMALLEST_SHARE * max(variances[-1], np.finfo(np.float32).tiny)
    # Rows that are all alike have no axis of their own; one keeps the shapes.
    kept[-1] = True
    return variances[kept], directions[:, kept]


def _through(
    axes: list[np.ndarray | None], columns: list[slice], weights: np.ndarray
) -> np.ndarray:
    """Weights of all blocks' columns, of those for the blocks' axes."""
    sizes = [
        part.stop - part.start if own is None else own.shape[1]
        for own, part in zip(axes, columns, strict=True)
    ]
    parts = np.split(weights, np.cumsum(sizes)[:-1])
    return np.concatenate(
        [part if own is None else own @ part for own, part in zip(axes, parts, strict=True)]
    )
