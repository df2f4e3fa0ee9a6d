"""Networks that are asked otherwise than they are called: `predict` prepares the images first."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

_METHODS = ("predict", "predict_step", "predict_on_batch")
_SAME = 1e-3


def own_image_size(model: Any) -> tuple[int, int] | None:
    """The size to which a network's own preprocessor brings images.

    Args:
        model: a Keras model, such as KerasHub's `ImageClassifier`.

    Returns:
        `(height, width)`, or `None` if it has no such preprocessor.
    """
    size = getattr(_converter_of(model), "image_size", None)
    return None if size is None else (int(size[0]), int(size[1]))


def own_preprocessing(model: Any) -> tuple[Any, Any]:
    """`(scale, offset)` of a network's own preprocessor, for images of its own size.

    Args:
        model: a Keras model, such as KerasHub's `ImageClassifier`.

    Returns:
        Each a number or one a channel; `(1, 0)` if the network has no preprocessor that says so.
    """
    converter = _converter_of(model)
    scale, offset = (getattr(converter, name, None) for name in ("scale", "offset"))
    try:
        parts = [1.0 if scale is None else scale, 0.0 if offset is None else offset]
        scale, offset = (np.squeeze(np.asarray(part, float)) for part in parts)
    except (TypeError, ValueError):
        # Something else of these names; `check_predict` compares what is made of it.
        return 1.0, 0.0
    return scale, offset


def _converter_of(model: Any) -> Any:
    preprocessor = getattr(model, "preprocessor", None)
    return getattr(preprocessor, "image_converter", preprocessor)


def asks_otherwise(model: Any) -> bool:
    """Whether the class of a network has a `predict` of its own.

    Args:
        model: a Keras model.
    """
    own = (getattr(type(model), name) is not getattr(keras.Model, name) for name in _METHODS)
    return any(own)


def check_predict(model: Any, images: np.ndarray, scores: np.ndarray) -> None:
    """Refuses a network whose `predict` answers otherwise than the source that was made of it.

    Args:
        model: a Keras model whose class has a `predict` of its own.
        images: `(n, ...)` as users show them to `predict`.
        scores: the source's answers to them, `(n, S)`.

    Raises:
        ValueError: if they differ.
    """
    try:
        predicted = ops.convert_to_numpy(model.predict(images, verbose=0)).reshape(len(images), -1)
    except Exception as error:  # Whatever a method of somebody's own raises.
        seen = f"an error from `predict` ({type(error).__name__}: {error})"
    else:
        difference = np.inf
        if predicted.shape == scores.shape:
            difference = np.abs(predicted - scores).max() / max(1.0, np.abs(predicted).max())
        if difference <= _SAME:
            return
        seen = f"scores that differ by {difference:.2g}"
    raise ValueError(
        f"`{model.name}` prepares images in its own `predict`, in a way that a source cannot read: "
        f"its scores would be others than `predict` gives. Received: {seen}. Set `preprocessor = "
        "None` on the network where it has one, and say what it did by `preprocessing=(scale, "
        "offset)`; or ask `predict` itself, in `OpaqueSource(network.predict, ...)` (--source "
        "FILE.py:NAME)."
    )
