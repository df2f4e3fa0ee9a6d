"""RandomDirections: averaged finite differences along random directions, as in BAR."""

from __future__ import annotations

import math
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

_DISTRIBUTIONS = ("sphere", "gaussian", "rademacher")


@keras.saving.register_keras_serializable(package="keras_reprogram")
class RandomDirections(GradientEstimator):
    """Mean of finite differences along q random directions.

    One-sided (Tsai et al. 2020, eq. 5): `g_j = b * (f(W + beta u_j) - f(W)) / beta * u_j` with
    unit vectors `u_j` and b the number of active coordinates, which makes the estimate unbiased
    for small steps; the gradient is the mean over j. Two-sided (SPSA, Spall 1992) takes
    `(f(W + beta u_j) - f(W - beta u_j)) / (2 beta)` and costs twice as much.

    BAR's own symbols: its step length is `beta = smoothing * sqrt(d)` and its factor is b = d, for
    d active coordinates; with `per_image=False` and the sphere the estimate is BAR's. Another b
    only rescales the estimate, so it is a factor on the learning rate, b / d.

    Deviations from BAR: directions use only the coordinates that reach a pixel (theirs spend most
    of their length elsewhere), and each image may have its own direction, at the same price: the
    gradients of a batch agree in part, and independent directions average the rest away.

    Memory: per-image directions take `num_directions * batch * size` floats. For a program with
    a weight a pixel use `grid=` on the program, or `per_image=False`.

    Args:
        num_directions: q, >= 1.
        smoothing: RMS step for a active coordinate, in units of the weights W. It carries over
            between dimensions, where the length beta of the whole step does not. A large step
            flattens the slope: it is 0.96 of the true one at 0.004, 0.42 at 0.05.
        per_image: a direction for each image instead of one for the batch.
        two_sided: differences around the point instead of from it.
        distribution: `"sphere"`, `"gaussian"` or `"rademacher"`.
        clip: longest estimate: `None` (any), `"sqrt"` (the square root of the number of active
            coordinates, Park et al. 2025), or a number greater than 0. A longer one is scaled down.
        differences: `"loss"`, or `"scores"` to chain differences of the source's scores with the
            exact gradient of the loss.

    Raises:
        ValueError: for values outside of these.

    Example:
    ```python
    import keras
    import numpy as np
    from keras import ops
    from keras_reprogram import RandomDirections

    estimator = RandomDirections(num_directions=500, smoothing=1e-3)
    slopes = np.array([1.0, -2.0, 0.0], "float32")
    losses = lambda candidates: ops.sum(candidates * slopes, axis=-1)
    gradient = estimator.estimate(
        losses, np.zeros(3, "float32"), np.zeros(1, "float32"), np.ones(3, bool),
        keras.random.SeedGenerator(0),
    )
    assert np.allclose(gradient, slopes, atol=0.5)
    ```

    References:
        Tsai, Chen, Ho, "Transfer Learning without Knowing", ICML 2020, eq. 5. Spall,
        "Multivariate stochastic approximation using a simultaneous perturbation gradient
        approximation", IEEE TAC 1992. Park et al., "ZIP: An Efficient Zeroth-order Prompt Tuning
        for Black-box Vision-Language Models", ICLR 2025.
    """

    def __init__(
        self,
        num_directions: int = 1,
        smoothing: float = 0.005,
        per_image: bool = True,
        two_sided: bool = False,
        distribution: str = "sphere",
        clip: str | float | None = None,
        differences: str = "loss",
    ) -> None:
        self.distribution = one_of("distribution", distribution, _DISTRIBUTIONS)
        self.num_directions = positive_integer("num_directions", num_directions)
        self.smoothing = positive_number("smoothing", smoothing)
        self.per_image = per_image
        self.two_sided = two_sided
        self.clip = check_clip(clip)
        self.differences = one_of("differences", differences, DIFFERENCES)

    @property
    def queries_per_image(self) -> int:
        """`num_directions`, twice that if two-sided."""
        return self.num_directions * (2 if self.two_sided else 1)

    def estimate(
        self, losses: Losses, value: Any, clean_losses: Any, active: Any, seed: Any
    ) -> Any:
        rows = ops.shape(clean_losses)[0] if self.per_image else 1
        directions = self._draw((self.num_directions, rows, value.shape[0]), active, seed)
        steps = self.smoothing * directions
        if self.two_sided:
            both = losses(ops.concatenate([value + steps, value - steps]))
            ahead, behind = both[: self.num_directions], both[self.num_directions :]
            slopes = (ahead - behind) / (2 * self.smoothing)
        else:
            slopes = (losses(value + steps) - clean_losses) / self.smoothing
        # Mean over directions and images; with one direction for all, the images' mean first.
        if not self.per_image:
            slopes = ops.mean(slopes, axis=1, keepdims=True)
        count = ops.cast(ops.size(slopes), "float32")
        gradient = ops.einsum("nb,nbd->d", slopes, directions) / count
        return clip_norm(gradient, self.clip, int(np.sum(active)))

    def get_config(self) -> dict[str, Any]:
        return {
            "num_directions": self.num_directions,
            "smoothing": self.smoothing,
            "per_image": self.per_image,
            "two_sided": self.two_sided,
            "distribution": self.distribution,
            "clip": self.clip,
            "differences": self.differences,
        }

    def _draw(self, shape: tuple[Any, ...], active: Any, seed: Any) -> Any:
        """Directions with `E[u u^T] = I` on the active coordinates and zero elsewhere."""
        # So a slope along `u` times `u` is an unscaled estimate of the gradient: on the sphere this
        # is the factor b, since `u` has length `sqrt(b)`.
        mask = np.asarray(active, np.float32)
        if self.distribution == "rademacher":
            signs = keras.random.uniform(shape, seed=seed) < 0.5
            return mask * (2.0 * ops.cast(signs, "float32") - 1.0)
        directions = mask * keras.random.normal(shape, seed=seed)
        if self.distribution == "gaussian":
            return directions
        length = ops.sqrt(ops.sum(ops.square(directions), axis=-1, keepdims=True))
        return directions * (math.sqrt(max(mask.sum(), 1.0)) / ops.maximum(length, 1e-12))


