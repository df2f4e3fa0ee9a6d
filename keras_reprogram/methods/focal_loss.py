"""FocalLoss: cross-entropy that looks away from what is learned already."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_reprogram")
class FocalLoss(keras.losses.Loss):
    """`-(1 - p)^gamma * log(p)` of the true class's probability p (Tsai et al. 2020, eq. 4).

    Keras's own focal losses take one-hot labels, and have no gradient where p is below 1e-7. The
    paper's class weights omega are `class_weight` of `fit`.

    Args:
        gamma: >= 0; 0 is cross-entropy.
        reduction: as for every Keras loss.
        name: loss name.

    Raises:
        ValueError: for a negative `gamma`.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.methods.focal_loss import FocalLoss

    loss = FocalLoss(gamma=2.0)(np.array([1]), np.array([[0.5, 0.5]]))
    assert np.isclose(loss, -0.25 * np.log(0.5))
    ```
    """

    def __init__(
        self,
        gamma: float = 2.0,
        reduction: str = "sum_over_batch_size",
        name: str = "focal_loss",
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        if not gamma >= 0:
            raise ValueError(f"`gamma` must be at least 0. Received: gamma={gamma}.")
        self.gamma = float(gamma)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        # Keras takes the softmax's own inputs here, and clips p nowhere: where p is 1e-9 the
        # gradient is still there.
        cross_entropy = keras.losses.sparse_categorical_crossentropy(
            ops.reshape(y_true, (-1,)), y_pred
        )
        missing = ops.maximum(-ops.expm1(-cross_entropy), keras.config.epsilon())
        return ops.power(missing, self.gamma) * cross_entropy

    def get_config(self) -> dict[str, Any]:
        return {"gamma": self.gamma, "reduction": self.reduction, "name": self.name}
