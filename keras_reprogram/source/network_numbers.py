"""The numbers that a network computes with: half precision, integer images, quantised layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

_HALVES = ("bfloat16", "float16")
# What Keras computes a gradient of that is no slope of the answers, or none at all.
_WITHOUT_GRADIENT = ("float8",)
# Largest difference of two scores that are the same but for rounding.
_SAME = 1e-4


def compute_in_float32(network: keras.Model) -> None:
    """Sets layers of half precision, be it by a global policy or by their own, to float32.

    In half precision a row of scores sums to 1.004, and steps of a program are rounded away.

    Args:
        network: a built Keras model; its layers are changed.

    Raises:
        ValueError: if the weights themselves are kept in half precision.
    """
    rounded = [weight for weight in network.weights if weight.dtype in _HALVES]
    if rounded:
        raise ValueError(
            "A source computes in float32, and its weights are float32. Received: "
            f"`{network.name}` with {len(rounded)} weights in {rounded[0].dtype}, such as "
            f"`{rounded[0].path}`. The cause is the dtype policy that it was built under: call "
            '`keras.config.set_dtype_policy("float32")` or pass `dtype="float32"` before it is '
            "built or loaded, and load its weights again."
        )
    for layer in network._flatten_layers():
        if layer.compute_dtype not in _HALVES:
            continue
        policy = layer.dtype_policy
        if isinstance(policy, keras.dtype_policies.DTypePolicyMap):
            policy = policy[layer.path]
        # Of a quantised layer such as "int8_from_mixed_bfloat16".
        quantised, of, _ = policy.name.rpartition("_from_")
        layer.dtype_policy = f"{quantised}{of}float32"
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            _restore_statistics(layer)


def _restore_statistics(layer: Any) -> None:
    """Computes anew what the layer had rounded when it was built."""
    if layer.input_mean is None:
        layer.finalize_state()
        return
    fresh = keras.layers.Normalization.from_config(layer.get_config())
    fresh.build(layer.get_build_config()["input_shape"])
    layer.mean, layer.variance = fresh.mean, fresh.variance


def float_images(network: keras.Model) -> keras.Model:
    """A view of the same layers that takes float32 images.

    A functional model casts images to the dtype of its `Input`: to uint8, which has no gradient and
    cuts 254.9 to 254, or to half precision. Inner models do so too.

    Args:
        network: a built Keras model.

    Returns:
        The network itself if it takes float32 or float64, or says nothing.

    Raises:
        Exception: whatever a layer says that does not take floats.
    """
    tensors = getattr(network, "inputs", None) or []
    if len(tensors) != 1 or not _casts(network):
        return network
    # Without what the network was compiled with.
    outputs = network.outputs[0] if len(network.outputs) == 1 else network.outputs
    graph = keras.Model(tensors[0], outputs, name=network.name)
    image = keras.Input(batch_shape=tensors[0].shape, dtype="float32")
    return keras.models.clone_model(graph, input_tensors=image, clone_function=_float_layer)


def _float_layer(layer: Any) -> Any:
    return float_images(layer) if isinstance(layer, keras.Model) else layer


def _casts(network: Any) -> bool:
    """Whether one input of a network, or of a network inside it, is cast before it is read."""
    inner = [layer for layer in network._flatten_layers() if isinstance(layer, keras.Model)]
    inputs = [list(getattr(model, "inputs", None) or []) for model in inner]
    return any(
        len(tensors) == 1 and tensors[0].dtype not in ("float32", "float64") for tensors in inputs
    )


def integer_input(network: keras.Model) -> str | None:
    """The dtype of the images that a network takes, if that is an integer.

    Args:
        network: a built Keras model.

    Returns:
        Such as `"uint8"`, or `None`.
    """
    inputs = getattr(network, "inputs", None) or []
    dtype = str(inputs[0].dtype) if inputs else "float32"
    return dtype if "int" in dtype else None


def reads_floats_alike(
    network: keras.Model, view: keras.Model, image_shape: tuple[int, int, int]
) -> bool:
    """Whether a view that takes floats continues, between whole numbers, what the network answers.

    It does where the network's first layer makes floats of its integers, and does not where it
    counts with integers or looks them up: then no fraction of a pixel changes an answer.

    Args:
        network: takes integers.
        view: from `float_images`.
        image_shape: of an image as the network takes it.
    """
    random = np.random.default_rng(0)
    image = random.integers(0, 128, (1, *image_shape))
    between = image + random.uniform(0.2, 0.4, image.shape)
    expected = ops.convert_to_numpy(network(image.astype(integer_input(network)), training=False))
    found, moved = (
        ops.convert_to_numpy(view(pixels.astype("float32"), training=False))
        for pixels in (image, between)
    )
    return bool(np.allclose(found, expected, atol=_SAME) and (found != moved).any())


def rounded_for(dtype: str, images: Any) -> Any:
    """The nearest pixels of an integer kind: a cast alone would cut 254.9 to 254.

    Args:
        dtype: such as `"uint8"`.
        images: float32, any shape.

    Returns:
        The same shape and dtype, whole numbers within the range of `dtype`.
    """
    limits = np.iinfo(dtype)
    return ops.clip(ops.round(images), float(limits.min), float(limits.max))


def has_no_gradient(network: keras.Model) -> bool:
    """Whether a layer of a network was quantised in a way that lets no slope through.

    Args:
        network: a built Keras model.
    """
    return any(mode in _WITHOUT_GRADIENT for mode in quantised_layers(network).values())


def quantised_layers(network: keras.Model) -> dict[str, str]:
    """Layers that `network.quantize(mode)` changed.

    Args:
        network: a built Keras model.

    Returns:
        Name -> mode, such as `{"dense": "int8"}`.
    """
    modes = ((layer.name, layer.quantization_mode) for layer in network._flatten_layers())
    return {name: mode for name, mode in modes if mode is not None}
