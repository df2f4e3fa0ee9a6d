"""The compiled loss, row by row: what one image contributes to the mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

_MEAN_REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


def row_loss(loss: Any) -> Callable[[Any, Any], Any]:
    """`(labels, probabilities) -> (rows,)` for a loss as `compile` takes it.

    Args:
        loss: a name, a `keras.losses.Loss`, or a function.

    Returns:
        A function without reduction and weights.

    Raises:
        ValueError: for no loss, several losses, or a reduction other than the mean (a sum would
            make the step depend on the batch size, and no reduction cannot be minimised).
    """
    if loss is None or isinstance(loss, list | tuple | dict):
        raise ValueError(
            "Estimating a gradient needs exactly one loss. "
            f"Received: loss={loss!r}. Pass one to `compile(loss=...)`."
        )
    found = keras.losses.get(loss)
    if isinstance(found, keras.losses.Loss):
        if found.reduction not in _MEAN_REDUCTIONS:
            raise ValueError(
                "Estimating a gradient needs a loss that is a mean over the batch. Received: "
                f'{found.name} with reduction={found.reduction!r}. Use "sum_over_batch_size".'
            )
        function = found.call
    else:
        function = found

    def rows(labels: Any, probabilities: Any) -> Any:
        values = ops.cast(function(labels, probabilities), "float32")
        return ops.mean(ops.reshape(values, (ops.shape(probabilities)[0], -1)), axis=-1)

    return rows
