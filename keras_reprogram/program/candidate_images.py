"""What candidate programs make of images: the seam between programs and estimators."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
from keras import ops


def flat_value(program: keras.layers.Layer) -> Any:
    """The program's trainable variables as one flat tensor `(size,)`, in their order.

    Args:
        program: a built layer.

    Returns:
        float32 tensor `(size,)`.
    """
    parts = [ops.reshape(v.value, (-1,)) for v in program.trainable_variables]
    return ops.concatenate(parts) if parts else ops.zeros((0,), "float32")


def unflatten(program: keras.layers.Layer, flat: Any) -> list[Any]:
    """Cuts a flat tensor `(size,)` into the shapes of the program's trainable variables.

    Args:
        program: a built layer.
        flat: `(size,)`.

    Returns:
        One tensor a variable.
    """
    pieces, start = [], 0
    for variable in program.trainable_variables:
        size = int(np.prod(variable.shape))
        pieces.append(ops.reshape(flat[start : start + size], variable.shape))
        start += size
    return pieces


def live_coordinates(program: keras.layers.Layer) -> np.ndarray:
    """Which flat coordinates can change a source image: all, unless the program knows better.

    Args:
        program: a built layer; a method `live_coordinates()` answers for itself.

    Returns:
        bool array `(size,)`.
    """
    if hasattr(program, "live_coordinates"):
        return np.asarray(program.live_coordinates(), bool)
    return np.ones(sum(int(np.prod(v.shape)) for v in program.trainable_variables), bool)


def candidate_images(program: keras.layers.Layer, images: Any, values: Any) -> Any:
    """Source images under candidate weights, one row of weights an image.

    A program with a method `transform(images, values)` does it at once; any other layer is
    called row by row with its variables replaced.

    Args:
        program: a built layer.
        images: `(rows, h, w, c)`.
        values: `(rows or 1, size)`.

    Returns:
        `(rows, V, H, W, C)`.
    """
    if hasattr(program, "transform"):
        return program.transform(images, values)
    non_trainable = [v.value for v in program.non_trainable_variables]
    options = {"training": False} if _takes_training(program) else {}

    def one_row(row: tuple[Any, Any]) -> Any:
        image, value = row
        outputs, _ = program.stateless_call(
            unflatten(program, value), non_trainable, image[None], **options
        )
        return outputs[0]

    values = ops.broadcast_to(values, (ops.shape(images)[0], values.shape[-1]))
    return ops.map(one_row, (images, values))


def _takes_training(program: keras.layers.Layer) -> bool:
    """Whether `call` has the argument: Keras hands it only to layers that do."""
    parameters = inspect.signature(program.call).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)
