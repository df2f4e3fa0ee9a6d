"""folded: a view of a network in which BatchNormalization is part of the convolution before it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

# Layers that multiply by one kernel, and the axes of the kernel that lie before its outputs. Their
# subclasses may compute anything.
_BEFORE_OUTPUTS = {
    keras.layers.Conv2D: 3,
    keras.layers.Dense: 1,
    keras.layers.DepthwiseConv2D: 2,
}
# Whatever the global policy is, the layers inside know in which precision they compute.
_AS_IT_IS: dict[str, Any] = {"dtype": "float32", "autocast": False}


def folded(network: keras.Model) -> keras.Model:
    """A view of the same weights with fewer operations; the network itself where none is saved.

    A source always computes in inference mode, where BatchNormalization is an affine map of its
    channels: `(conv(x) - mean) * s + beta` with `s = gamma / sqrt(variance + epsilon)`. The view
    multiplies the kernel by s instead of each pixel, where that is less work. Nothing is copied:
    weights that are set later count.
    """
    inputs, outputs = (getattr(network, name, None) or [] for name in ("inputs", "outputs"))
    if len(inputs) != 1 or len(outputs) != 1:
        return network
    # Without what the network was compiled with.
    graph = keras.Model(inputs[0], outputs[0], name=network.name)
    norms, inner = _norms(graph), {}
    for layer in graph.layers:
        if isinstance(layer, keras.Model) and (view := folded(layer)) is not layer:
            inner[layer.name] = view
    if not norms and not inner:
        return network
    left_out = {norm.name for norm in norms.values()}

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        if layer.name in left_out:
            return arguments[0]
        if layer.name in norms:
            return _Folded(layer, norms[layer.name])(*arguments)
        if not isinstance(layer, keras.layers.Layer):
            # An operation such as `x / 255`: layers take no numbers as positional arguments.
            return layer(*arguments, **options)
        return _Called(inner.get(layer.name, layer))(*arguments, **options)

    return keras.models.clone_model(
        graph,
        input_tensors=keras.Input(batch_shape=inputs[0].shape, dtype=inputs[0].dtype),
        clone_function=lambda layer: layer,
        call_function=call,
    )


class _Called(keras.layers.Layer):
    """Another layer, without a second place in a graph: `layer.output` stays what it was."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(name=f"{layer.name}_called", trainable=False, **_AS_IT_IS)
        self.layer = layer
        self.built = True

    def call(self, *arguments: Any, **options: Any) -> Any:
        return self.layer(*arguments, **options)

    def compute_output_spec(self, *arguments: Any, **options: Any) -> Any:
        # Without running the layer once more, which takes seconds for a large network.
        return self.layer.compute_output_spec(*arguments, **options)


class _Folded(keras.layers.Layer):
    """A layer with a kernel and the BatchNormalization behind it, in one operation."""

    def __init__(self, layer: Any, norm: keras.layers.BatchNormalization) -> None:
        super().__init__(name=f"{layer.name}_folded", trainable=False, **_AS_IT_IS)
        self.layer, self.norm = layer, norm
        self.built = True

    def compute_output_spec(self, images: Any) -> Any:
        return self.layer.compute_output_spec(images)

    def call(self, images: Any) -> Any:
        layer, norm = self.layer, self.norm
        scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
        if norm.gamma is not None:
            scale = scale * norm.gamma
        shift = -norm.moving_mean * scale
        if norm.beta is not None:
            shift = shift + norm.beta
        outputs = layer.kernel.shape[_BEFORE_OUTPUTS[type(layer)] :]
        values = [(layer.kernel, layer.kernel * ops.reshape(scale, outputs))]
        if layer.use_bias:
            values.append((layer.bias, layer.bias * scale + shift))
        with keras.StatelessScope(state_mapping=values):
            answer = layer.call(images)
        if layer.use_bias:
            return answer
        return answer + (ops.reshape(shift, (-1, 1, 1)) if _channels_first(layer) else shift)


def _norms(graph: keras.Model) -> dict[str, keras.layers.BatchNormalization]:
    """Name of a layer -> the BatchNormalization that alone reads it, where folding saves work."""
    try:
        config = graph.get_config()
    except NotImplementedError:
        # A layer of a user's own class says nothing of itself.
        return {}
    readers = defaultdict(list)
    for layer in config["layers"]:
        for name, shape in _tensors(layer["inbound_nodes"]):
            readers[name].append((layer["name"], shape))
    # One output: its layer, and which of the layer's tensors.
    end, _, _ = config["output_layers"]
    # Operations such as `x // 2` have names too, and are no layers.
    layers = {layer.name: layer for layer in graph.layers}
    norms = {}
    for name, reading in readers.items():
        if len(reading) == 1 and name != end:
            norm, shape = layers.get(reading[0][0]), reading[0][1]
            if _folds(layers.get(name), norm, shape):
                norms[name] = norm
    return norms


def _tensors(part: Any) -> Iterator[tuple[str, list[int | None]]]:
    """Names of the layers whose outputs a part of a config reads, and the outputs' shapes."""
    if isinstance(part, dict):
        if "keras_history" in part:
            yield part["keras_history"][0], part["shape"]
        part = list(part.values())
    if isinstance(part, list | tuple):
        for item in part:
            yield from _tensors(item)


def _folds(layer: Any, norm: Any, shape: list[int | None]) -> bool:
    """Whether a norm of what a layer computes, of this shape, can and should be in its kernel."""
    if type(layer) not in _BEFORE_OUTPUTS or type(norm) is not keras.layers.BatchNormalization:
        return False
    return (
        layer.activation is keras.activations.linear
        and layer.quantization_mode is None
        and not getattr(layer, "lora_enabled", False)
        and norm.axis % len(shape) == (1 if _channels_first(layer) else len(shape) - 1)
        # Scaling the kernel is less work than scaling what it computes of one image.
        and np.prod(layer.kernel.shape) <= np.prod([size or 1 for size in shape])
    )


def _channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"
