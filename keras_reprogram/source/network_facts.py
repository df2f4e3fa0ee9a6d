"""network_facts: what a Keras network computes, but for its weights and its names."""

from __future__ import annotations

import base64
import json
import marshal
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

# Of Keras's own layers, what changes their answers. A list, since newer versions add settings that
# change nothing, and a network must stay the one it was.
_SETTINGS = (
    "activation", "alpha", "approximate", "arguments", "axis", "center", "cropping",
    "crop_to_aspect_ratio", "data_format", "depth_multiplier", "dilation_rate", "dims", "epsilon",
    "function", "groups", "height", "interpolation", "invert", "keepdims", "max_value", "mean", "n",
    "negative_slope", "num_heads", "offset", "output_mode", "pad_to_aspect_ratio", "padding",
    "pool_size", "scale", "size", "strides", "target_shape", "threshold", "use_causal_mask",
    "variance", "width",
)  # fmt: skip
# Of other layers everything is taken but this, which says nothing of the answers.
_IDLE = ("name", "trainable", "dtype")


def network_facts(model: keras.Model) -> list[str]:
    """What layers and operations do, in order, and which of them reads which.

    Args:
        model: a built Keras model.

    Returns:
        A string for each layer and operation; those of models inside it in their place.

    Example:
    ```python
    import keras
    from keras_reprogram.source.network_facts import network_facts

    model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(max_value=6)])
    assert "6" in network_facts(model)[1]
    ```
    """
    try:
        config = model.get_config()
    except NotImplementedError:
        # A class of somebody's own that cannot be saved: what is known are its layers.
        return [type(layer).__name__ for layer in model.layers]
    return list(_facts(config))


def _facts(config: dict[str, Any]) -> Iterator[str]:
    layers = config.get("layers")
    if layers is None:
        yield _text(_settings("", config))
        return
    numbers = {layer.get("name"): number for number, layer in enumerate(layers)}
    for layer in layers:
        inside = layer["config"]
        own = {} if "layers" in inside else _settings(layer["module"] or "", inside)
        nodes = [_node(node, numbers) for node in layer.get("inbound_nodes", ())]
        yield f"{layer['class_name']} {_text(own)} {nodes}"
        if "layers" in inside:
            yield from _facts(inside)


def _settings(module: str, config: dict[str, Any]) -> dict[str, Any]:
    of_keras = module.startswith("keras") and ".ops." not in module
    return {
        key: _code(value)
        for key, value in config.items()
        if (key in _SETTINGS if of_keras else key not in _IDLE)
    }


def _code(value: Any) -> Any:
    """What a lambda does, without the file and the line where it was written."""
    if not isinstance(value, dict) or value.get("class_name") != "__lambda__":
        return value
    code = marshal.loads(base64.b64decode(value["config"]["code"]))
    return [code.co_code.hex(), str([c for c in code.co_consts if not hasattr(c, "co_code")])]


def _node(node: Any, numbers: dict[str, int]) -> list[Any]:
    """Numbers of the layers that are read, and the constants beside them (`images / 255`)."""
    found: list[Any] = []
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        name, *place = node["config"]["keras_history"]
        return [f"layer {numbers[name]} {place}"]
    if isinstance(node, dict):
        # `training` and `mask` are what a call was made with; a source always predicts.
        parts = [value for key, value in sorted(node.items()) if key not in ("training", "mask")]
    elif isinstance(node, list | tuple):
        parts = list(node)
    else:
        return [] if node is None else [str(node)]
    for part in parts:
        found += _node(part, numbers)
    return found


def _text(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """Arrays as lists, other objects by their kind: their text may be an address."""
    if hasattr(value, "__array__"):
        return np.asarray(value).tolist()
    return type(value).__name__
