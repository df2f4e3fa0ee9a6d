"""Reads facts of a Keras classifier: image size, kind of scores, penultimate features."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.source.network_input import NetworkInput, read_network_input

_SIGMOIDS = (keras.activations.sigmoid, keras.activations.hard_sigmoid)
# Layers that leave the scores as they are.
_RESHAPING = (
    keras.layers.InputLayer, keras.layers.Reshape, keras.layers.Flatten, keras.layers.Dropout
)  # fmt: skip


def network_input_of(
    model: keras.Model,
    data_format: str | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> NetworkInput:
    """The images that a classifier takes; a ValueError unless one image gives one row of scores."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`model` must be a keras.Model. Received: {type(model).__name__}. "
            "Wrap other callables in `OpaqueSource`."
        )
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or not all(isinstance(n, int | None) for n in shape):
        raise ValueError(
            "The source model must take one image, (None, H, W, C). "
            f"Received: input_shape={shape}. Build it with an `Input((H, W, C))`, or wrap it in a "
            "function of images for `OpaqueSource` (--source FILE.py:NAME)."
        )
    answer = model.output_shape
    if not isinstance(answer, tuple) or len(answer) < 2 or any(n != 1 for n in answer[1:-1]):
        raise ValueError(
            "The source model must have one output, one row of scores per image, (None, labels). "
            f"Received: output_shape={answer}. An application needs `include_top=True`."
        )
    return read_network_input(
        (None, *shape[1:]),
        f"The source model `{model.name}`",
        data_format=data_format,
        image_size=image_size,
        images_only=False,
    )


def score_kind_of(model: keras.Model) -> str:
    """The kind of scores, see `Source`, that the last layer with an activation gives."""
    last = next(layer for layer in reversed(model.layers) if not isinstance(layer, _RESHAPING))
    if isinstance(last, keras.Model):
        return score_kind_of(last)
    activation = getattr(last, "activation", None)
    if activation is keras.activations.linear:
        return "independent_logits" if _has_binary_loss(model) else "logits"
    return "independent" if activation in _SIGMOIDS else "probabilities"


def _has_binary_loss(model: keras.Model) -> bool:
    """Whether the compiled loss treats each score as a separate binary problem."""
    loss = getattr(model, "loss", None)
    return isinstance(
        loss, keras.losses.BinaryCrossentropy | keras.losses.BinaryFocalCrossentropy
    ) or loss in ("binary_crossentropy", "binary_focal_crossentropy")


def features_of(model: keras.Model) -> keras.Model:
    """A model of the last weighted layer's input, `(n, H, W, C) -> (n, width)`; shares layers."""
    for layer in reversed(model.layers):
        if layer.weights:
            break
    else:
        raise ValueError(f"`{model.name}` has no layer with weights, hence no features.")
    entering = layer.input
    if isinstance(layer, keras.Model):
        # A classifier inside the model: its last layer is meant, not the image that enters it.
        entering = features_of(layer)(entering)
    features = keras.layers.Flatten(name="keras_reprogram_features")(entering)
    try:
        return keras.Model(model.inputs[0], features, name=f"{model.name}_features")
    except ValueError as error:
        raise ValueError(
            "Features are the inputs of the last layer with weights, which all scores must pass "
            "through. "
            f"Received: `{model.name}`, which has no such layer: joined sources have one last "
            f"layer each. Use one of the joined sources."
        ) from error


_METHODS = ("predict", "predict_step", "predict_on_batch")
_SAME = 1e-3


def own_image_size(model: Any) -> tuple[int, int] | None:
    """`(height, width)` that a network's own preprocessor (KerasHub) resizes to, or `None`."""
    size = getattr(_converter_of(model), "image_size", None)
    return None if size is None else (int(size[0]), int(size[1]))


def own_preprocessing(model: Any) -> tuple[Any, Any]:
    """`(scale, offset)` of a network's own preprocessor (KerasHub); `(1, 0)` if it has none."""
    converter = _converter_of(model)
    scale, offset = (getattr(converter, name, None) for name in ("scale", "offset"))
    try:
        parts = [1.0 if scale is None else scale, 0.0 if offset is None else offset]
        scale, offset = (np.squeeze(np.asarray(part, float)) for part in parts)
    except (TypeError, ValueError):
        # An unrelated attribute of this name; `check_predict` compares the results.
        return 1.0, 0.0
    return scale, offset


def _converter_of(model: Any) -> Any:
    preprocessor = getattr(model, "preprocessor", None)
    return getattr(preprocessor, "image_converter", preprocessor)


def asks_otherwise(model: Any) -> bool:
    """Whether the class of a network has a `predict` of its own."""
    own = (getattr(type(model), name) is not getattr(keras.Model, name) for name in _METHODS)
    return any(own)


def check_predict(model: Any, images: np.ndarray, scores: np.ndarray) -> None:
    """Refuses a network whose `predict` differs from the source built from it."""
    try:
        predicted = ops.convert_to_numpy(model.predict(images, verbose=0)).reshape(len(images), -1)
    except Exception as error:  # A user's own method may raise anything.
        seen = f"an error from `predict` ({type(error).__name__}: {error})"
    else:
        difference = np.inf
        if predicted.shape == scores.shape:
            difference = np.abs(predicted - scores).max() / max(1.0, np.abs(predicted).max())
        if difference <= _SAME:
            return
        seen = f"scores that differ by {difference:.2g}"
    raise ValueError(
        f"`{model.name}` preprocesses images in its own `predict`, in a way that a source cannot "
        f"read: the source's scores would differ from those of `predict`. Received: {seen}. Set "
        f"`preprocessor = None` on the network where it has one, and say what it did by "
        f"`preprocessing=(scale, offset)`; or ask `predict` itself, in "
        f"`OpaqueSource(network.predict, ...)` (--source FILE.py:NAME)."
    )
