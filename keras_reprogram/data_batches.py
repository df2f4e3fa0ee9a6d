"""Batches of whatever Keras takes as data: arrays, tf.data, PyDataset, other iterables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np


def is_array(x: Any) -> bool:
    """Whether `x` is an array or a list, in contrast to something that yields batches."""
    return isinstance(x, list | tuple) or (
        hasattr(x, "shape") and hasattr(x, "__array__") and hasattr(x, "dtype")
    )


def batches(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int = 64,
    steps: int | None = None,
) -> Iterator[tuple[Any, Any, Any]]:
    """`(x, y, sample_weight)` batches of arrays or of whatever yields batches.

    Args:
        x: arrays, a `tf.data.Dataset`, a `PyDataset` or another iterable of batches.
        y: labels, with arrays.
        sample_weight: weights, with arrays.
        batch_size: rows a batch, with arrays.
        steps: most batches, of what yields batches; `None` for as many as it says it has.

    Yields:
        NumPy batches; absent parts are `None`.
    """
    if is_array(x):
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            yield tuple(None if part is None else part[rows] for part in (x, y, sample_weight))  # type: ignore[misc]
        return
    for batch in _steps(x, steps):
        _check_batch(x, batch)
        parts = keras.utils.unpack_x_y_sample_weight(batch)
        yield tuple(None if part is None else np.asarray(part) for part in parts)  # type: ignore[misc]


def _check_batch(data: Any, batch: Any) -> None:
    """Refuses rows and tables that other packages give where batches are expected."""
    if not isinstance(batch, str | Mapping):
        return
    expected = "Data must be arrays, or yield batches (x, y) of arrays."
    splits = list(data) if isinstance(data, Mapping) else []
    if splits:
        raise ValueError(
            f"{expected} Received: a {type(data).__name__} with {', '.join(map(repr, splits))}. "
            f"Choose one of them: `data[{splits[0]!r}]`."
        )
    if isinstance(batch, str):
        raise ValueError(
            f"{expected} Received: a {type(data).__name__} that yields texts, {batch[:40]!r} first."
            " Read image files with `load_image_folder`, and take the columns of a table."
        )
    columns = list(map(str, batch))
    if type(data).__module__.split(".")[0] != "datasets":
        raise ValueError(
            f"{expected} Received: dictionaries with {', '.join(columns)}. Yield tuples (x, y)."
        )
    image, label = (*columns, *columns)[:2]
    raise ValueError(
        f"{expected} Received: a Hugging Face {type(data).__name__} with {', '.join(columns)}. "
        f"Pass arrays, `np.stack([np.asarray(one) for one in data[{image!r}]])` and "
        f"`np.asarray(data[{label!r}])`, or batches, `data.with_format('numpy')"
        f".to_tf_dataset(columns={image!r}, label_cols={label!r}, batch_size=32)`. Images of "
        "different sizes or colours need one first: `one.convert('RGB').resize((width, height))`."
    )


def _steps(x: Any, steps: int | None) -> Iterable[Any]:
    length = known_length(x)
    # Some say how many they have and begin anew after them: Keras's older image iterators.
    most = min(math.inf if steps is None else steps, math.inf if length is None else length)
    read = (x[i] for i in itertools.count()) if isinstance(x, keras.utils.PyDataset) else x
    return itertools.islice(read, None if most == math.inf else int(most))


def known_length(x: Any) -> float | None:
    """How many batches a data set says it has: a number, infinity, or `None` for no word.

    Args:
        x: a `tf.data.Dataset`, a `PyDataset`, a loader or another iterable of batches.
    """
    if isinstance(x, keras.utils.PyDataset):
        return math.inf if x.num_batches is None else x.num_batches
    if hasattr(x, "cardinality"):
        count = int(x.cardinality())
        # What `tf.data` answers for `.repeat()` without a count, and where it does not know.
        return {-1: math.inf, -2: None}.get(count, count)
    try:
        return len(x)
    except (TypeError, NotImplementedError):
        return None


def check_end(x: Any, steps: int | None, *, costs: bool, argument: str = "steps") -> None:
    """Raises a ValueError for data that may never end.

    Args:
        x: what yields batches.
        steps: batches that are taken, or `None` for all.
        costs: whether each image may cost money: then data must say how many batches they have.
        argument: what `steps` is called.
    """
    if steps is not None:
        if isinstance(steps, bool) or int(steps) != steps or steps < 1:
            raise ValueError(f"`{argument}` must be a whole number >= 1. Received: {steps!r}.")
        return
    length = known_length(x)
    if length == math.inf:
        raise ValueError(
            f"The data must end, or `{argument}` say how many batches are wanted. Received: an "
            f"endless data set and no `{argument}`. Pass `{argument}=`, leave out `.repeat()`, "
            "or take a part of it with `.take(n)`."
        )
    if length is None and costs:
        raise ValueError(
            "Each image is a query to the source, so the data must say how many batches they have. "
            f"Received: a {type(x).__name__}, which does not, and no `{argument}`. Pass "
            f"`{argument}=`, the number of batches; or arrays, a `PyDataset`, or a "
            "`tf.data.Dataset` with `.apply(tf.data.experimental.assert_cardinality(batches))`."
        )


def is_read_once(x: Any) -> bool:
    """Whether what yields batches is gone when it was read, as a generator is."""
    return isinstance(x, Iterator) and not isinstance(x, keras.utils.PyDataset)


def first_batch(x: Any) -> tuple[Any, Any, Any] | None:
    """The first batch of a data set that can be read again, or `None` for a plain generator."""
    if is_read_once(x):
        return None
    return next(batches(x), None)
