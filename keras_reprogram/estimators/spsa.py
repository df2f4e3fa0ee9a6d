"""SPSA: two-sided simultaneous perturbation, as black-box prompting uses it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.arguments import one_of, positive_integer, positive_number
from keras_reprogram.estimators.gradient_estimator import (
    DIFFERENCES,
    GradientEstimator,
    Losses,
    check_clip,
    clip_norm,
)


@keras.saving.register_keras_serializable(package="keras_reprogram")
class SPSA(GradientEstimator):
    """Two losses along a random vector, divided by each of its coordinates.

    `g = (L(W + c_k u) - L(W - c_k u)) / (2 c_k u)`, elementwise, with every coordinate of `u`
    drawn from +-U[0.5, 1] and `c_k = smoothing / (k + 1)^decay` in step k; the gradient is the
    mean of `num_directions` such (Spall 1992; Oh et al. 2023).

    Gradient correction: BlackVIP's look-ahead momentum, `m = b m + g` and `step = g + b m`, is
    Keras's `SGD(learning_rate, momentum=b, nesterov=True)`, exactly for a constant learning
    rate. With a decaying one (`spsa_learning_rate`) Keras's velocity keeps past estimates at the
    rates of their own steps, BlackVIP's takes today's for all: they differ by the rates' ratio.

    Deviations from BlackVIP: directions use only the coordinates that reach a pixel; steps count
    from `k = 0` for both `c_k` and the learning rate; `per_image`, `differences` and `clip` are
    additions.

    Args:
        num_directions: how many vectors `u` a step, >= 1; each costs two queries an image.
        smoothing: `c`, the half-width of the first step's difference, > 0, in units of W.
        decay: the exponent of `c_k`, >= 0; 0.1 to 0.2 in BlackVIP.
        per_image: a direction for each image instead of one for the batch, at the same price.
        clip: longest estimate: `None` (any), `"sqrt"` (the square root of the number of active
            coordinates, Park et al. 2025), or a number greater than 0.
        differences: `"loss"`, or `"scores"` to chain differences of the source's scores with the
            exact gradient of the loss.

    Raises:
        ValueError: for values outside of these.

    Example:
    ```python
    import keras
    import numpy as np
    from keras import ops
    from keras_reprogram import SPSA, spsa_learning_rate

    estimator = SPSA(num_directions=500)
    slopes = np.array([1.0, -2.0, 0.0], "float32")
    losses = lambda candidates: ops.sum(candidates * slopes, axis=-1)
    gradient = estimator.estimate(
        losses, np.zeros(3, "float32"), np.zeros(1, "float32"), np.ones(3, bool),
        keras.random.SeedGenerator(0),
    )
    assert np.allclose(gradient, slopes, atol=0.5)
    optimizer = keras.optimizers.SGD(spsa_learning_rate(a=0.01), momentum=0.9, nesterov=True)
    ```

    References:
        Spall, "Multivariate stochastic approximation using a simultaneous perturbation gradient
        approximation", IEEE TAC 1992. Oh et al., "BlackVIP: Black-Box Visual Prompting for Robust
        Transfer Learning", CVPR 2023. Park et al., "ZIP: An Efficient Zeroth-order Prompt Tuning
        for Black-box Vision-Language Models", ICLR 2025.
    """

    def __init__(
        self,
        num_directions: int = 5,
        smoothing: float = 0.01,
        decay: float = 0.1,
        per_image: bool = False,
        clip: str | float | None = None,
        differences: str = "loss",
    ) -> None:
        if not decay >= 0:
            raise ValueError(f"`decay` must be at least 0. Received: {decay}.")
        self.num_directions = positive_integer("num_directions", num_directions)
        self.smoothing = positive_number("smoothing", smoothing)
        self.decay = decay
        self.per_image = per_image
        self.clip = check_clip(clip)
        self.differences = one_of("differences", differences, DIFFERENCES)

    @property
    def queries_per_image(self) -> int:
        """Twice `num_directions`."""
        return 2 * self.num_directions

    def estimate(
        self, losses: Losses, value: Any, clean_losses: Any, active: Any, seed: Any
    ) -> Any:
        # Drawing moves the state on, so the step's number is read first.
        step_number = ops.cast(seed.state[1], "float32")
        half_width = self.smoothing / (step_number + 1.0) ** self.decay
        rows = ops.shape(clean_losses)[0] if self.per_image else 1
        mask = np.asarray(active, np.float32)
        directions = self._draw((self.num_directions, rows, value.shape[0]), seed)
        steps = half_width * mask * directions
        both = losses(ops.concatenate([value + steps, value - steps]))
        ahead, behind = both[: self.num_directions], both[self.num_directions :]
        slopes = (ahead - behind) / (2.0 * half_width)
        if not self.per_image:
            slopes = ops.mean(slopes, axis=1, keepdims=True)
        count = ops.cast(ops.size(slopes), "float32")
        gradient = mask * ops.einsum("nb,nbd->d", slopes, 1.0 / directions) / count
        return clip_norm(gradient, self.clip, int(mask.sum()))

    def get_config(self) -> dict[str, Any]:
        return {
            "num_directions": self.num_directions,
            "smoothing": self.smoothing,
            "decay": self.decay,
            "per_image": self.per_image,
            "clip": self.clip,
            "differences": self.differences,
        }

    def _draw(self, shape: tuple[Any, ...], seed: Any) -> Any:
        """Numbers in [-1, -0.5] and [0.5, 1], far enough from 0 to divide by."""
        numbers = keras.random.uniform(shape, -0.5, 0.5, seed=seed)
        return numbers + ops.where(numbers < 0, -0.5, 0.5)


@keras.saving.register_keras_serializable(package="keras_reprogram")
class PowerDecay(keras.optimizers.schedules.LearningRateSchedule):
    """`a_k = a / (k + offset)^alpha`; see `spsa_learning_rate`."""

    def __init__(self, a: float, offset: float, alpha: float) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"`alpha` must be at least 0. Received: {alpha}.")
        self.a = positive_number("a", a)
        self.offset = positive_number("offset", offset)
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
