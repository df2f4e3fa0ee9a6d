"""split_calls: many rows in slices, so that only so many images exist at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def split_calls(
    function: Callable[[Any, Any], Any], num_rows: Any, rows_per_call: int, row_shape: tuple
) -> Any:
    """Concatenates `function(start, stop)` over consecutive slices of rows.

    Eagerly this is a Python loop, so that whatever a source raises comes out as itself; in a
    graph it is a `tf.while_loop`, one slice at a time.

    Args:
        function: `(start, stop)` -> float32 tensor `(stop - start, *row_shape)`.
        num_rows: how many rows there are, a number or a scalar tensor.
        rows_per_call: most rows a slice.
        row_shape: shape of one row.

    Returns:
        float32 tensor `(num_rows, *row_shape)`.
    """
    if tf.executing_eagerly():
        total = int(num_rows)
        starts = range(0, total, rows_per_call)
        parts = [function(start, min(start + rows_per_call, total)) for start in starts]
        return tf.concat(parts, axis=0)
    num_calls = (num_rows + rows_per_call - 1) // rows_per_call
    array = tf.TensorArray(
        tf.float32, size=num_calls, infer_shape=False, element_shape=(None, *row_shape)
    )

    def step(index: Any, array: Any) -> tuple[Any, Any]:
        start = index * rows_per_call
        part = function(start, tf.minimum(start + rows_per_call, num_rows))
        return index + 1, array.write(index, part)

    _, array = tf.while_loop(
        lambda index, _: index < num_calls, step, (0, array), parallel_iterations=1
    )
    return array.concat()
