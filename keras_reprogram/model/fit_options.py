"""Options of Keras's `fit`: batches of arrays in our order, data sets, or stored answers.

Keras gets the caller's batch size, share of validation and `shuffle` too, though the batches are
made already: whatever is put around its `fit`, such as MLflow's autolog, reads them there.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_reprogram.asking.answer_cache import CachedFeatures, as_steps_take
from keras_reprogram.asking.data import split_last
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
    share = options["validation_split"]
    if share and options["validation_data"] is None:
        arrays, options["validation_data"] = split_last(arrays, share)
    size = options["batch_size"] = options["batch_size"] or _BATCH_SIZE
    if options.get("validation_batch_size") is None:
        options["validation_batch_size"] = size
    if endless and options["steps_per_epoch"] is None:
        options["steps_per_epoch"] = -(-len(arrays[0]) // size)
    steps = options["steps_per_epoch"]
    images = arrays[0]
    arrays = cached.arrays(arrays, size, steps)
    options["validation_data"] = cached.validation(options)
    order = BatchOrder(arrays, size, seed, shuffle, options["initial_epoch"], steps)
    options["callbacks"] = [*options["callbacks"], *cached.callbacks, order]
    dataset = order.dataset() if arrays[0] is images else as_steps_take(order.dataset())
    return {**options, "x": dataset, "shuffle": shuffle}


def options_for_data_set(
    options: dict[str, Any], x: Any, cached: CachedFeatures, shuffle: bool
) -> dict[str, Any]:
    """A data set stays as it is, or gives its answers in place of its images."""
    x = cached.data_set(x, options["steps_per_epoch"])
    options["validation_data"] = cached.validation(options)
    options["callbacks"] = [*options["callbacks"], *cached.callbacks]
    return {**options, "x": x, "shuffle": shuffle}


@contextlib.contextmanager
def batches_in_order() -> Iterator[None]:
    """Keeps Keras from warning that it leaves the order of a data set's batches alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`shuffle=True` was passed, but will be ignored")
        yield


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Options without those that are `None`, as if the caller of Keras's `fit` had named few."""
    return {name: value for name, value in options.items() if value is not None}


def as_list(callbacks: Any) -> list[Any]:
    """Callbacks as `fit` takes them, as a list."""
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        raise ValueError("Pass `callbacks` as a list. Received: a CallbackList.")
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
