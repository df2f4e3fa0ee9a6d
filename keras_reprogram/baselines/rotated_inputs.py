"""Inputs of any shape as few features, for linear and kernel classifiers alike."""

import numpy as np
from threadpoolctl import threadpool_limits

from keras_reprogram.training.lossless_rotation import LosslessRotation

# Large test sets of large images would not fit into memory as float32 all at once.
ROWS_AT_ONCE = 1024


def fit_rotation(inputs: np.ndarray) -> tuple[LosslessRotation, np.ndarray]:
    """Finds the rotation of the training inputs and rotates them.

    Args:
        inputs: Array of shape `(n, ...)`, finite.

    Returns:
        The rotation, and the features of `inputs` as `rotate` gives them.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines.rotated_inputs import fit_rotation

        rotation, rows = fit_rotation(np.random.default_rng(0).normal(size=(10, 20, 20, 3)))
        print(rows.shape)  # (10, 10)
        ```
    """
    # Several threads on a shared machine wait for each other: 11.6 s were measured for 0.7 s.
    with threadpool_limits(1):
        rotation, rows = LosslessRotation.fit(inputs)
    if rotation.axes is not None:
        rows = np.column_stack([rows, np.zeros(len(rows))])
    return rotation, rows


def rotate(rotation: LosslessRotation, inputs: np.ndarray) -> np.ndarray:
    """Rotates inputs so that their distances to the training inputs stay what they were.

    The rotation keeps what lies in the space of the training inputs. A new input also has a part
    outside of it, which adds its squared length to every squared distance: an RBF kernel needs it,
    and it is the last feature. It is 0 for all training inputs, so a regularised linear model gives
    it no weight.

    Args:
        rotation: From `fit_rotation`.
        inputs: Array of shape `(m, ...)`, at least one row of as many values as the
            training inputs.

    Returns:
        float64 array of shape `(m, r)`.

    Raises:
        ValueError: If the number of values a row differs.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines.rotated_inputs import fit_rotation, rotate

        old, new = np.random.default_rng(0).normal(size=(2, 5, 50))
        rotation, rows = fit_rotation(old)
        distance = np.linalg.norm(rotate(rotation, new)[0] - rows[0]) * rotation.scale
        print(np.isclose(distance, np.linalg.norm(new[0] - old[0]), rtol=1e-4))  # True
        ```
    """
    inputs = np.asarray(inputs)
    parts = [
        _rotate_part(rotation, inputs[start : start + ROWS_AT_ONCE])
        for start in range(0, len(inputs), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _rotate_part(rotation: LosslessRotation, inputs: np.ndarray) -> np.ndarray:
    with threadpool_limits(1):
        rows = rotation.apply(inputs)
    if rotation.axes is None:
        return rows
    centred = (inputs.reshape(len(inputs), -1) - rotation.mean) / rotation.scale
    outside = np.square(centred).sum(axis=1) - np.square(rows).sum(axis=1)
    return np.column_stack([rows, np.sqrt(np.maximum(outside, 0.0))])
