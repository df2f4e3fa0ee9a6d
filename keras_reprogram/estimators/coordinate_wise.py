"""CoordinateWise: ZOO's finite differences, one coordinate at a time."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.arguments import one_of, positive_integer, positive_number
from keras_reprogram.estimators.gradient_estimator import DIFFERENCES, GradientEstimator, Losses

# How far the odds of a draw may follow the weights; the rest is the same for all coordinates.
_MOST_IMPORTANCE = 0.5


@keras.saving.register_keras_serializable(package="keras_reprogram")
class CoordinateWise(GradientEstimator):
    """Finite differences along coordinates drawn without replacement.

    `g_i = (f(W + h e_i) - f(W - h e_i)) / (2 h)` (Chen et al. 2017) for the drawn
    coordinates, divided by the chance of being drawn, and zero for the others: the estimate's
    mean is the gradient. With all active coordinates it is the gradient itself, up to h squared.

    Importance sampling (Chen et al. 2017): coordinates whose weights have moved far are
    drawn more often, here in proportion to `|W_i|`, above a floor of half of the uniform chance,
    so that every active coordinate can be drawn. At W = 0 all chances are equal.

    Deviations from ZOO: estimates are divided by their chance and go to any optimizer, theirs
    drive one Adam a coordinate; importance follows single weights and needs no state, theirs the
    largest change in a region of pixels, after the image was enlarged; one-sided differences
    (half the price, from losses already paid for) are an addition.

    Memory: `num_coordinates * size` floats, twice that if two-sided.

    Args:
        num_coordinates: drawn coordinates a step, >= 1; all active ones where there are not more.
            `None` means all active ones.
        smoothing: h, the step along a coordinate, > 0, in units of the weights W.
        two_sided: differences around the point instead of from it.
        importance: draw by magnitude; `False` draws uniformly.
        differences: `"loss"`, or `"scores"` to chain differences of the source's scores with the
            exact gradient of the loss.

    Raises:
        ValueError: for values outside of these.

    Example:
    ```python
    import keras
    import numpy as np
    from keras import ops
    from keras_reprogram import CoordinateWise

    estimator = CoordinateWise()
    slopes = np.array([1.0, -2.0, 0.0], "float32")
    losses = lambda candidates: ops.sum(candidates * slopes, axis=-1)
    gradient = estimator.estimate(
        losses, np.zeros(3, "float32"), np.zeros(1, "float32"), np.ones(3, bool),
        keras.random.SeedGenerator(0),
    )
    assert np.allclose(gradient, slopes, atol=1e-3)
    ```

    References:
        Chen, Zhang, Sharma, Yi, Hsieh, "ZOO: Zeroth Order Optimization Based Black-box Attacks
        to Deep Neural Networks without Training Substitute Models", AISec 2017.
    """

    def __init__(
        self,
        num_coordinates: int | None = None,
        smoothing: float = 0.02,
        two_sided: bool = True,
        importance: bool = True,
        differences: str = "loss",
    ) -> None:
        if num_coordinates is not None:
            positive_integer("num_coordinates", num_coordinates)
        self.num_coordinates = num_coordinates
        self.smoothing = positive_number("smoothing", smoothing)
        self.two_sided = two_sided
        self.importance = importance
        self.differences = one_of("differences", differences, DIFFERENCES)
        self._num_active: int | None = None

    def attach(self, active: np.ndarray) -> None:
        self._num_active = int(np.sum(active))

    @property
    def queries_per_image(self) -> int:
        """The number of drawn coordinates, twice that if two-sided."""
        if self._num_active is None and self.num_coordinates is None:
            raise ValueError(
                "The number of active coordinates is known only once there is a program. Received: "
                "num_coordinates=None. Make the `ReprogrammedModel` first, or call "
                "`attach(active)`."
            )
        known = [n for n in (self._num_active, self.num_coordinates) if n is not None]
        return min(known) * (2 if self.two_sided else 1)

    def estimate(
        self, losses: Losses, value: Any, clean_losses: Any, active: Any, seed: Any
    ) -> Any:
        places = np.flatnonzero(active)
        number = min(self.num_coordinates or len(places), len(places))
        if number == 0:
            return ops.zeros_like(value)
        chances = self._chances(ops.take(value, places), number)
        drawn = _draw(chances, number, seed)
        units = ops.one_hot(ops.take(places, drawn), value.shape[0], dtype="float32")
        steps = self.smoothing * units[:, None, :]
        if self.two_sided:
            both = ops.mean(losses(ops.concatenate([value + steps, value - steps])), axis=1)
            slopes = (both[:number] - both[number:]) / (2 * self.smoothing)
        else:
            slopes = ops.mean(losses(value + steps) - clean_losses, axis=1) / self.smoothing
        return ops.einsum("n,nd->d", slopes / ops.take(chances, drawn), units)

    def get_config(self) -> dict[str, Any]:
        return {
            "num_coordinates": self.num_coordinates,
            "smoothing": self.smoothing,
            "two_sided": self.two_sided,
            "importance": self.importance,
            "differences": self.differences,
        }

    def _chances(self, value: Any, number: int) -> Any:
        """Probability `(num_active,)` of drawing each active coordinate; they sum to `number`."""
        size = value.shape[0]
        uniform = number / size
        if not self.importance:
            return ops.full((size,), uniform, dtype="float32")
        magnitude = ops.abs(value)
        total = ops.sum(magnitude)
        share = ops.where(total > 0, magnitude / ops.maximum(total, 1e-30), 1.0 / size)
        by_magnitude = number * share
        # The largest part of importance that leaves no chance above 1.
        excess = ops.maximum(ops.max(by_magnitude) - uniform, 1e-30)
        part = ops.minimum((1.0 - uniform) / excess, _MOST_IMPORTANCE)
        return part * by_magnitude + (1.0 - part) * uniform


def _draw(chances: Any, number: int, seed: Any) -> Any:
    """Systematic sampling: `number` different indices, each with exactly its chance."""
    # In a random order, every index occupies its inclusion probability on a line of length
    # `number`. A comb of `number` points with spacing one and a random offset selects no index
    # twice.
    size = chances.shape[0]
    order = keras.random.shuffle(ops.arange(size), seed=seed)
    ends = ops.cumsum(ops.take(chances, order))
    comb = keras.random.uniform((), seed=seed) + ops.arange(number, dtype="float32")
    # Rounding may leave the last end a little short of `number`.
    hit = ops.minimum(ops.searchsorted(ends, comb, side="right"), size - 1)
    return ops.take(order, hit)
