"""BatchOrder: which images come when, from seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf


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
    """

    def __init__(
        self,
        arrays: tuple[np.ndarray, ...],
        batch_size: int,
        seed: int,
        shuffle: bool,
        initial_epoch: int,
    ) -> None:
        super().__init__()
        self.arrays = arrays
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.initial_epoch = initial_epoch
        self.epoch = initial_epoch
        self.num_batches = -(-len(arrays[0]) // batch_size)
        self._steps_before = 0
        self._done = 0

    def watch(self, model: keras.Model) -> None:
        """Notes the optimizer's steps before any callback restores others."""
        self._steps_before = _steps(model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch
        done = _steps(self.model) - self._steps_before
        self._done = max(done - (epoch - self.initial_epoch) * self.num_batches, 0)

    def order(self, epoch: int) -> np.ndarray:
        """Positions of all images in the order of one epoch."""
        count = len(self.arrays[0])
        if not self.shuffle:
            return np.arange(count)
        return np.random.default_rng([self.seed, epoch]).permutation(count)

    def dataset(self, resumes_mid_epoch: bool) -> tf.data.Dataset:
        """A `tf.data.Dataset` that starts a new epoch at each iteration.

        Args:
            resumes_mid_epoch: whether an epoch may start after its first batch, so that its
                length is not known.
        """
        signature = tuple(
            tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in self.arrays
        )
        dataset = tf.data.Dataset.from_generator(self._batches, output_signature=signature)
        if not resumes_mid_epoch:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(self.num_batches))
        return dataset.prefetch(2)

    def _batches(self) -> Iterator[tuple[np.ndarray, ...]]:
        order = self.order(self.epoch)
        for batch in range(self._done, self.num_batches):
            rows = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield tuple(array[rows] for array in self.arrays)


def _steps(model: keras.Model) -> int:
    return int(keras.ops.convert_to_numpy(model.optimizer.iterations))


class QueryLog(keras.callbacks.Callback):
    """Adds `queries_used` to the logs of each epoch, before other callbacks read them."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["queries_used"] = self.model.queries_used
