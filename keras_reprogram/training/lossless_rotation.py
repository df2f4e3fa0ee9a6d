"""Fewer features without loss, for linear and kernel classifiers with more features than rows."""

from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

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

    Example:
        ```python
        import numpy as np
        from keras_reprogram.training.lossless_rotation import LosslessRotation

        rotation, rotated = LosslessRotation.fit(np.random.default_rng(0).normal(size=(10, 500)))
        print(rotated.shape[1] <= 10)  # True
        ```
    """

    mean: np.ndarray = field(repr=False)
    scale: float
    axes: np.ndarray | None = field(repr=False)

    @classmethod
    def fit(cls, inputs: np.ndarray) -> tuple["LosslessRotation", np.ndarray]:
        """Finds the rotation of these rows.

        Args:
            inputs: Array of shape `(n, ...)`, finite.

        Returns:
            The rotation, and the rotated rows, a float64 array `(n, r)` with `r <= min(n, d)`.

        Example:
            ```python
            import numpy as np
            from keras_reprogram.training.lossless_rotation import LosslessRotation

            rotation, rotated = LosslessRotation.fit(np.eye(4).reshape(4, 2, 2))
            print(np.allclose(rotation.apply(np.eye(4).reshape(4, 2, 2)), rotated))  # True
            ```
        """
        rows = _flat(inputs)
        mean = rows.mean(axis=0)
        rows = rows - mean
        scale = float(np.sqrt(np.mean(np.einsum("ij,ij->i", rows, rows)))) or 1.0
        rows /= scale
        axes = _axes(rows) if rows.shape[1] > rows.shape[0] else None
        rotated = rows if axes is None else rows @ axes
        return cls(mean, scale, axes), rotated.astype(np.float64)

    def apply(self, inputs: np.ndarray) -> np.ndarray:
        """Rotates further rows in the same way.

        Args:
            inputs: Array of shape `(m, ...)` with as many features as those of `fit`.

        Returns:
            float64 array of shape `(m, r)`.

        Raises:
            ValueError: If the number of features differs.

        Example:
            ```python
            import numpy as np
            from keras_reprogram.training.lossless_rotation import LosslessRotation

            rotation, _ = LosslessRotation.fit(np.eye(4))
            print(rotation.apply(np.zeros((2, 4))).shape)  # (2, 4)
            ```
        """
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
    with threadpool_limits(1):
        variances, directions = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    kept = variances > SMALLEST_SHARE * max(variances[-1], np.finfo(np.float64).tiny)
    # Rows that are all alike have no axis of their own; one keeps the shapes.
    kept[-1] = True
    scaled = directions[:, kept] / np.sqrt(np.where(variances > 0, variances, 1.0)[kept])
    return rows.T @ scaled.astype(np.float32)
