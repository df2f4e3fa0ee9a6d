"""Callbacks of `fit`: batch order, query log, budget stop, map updates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.fitting.weight_copy import WeightCopy, trained_variables


class BatchOrder(keras.callbacks.Callback):
    """Batches of arrays in an order drawn from `[seed, epoch]`.

    Keras shuffles from a global state that no checkpoint holds. Drawn from the epoch, the order
    of a run that was killed and resumed is that of the uninterrupted one. As a callback it
    learns the epoch, and after a restore in mid-epoch how many of its batches are done.

    Args:
        arrays: `x`, `y` and, if given, `sample_weight`, NumPy arrays of one length.
        batch_size: images a batch.
        seed: any integer >= 0.
        shuffle: `False` keeps the arrays' order.
        initial_epoch: the epoch that `fit` starts with when nothing is restored.
        steps_per_epoch: batches that Keras calls an epoch, or `None` for all of them. With a
            number, one pass over the arrays follows the other, each in an order of its own.
    """

    def __init__(
        self,
        arrays: tuple[np.ndarray, ...],
        batch_size: int,
        seed: int,
        shuffle: bool,
        initial_epoch: int,
        steps_per_epoch: int | None = None,
    ) -> None:
        super().__init__()
        self.arrays = arrays
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.initial_epoch = initial_epoch
        self.steps_per_epoch = steps_per_epoch
        self.num_batches = -(-len(arrays[0]) // batch_size)
        self._steps_before = 0
        self._next = (initial_epoch, 0)
        self._trains = self._started = False

    def set_model(self, model: Any) -> None:
        # The step count of now, before a callback restores an older one.
        super().set_model(model)
        self._steps_before = _number(model.steps.taken)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        done = _number(self.model.steps.taken) - self._steps_before
        if self.steps_per_epoch is not None:
            done += self.initial_epoch * self.steps_per_epoch
            self._next = divmod(done, self.num_batches)
        else:
            self._next = epoch, max(done - (epoch - self.initial_epoch) * self.num_batches, 0)
        self._trains, self._started = True, False

    def order(self, epoch: int) -> np.ndarray:
        """Positions of all images in the order of one pass over them."""
        count = len(self.arrays[0])
        if not self.shuffle:
            return np.arange(count)
        return np.random.default_rng([self.seed, epoch]).permutation(count)

    def dataset(self) -> tf.data.Dataset:
        """A `tf.data.Dataset` that gives an epoch, or what is left of it, at each iteration."""
        signature = tuple(
            tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in self.arrays
        )
        dataset = tf.data.Dataset.from_generator(self._batches, output_signature=signature)
        if self.steps_per_epoch is None:
            # Keras needs a length, but a resumed epoch is only a part of one. The second repetition
            # yields nothing, which ends the data.
            dataset = dataset.repeat().take(self.num_batches)
        return dataset.prefetch(2)

    def _batches(self) -> Iterator[tuple[np.ndarray, ...]]:
        if not self._trains:
            # Who looks at the data before training, as MLflow does, sees one pass that ends.
            yield from self._pass(*self._next)
            return
        if self._started:
            return
        self._started = True
        number, done = self._next
        yield from self._pass(number, done)
        while self.steps_per_epoch is not None:
            number += 1
            yield from self._pass(number, 0)

    def _pass(self, number: int, done: int) -> Iterator[tuple[np.ndarray, ...]]:
        order = self.order(number)
        for batch in range(done, self.num_batches):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield tuple(array[rows] for array in self.arrays)


class QueryLog(keras.callbacks.Callback):
    """Adds `queries_used` to the logs of each epoch, before other callbacks read them."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["queries_used"] = self.model.queries_used


def _number(variable: Any) -> int:
    # `int` does not take the variables that a strategy of one device makes.
    return int(tf.convert_to_tensor(variable))


class BudgetStop(keras.callbacks.Callback):
    """Keeps the weights of the best epoch and restores them when the budget is spent.

    The best epoch has the lowest `val_loss`. Without validation data nothing tells epochs apart,
    and the weights stay as they are when the budget ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.best_loss, self.best_epoch = np.inf, -1
        self._best_weights: WeightCopy | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("val_loss")
        if loss is not None and loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            self._best_weights = WeightCopy(trained_variables(self.model))

    def restore_best(self, error: Exception) -> str:
        """Restores the best epoch, if there is one; returns a sentence that says so."""
        if self._best_weights is None:
            return f"{error} Training ended; the weights are those of the last step."
        self._best_weights.restore()
        return (
            f"{error} Training ended; the weights are those of epoch {self.best_epoch + 1}, "
            f"val_loss {self.best_loss:.4f}."
        )


class MapUpdates(keras.callbacks.Callback):
    """Calls `output_map.reassign()` once an epoch, after its last step.

    That is before the epoch's validation where there is one, so that the validated map is the
    one that other callbacks save. `fit` adds it by itself, in front of the user's callbacks: a
    backup of the epoch's end holds the new map, and one of mid-epoch what was observed so far.

    Args:
        output_map: an `OutputMap` that observes.
    """

    def __init__(self, output_map: Any) -> None:
        super().__init__()
        self.output_map = output_map

    def on_train_begin(self, logs: Any = None) -> None:
        # What a run left that was broken off; callbacks that restore a run come later.
        self.output_map.forget_observed()

    def on_test_begin(self, logs: Any = None) -> None:
        self.output_map.reassign()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.output_map.reassign()
