"""Options of Keras's `fit`: batches of arrays in our order, data sets, or stored answers."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_reprogram.asking.answer_cache import CachedFeatures, as_steps_take
from keras_reprogram.asking.data import known_length, split_last
from keras_reprogram.model.callbacks import BatchOrder

_BATCH_SIZE = 32


def options_for_arrays(
    options: dict[str, Any],
    arrays: tuple[np.ndarray, ...],
    cached: CachedFeatures,
    seed: int,
    shuffle: bool,
    *,
    endless: bool = False,
) -> dict[str, Any]:
    """Arrays become a data set of batches in an order drawn from the seed and the epoch.

    `endless` counts an epoch's batches instead of ending them, for strategies that read ahead.
    """
    share = options.pop("validation_split")
    if share and options["validation_data"] is None:
        arrays, options["validation_data"] = split_last(arrays, share)
    size = options.pop("batch_size") or _BATCH_SIZE
    if options.get("validation_batch_size") is None:
        options["validation_batch_size"] = size
    if endless and options["steps_per_epoch"] is None:
        options["steps_per_epoch"] = -(-len(arrays[0]) // size)
    steps = options["steps_per_epoch"]
    arrays = cached.arrays(arrays, size, steps)
    options["validation_data"] = cached.validation(options)
    order = BatchOrder(arrays, size, seed, shuffle, options["initial_epoch"], steps)
    options["callbacks"] = [*options["callbacks"], *cached.callbacks, order]
    # The data set is in order already.
    return {**options, "x": as_steps_take(order.dataset()), "shuffle": False}


def options_for_data_set(
    options: dict[str, Any], x: Any, cached: CachedFeatures, shuffle: bool
) -> dict[str, Any]:
    """A data set stays as it is, or gives its answers in place of its images."""
    # Keras shuffles the batches of a `PyDataset`; elsewhere `True` would make it warn.
    can_shuffle = isinstance(x, keras.utils.PyDataset) and known_length(x) != math.inf
    x = cached.data_set(x, options["steps_per_epoch"])
    options["validation_data"] = cached.validation(options)
    options["callbacks"] = [*options["callbacks"], *cached.callbacks]
    return {**options, "x": x, "shuffle": shuffle and can_shuffle}


def as_list(callbacks: Any) -> list[Any]:
    """Callbacks as `fit` takes them, as a list."""
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        raise ValueError("Pass `callbacks` as a list. Received: a CallbackList.")
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