class GrowDirections(keras.callbacks.Callback):
    """Starts with few directions, and adds more once the loss stops falling.

    Few directions make the most of each query far from the optimum; near it their noise is as
    large as the gradient, and more directions average it away (Tu et al. 2019). When
    the monitored loss has not fallen for `patience` epochs, the estimator's `num_directions` is
    doubled, up to `end`, and the train step is traced again: its declared cost follows, so
    `queries_used` stays exact.

    Deviations from AutoZOOM: it changes once, from q = 1 to q = 4, when an attack succeeds; here
    a loss is watched, because there is no such moment.

    The estimator belongs to one model, and keeps the last number. Every `fit` begins with `start`
    again, also one that resumes a killed run.

    Args:
        start: directions in the first epoch, >= 1.
        end: most directions, >= `start`.
        patience: epochs without a fall before the number grows, >= 1.
        monitor: which of the epoch's logs is watched; smaller is better.

    Raises:
        ValueError: for values outside of these, and in `fit` for a model whose estimator has no
            `num_directions`, or for logs without `monitor`.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import GrowDirections, LiteRTSource, MultiLabelMap, ProgramLayer
    from keras_reprogram import RandomDirections, ReprogrammedModel, embedded_path

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255), grid=4)
    output_map = MultiLabelMap(num_classes=3, assignment="random")
    model = ReprogrammedModel(program, source, output_map, RandomDirections())
    model.compile("adam", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).uniform(0, 255, (8, 8, 8, 1))
    grow = GrowDirections(start=1, end=4, patience=1)
    model.fit(x, np.arange(8) % 3, epochs=2, callbacks=[grow], verbose=0)
    assert model.gradient_estimator.num_directions in (1, 2)
    ```

    References:
        Tu et al., "AutoZOOM: Autoencoder-based Zeroth Order Optimization Method for Attacking
        Black-box Neural Networks", AAAI 2019.
    """

    def __init__(
        self, start: int = 1, end: int = 4, patience: int = 2, monitor: str = "loss"
    ) -> None:
        super().__init__()
        self.start = positive_integer("start", start)
        if end < start:
            raise ValueError(f"`end` must be at least `start`. Received: start={start}, end={end}.")
        self.end = end
        self.patience = positive_integer("patience", patience)
        self.monitor = monitor

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins with `start` directions."""
        estimator = getattr(self.model, "gradient_estimator", None)
        if not hasattr(estimator, "num_directions"):
            raise ValueError(
                "`GrowDirections` needs a model whose gradient estimator has `num_directions`. "
                f"Received: {type(estimator).__name__}. Pass "
                "`gradient_estimator=RandomDirections()` to the model."
            )
        self._best = float("inf")
        self._waited = 0
        self._set(self.start)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Doubles the number where the loss has stopped falling."""
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(
                f"`monitor` must be one of the epoch's logs, {sorted(logs)}. "
                f"Received: {self.monitor!r}."
            )
        if logs[self.monitor] < self._best:
            self._best, self._waited = logs[self.monitor], 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self._waited = 0
            self._set(min(2 * self.model.gradient_estimator.num_directions, self.end))

    def _set(self, number: int) -> None:
        estimator = self.model.gradient_estimator
        if estimator.num_directions != number:
            estimator.num_directions = number
            # The traced step holds the old number, and its cost.
            self.model.make_train_function(force=True)
