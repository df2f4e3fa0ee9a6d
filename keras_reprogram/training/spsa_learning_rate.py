"""spsa_learning_rate: Spall's falling learning rate as a Keras schedule."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reprogram.training.estimator_arguments import check_positive


@keras.saving.register_keras_serializable(package="keras_reprogram")
class PowerDecay(keras.optimizers.schedules.LearningRateSchedule):
    """`a_k = a / (k + offset)^alpha`; see `spsa_learning_rate`."""

    def __init__(self, a: float, offset: float, alpha: float) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"`alpha` must be at least 0. Received: {alpha}.")
        self.a = check_positive("a", a)
        self.offset = check_positive("offset", offset)
        self.alpha = alpha

    def __call__(self, step: Any) -> Any:
        return self.a / (ops.cast(step, "float32") + self.offset) ** self.alpha

    def get_config(self) -> dict[str, Any]:
        return {"a": self.a, "offset": self.offset, "alpha": self.alpha}


def spsa_learning_rate(a: float = 0.01, offset: float = 1.0, alpha: float = 0.4) -> PowerDecay:
    """The learning rate `a_k = a / (k + offset)^alpha` in step k = 0, 1, ... (Spall 1998).

    Args:
        a: the first rate where `offset` is 1, > 0. BlackVIP: 0.01; tune it first.
        offset: how many steps the fall is put off, > 0.
        alpha: how fast the rate falls, >= 0. BlackVIP: 0.4.

    Returns:
        A Keras `LearningRateSchedule`, which `.keras` files keep.

    Raises:
        ValueError: for values outside of these.

    Example:
    ```python
    import keras
    from keras_reprogram import spsa_learning_rate

    rate = spsa_learning_rate(a=0.1, offset=1.0, alpha=0.5)
    assert abs(float(rate(3)) - 0.05) < 1e-6
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    ```

    References:
        Spall, "Implementation of the simultaneous perturbation algorithm for stochastic
        optimization", IEEE TAES 1998. Oh et al., "BlackVIP", CVPR 2023.
    """
    return PowerDecay(a, offset, alpha)
