"""What can be read off a Keras classifier: image size, kind of scores, penultimate features."""

from __future__ import annotations

import keras

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
    """The images that a classifier takes.

    Args:
        model: a built Keras model.
        data_format: see `read_network_input`.
        image_size: see `read_network_input`.

    Returns:
        Size and order of the axes. Keras models take batches of any size.

    Raises:
        ValueError: unless there is one image in, whose size and order are known, and one row of
            scores out.
    """
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
            "The source model must have one output, a row of scores an image (None, labels). "
            f"Received: output_shape={answer}. An application needs `include_top=True`."
        )
    return read_network_input(
        (None, *shape[1:]),
        f"The source model `{model.name}`",
        data_format=data_format,
        image_size=image_size,
    )


def score_kind_of(model: keras.Model) -> str:
    """What the last layer with an activation makes of its scores.

    A linear one gives logits, of sigmoids where the model was compiled for a binary loss; a
    sigmoid gives independent scores, anything else probabilities.

    Args:
        model: a built Keras model.

    Returns:
        A kind of scores, see `Source`.
    """
    last = next(layer for layer in reversed(model.layers) if not isinstance(layer, _RESHAPING))
    if isinstance(last, keras.Model):
        return score_kind_of(last)
    activation = getattr(last, "activation", None)
    if activation is keras.activations.linear:
        return "independent_logits" if _has_binary_loss(model) else "logits"
    return "independent" if activation in _SIGMOIDS else "probabilities"


def _has_binary_loss(model: keras.Model) -> bool:
    """Whether each score was trained for itself, as far as `compile` was told."""
    loss = getattr(model, "loss", None)
    return isinstance(
        loss, keras.losses.BinaryCrossentropy | keras.losses.BinaryFocalCrossentropy
    ) or loss in ("binary_crossentropy", "binary_focal_crossentropy")


def features_of(model: keras.Model) -> keras.Model:
    """What enters the last layer that has weights, one row an image.

    Args:
        model: a built Keras model.

    Returns:
        A model `(n, H, W, C) -> (n, width)` of the same layers.

    Raises:
        ValueError: if no layer has weights, or if there are several last ones side by side.
    """
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
            "Features are what enters the last layer with weights, through which all answers go. "
            f"Received: `{model.name}`, in which none does: joined sources have a last layer each. "
            "Take one of them."
        ) from error
