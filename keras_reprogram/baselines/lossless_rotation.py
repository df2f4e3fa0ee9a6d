"""LosslessRotation: inputs with many columns as few numbers, for the baselines."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from keras_reprogram.fitting.threads import one_thread

# Below this share of the largest variance a direction is rounding noise of float32.
_SMALLEST_SHARE = 1e-7


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
    kept = variances > _SMALLEST_SHARE * max(variances[-1], np.finfo(np.float64).tiny)
    # Rows that are all alike have no axis of their own; one keeps the shapes.
    kept[-1] = True
    scaled = directions[:, kept] / np.sqrt(np.where(variances > 0, variances, 1.0)[kept])
    return rows.T @ scaled.astype(np.float32)
