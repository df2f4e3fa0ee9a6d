"""Batches of whatever Keras takes as data: arrays, tf.data, PyDataset, other iterables."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np


def is_array(x: Any) -> bool:
    """Whether `x` is an array or a list, in contrast to something that yields batches."""
    return isinstance(x, list | tuple) or (
        hasattr(x, "shape") and hasattr(x, "__array__") and hasattr(x, "dtype")
    )


def batches(
    x: Any, y: Any = None, sample_weight: Any = None, batch_size: int = 64
) -> Iterator[tuple[Any, Any, Any]]:
    """`(x, y, sample_weight)` batches of arrays or of whatever yields batches.

    Args:
        x: arrays, a `tf.data.Dataset`, a `PyDataset` or another iterable of batches.
        y: labels, with arrays.
        sample_weight: weights, with arrays.
        batch_size: rows a batch, with arrays.

    Yields:
        NumPy batches; absent parts are `None`.
    """
    if is_array(x):
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            yield tuple(None if part is None else part[rows] for part in (x, y, sample_weight))  # type: ignore[misc]
        return
    for batch in _steps(x):
        parts = keras.utils.unpack_x_y_sample_weight(batch)
        yield tuple(None if part is None else np.asarray(part) for part in parts)  # type: ignore[misc]


def _steps(x: Any) -> Iterable[Any]:
    if isinstance(x, keras.utils.PyDataset):
        count = x.num_batches
        return (x[i] for i in (itertools.count() if count is None else range(count)))
    return x


def is_endless(x: Any) -> bool:
    """Whether `x` is a data set that says of itself that it never ends."""
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches is None
    # What `tf.data` answers for `.repeat()` without a count.
    return hasattr(x, "cardinality") and int(x.cardinality()) == -1


def is_read_soon(x: Any) -> bool:
    """Whether `x` is a data set that may be read as a whole before it is used.

    It can be read again, and says how many batches it has. One that does not may never end.
    """
    if isinstance(x, Iterator) or is_endless(x):
        return False
    if hasattr(x, "cardinality"):
        return int(x.cardinality()) >= 0
    return isinstance(x, keras.utils.PyDataset) or hasattr(x, "__len__")


def first_batch(x: Any) -> tuple[Any, Any, Any] | None:
    """The first batch of a data set that can be read again, or `None` for a plain generator."""
    if isinstance(x, Iterator):
        return None
    return next(batches(x), None)
