"""GrowDirections: AutoZOOM's adaptive number of random directions, as a callback."""

from __future__ import annotations

from typing import Any

import keras

from keras_reprogram.training.estimator_arguments import check_count


class GrowDirections(keras.callbacks.Callback):
    """Asks along few directions first, along more once the loss stops falling.

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
        self.start = check_count("start", start)
        if end < start:
            raise ValueError(f"`end` must be at least `start`. Received: start={start}, end={end}.")
        self.end = end
        self.patience = check_count("patience", patience)
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
