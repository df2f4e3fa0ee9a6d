"""Features along their principal axes: few columns, uncorrelated, in float32."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg

from keras_reprogram.fitting.products import NUMPY, Products
from keras_reprogram.fitting.threads import one_thread, threads_for

# Below this share of the largest variance an axis is rounding noise of float32.
_SMALLEST_SHARE = 1e-7
# Columns are first reduced so many at a time, where there are more: the log-scores of a view have
# as many axes as the source's penultimate layer is wide, often a quarter of its labels. Time grows
# with the third power of the width.
_BLOCK_WIDTH = 1024
# A block that keeps a larger share of its axes is not worth rotating twice.
_WORTH_ROTATING = 0.9

# Weights of some columns -> those of the columns that they were made of.
Weights = Callable[[np.ndarray], np.ndarray]
# Some columns of centred rows.
Columns = Callable[[slice], np.ndarray]


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
    expand: Weights = field(repr=False)

    @classmethod
    def fit(
        cls, features: np.ndarray, order: np.ndarray, products: Products = NUMPY
    ) -> tuple[PrincipalAxes, np.ndarray]:
        """Finds the axes of features `(n, d)`; also returns rows `(n, r)`, features[order] rotated.

        Args:
            features: float32, `(n, d)`.
            order: `(n,)`, all positions of rows.
            products: where products are taken.
        """
        mean = features.mean(axis=0, dtype=np.float64)

        def centred(columns: slice) -> np.ndarray:
            chosen = features[order, columns]
            chosen -= mean[columns].astype(np.float32)
            return chosen

        first, *others = _blocks(*features.shape)
        reduced = _reduced(products, centred(first)) if others else None
        if reduced is None:
            rows, expand = _rotated(products, centred, *features.shape)
        else:
            # The views of one source are alike: what pays for the first block pays for all.
            with threads_for(features.size * _BLOCK_WIDTH) as (_, run):
                of_others = run(lambda part: _along_axes(products, centred(part)), others)
                blocks = [reduced, *of_others]
            widths = [block.shape[1] for block, _ in blocks]
            joined = np.concatenate([block for block, _ in blocks], axis=1)
            within = [back for _, back in blocks]
            del blocks, reduced
            rows, between = _rotated(products, lambda columns: joined[:, columns], *joined.shape)

            def expand(weights: np.ndarray) -> np.ndarray:
                parts = np.split(between(weights), np.cumsum(widths)[:-1])
                return np.concatenate(
                    [back(part) for back, part in zip(within, parts, strict=True)]
                )

        scale = (
            float(np.sqrt(np.einsum("ij,ij->", rows, rows, dtype=np.float64) / len(rows))) or 1.0
        )
        rows /= np.float32(scale)
        return cls(mean, scale, expand), rows

    def affine(self, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Kernel `(d, K)` and bias `(K,)` for features as they are, of those for rows."""
        kernel = self.expand(kernel.astype(np.float32)).astype(float) / self.scale
        return kernel, bias - self.mean @ kernel


def _blocks(count: int, width: int) -> list[slice]:
    num_blocks = -(-width // _BLOCK_WIDTH) if min(count, width) > _BLOCK_WIDTH else 1
    bounds = np.linspace(0, width, num_blocks + 1).astype(int)
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def _rotated(
    products: Products, columns: Columns, count: int, width: int
) -> tuple[np.ndarray, Weights]:
    """Centred rows along their axes, and the way back for weights."""
    if width <= count:
        return _along_axes(products, columns(slice(None)))
    # With rows = U S V^T, rows rows^T = U S^2 U^T is the small matrix, and V = rows^T U / S. V
    # itself is never needed: rows V is a product of small matrices, V w one of thin ones. In
    # float32 the smallest axes mix with the largest; float64 keeps them apart, and takes too long
    # where there are thousands of axes.
    precision = np.float64 if count <= _BLOCK_WIDTH else np.float32
    blocks = [slice(first, first + _BLOCK_WIDTH) for first in range(0, width, _BLOCK_WIDTH)]
    gram: np.ndarray = np.zeros((count, count), precision)
    for block in blocks:
        part: np.ndarray = columns(block).astype(precision, copy=False)
        gram += products.gram(part.T)
    variances, directions = _axes(gram)
    directions /= np.sqrt(np.where(variances > 0, variances, 1.0))
    rotated = products.times(gram, directions).astype(np.float32)
    directions = directions.astype(np.float32, copy=False)

    def back(weights: np.ndarray) -> np.ndarray:
        along = directions @ weights
        return np.concatenate([columns(block).T @ along for block in blocks])

    return rotated, back


def _along_axes(
    products: Products, rows: np.ndarray, gram: np.ndarray | None = None
) -> tuple[np.ndarray, Weights]:
    """As `_rotated`, for rows with no more columns than there are rows."""
    held = products.hold(rows)
    _, axes = _axes(products.gram(held) if gram is None else gram)
    return products.times(held, axes), axes.__matmul__


def _reduced(products: Products, block: np.ndarray) -> tuple[np.ndarray, Weights] | None:
    """As `_along_axes`; `None` where hardly any axis is saved."""
    most = _WORTH_ROTATING * block.shape[1]
    gram = products.gram(block)
    # Cholesky's decomposition ends at the first column that depends on those before it, and takes
    # a tenth of the time of axes.
    with one_thread():
        _, dependent = scipy.linalg.lapack.spotrf(gram.T)
    if not 0 < dependent <= most:
        return None
    rows, back = _along_axes(products, block, gram)
    return (rows, back) if rows.shape[1] <= most else None


def _axes(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `(r,)` and eigenvectors `(d, r)` of a symmetric matrix that are not noise."""
    with one_thread():
        variances, directions = scipy.linalg.eigh(gram, driver="evd", check_finite=False)
    # Rows that are all alike have no axis of their own; one keeps the shapes.
    noise = _SMALLEST_SHARE * max(variances[-1], np.finfo(np.float32).tiny)
    first = min(int(np.searchsorted(variances, noise, side="right")), len(variances) - 1)
    return variances[first:], directions[:, first:]
