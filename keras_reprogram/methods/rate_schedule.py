"""RateSchedule: the papers' learning-rate schedules, scaled to the length of training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

# (epochs done, with their fraction; all epochs) -> learning rate.
Rate = Callable[[float, int], float]

# Steps of the published runs of visual prompting: 1,000 epochs of 391.
_WARM_UP_SHARE = 1000 / 391_000
_WARM_UP_STEPS = 1000

# Elsayed et al. train for 100,000 steps of 50 images of MNIST's 60,000.
STAIRCASE_EPOCHS = 83
_EPOCHS_PER_STAIR = 2
_STAIRCASE_FACTOR = 0.96


class RateSchedule(keras.callbacks.Callback):
    """Sets the learning rate before each step, from the share of training that is done.

    A `keras.optimizers.schedules.LearningRateSchedule` would have to know the number of steps
    when the model is compiled; this reads `epochs` and the number of batches from `fit`.

    Args:
        rate: `(epoch, epochs) -> learning rate`; `epoch` has a fraction where the number of
            batches is known, and is whole otherwise.
    """

    def __init__(self, rate: Rate) -> None:
        super().__init__()
        self.rate = rate
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch
        self._set(epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        steps = self.params.get("steps")
        if steps:
            self._set(self._epoch + batch / steps)

    def _set(self, epoch: float) -> None:
        self.model.optimizer.learning_rate = self.rate(epoch, self.params["epochs"])


def constant(learning_rate: float) -> Rate:
    """The same rate throughout."""
    return lambda epoch, epochs: learning_rate


def milestones(learning_rate: float) -> Rate:
    """A tenth after 50 % of the epochs, a hundredth after 72 % (Chen et al. 2023)."""

    def rate(epoch: float, epochs: int) -> float:
        passed = sum(epoch >= max(1, int(share * epochs)) for share in (0.5, 0.72))
        return learning_rate * 0.1**passed

    return rate


def staircase(learning_rate: float) -> Rate:
    """Times .96 after every two of the paper's epochs (Elsayed et al. 2019)."""

    def rate(epoch: float, epochs: int) -> float:
        published_epoch = epoch * STAIRCASE_EPOCHS / epochs
        return learning_rate * _STAIRCASE_FACTOR ** int(published_epoch // _EPOCHS_PER_STAIR)

    return rate


def cosine(learning_rate: float) -> Rate:
    """Half a cosine to 0 (Jin et al. 2025)."""
    return lambda epoch, epochs: _half_cosine(epoch / epochs) * learning_rate


def warm_cosine(learning_rate: float) -> Rate:
    """A short linear warm-up, then half a cosine to 0 (Bahng et al. 2022)."""

    def rate(epoch: float, epochs: int) -> float:
        done = epoch / epochs
        if done < _WARM_UP_SHARE:
            return learning_rate * max(done / _WARM_UP_SHARE, 1 / _WARM_UP_STEPS)
        return _half_cosine((done - _WARM_UP_SHARE) / (1.0 - _WARM_UP_SHARE)) * learning_rate

    return rate


def _half_cosine(done: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * done))
