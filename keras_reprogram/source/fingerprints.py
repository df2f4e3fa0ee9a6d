"""network_facts: describes what a Keras network computes, without weights and names."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import marshal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import keras
import numpy as np

# Fields that do not affect an answer: a source only predicts, its weights are hashed separately,
# and Keras draws seeds and numbers names.
_IDLE = ("name", "trainable", "dtype", "seed", "build_config", "registered_name", "batch_shape")
_ENDS = ("_initializer", "_regularizer", "_constraint")
# Of a call.
_MODES = ("training", "mask")

_Tensor = Callable[[dict[str, Any]], Any]


def network_facts(model: keras.Model) -> list[str]:
    """Layers, operations and their connections, in order; one string each."""
    # Of Keras's own layers, only settings that differ from the default count, so that a newer
    # version with one more setting does not change the fingerprint. The code of custom layers and
    # functions is not covered, only their configuration.
    return [json.dumps(fact, sort_keys=True) for fact in _network(model)]


def _network(model: keras.Model) -> list[Any]:
    config = _graph_of(model)
    if config is None:
        # A custom class, or a layer without a configuration: its wiring is unknown.
        return [type(model).__name__, *map(_part, model.layers)]
    return _graph(config, {layer.name: layer for layer in model.layers})


def _graph_of(model: keras.Model) -> dict[str, Any] | None:
    """The configuration of a model's layers, also where its class keeps them for itself."""
    for graph in (lambda: model, lambda: keras.Model(model.inputs, model.outputs)):
        try:
            config = graph().get_config()
        except Exception:  # A user's layer may raise anything; `_part` reads each alone.
            return None
        if _is_graph(config):
            return config
        if not getattr(model, "inputs", None):
            return None
    return None


def _is_graph(config: Any) -> bool:
    layers = config.get("layers") if isinstance(config, dict) else None
    return isinstance(layers, list) and all(
        isinstance(layer, dict) and "class_name" in layer for layer in layers
    )


def _part(layer: Any) -> Any:
    """Facts of a layer that is outside of the graph."""
    if isinstance(layer, keras.Model):
        return _network(layer)
    kind = type(layer)
    try:
        settings = _settings(kind.__module__, kind.__name__, layer.get_config(), _no_tensor)
    except Exception:  # It has no configuration; `get_config` then raises many kinds of errors.
        settings = {"activation": getattr(getattr(layer, "activation", None), "__name__", "")}
    return [kind.__name__, settings]


def _graph(config: dict[str, Any], objects: dict[str, Any]) -> list[Any]:
    """Facts of the layers of a configuration; `objects` are its built layers, by name."""
    layers = config["layers"]
    numbers = {layer.get("name"): number for number, layer in enumerate(layers)}

    def tensor(config: dict[str, Any]) -> Any:
        name, *place = config["keras_history"]
        return ["layer", numbers[name], *place]

    facts: list[Any] = []
    for layer in layers:
        found = objects.get(layer.get("name") or layer["config"].get("name"))
        own = _network(found) if isinstance(found, keras.Model) else _plain(layer, tensor)
        nodes = [
            [_plain(node["args"], tensor), _plain(_without(node["kwargs"], _MODES), tensor)]
            for node in layer.get("inbound_nodes", ())
        ]
        facts.append([own, nodes])
    ends = [_places(config.get(key), numbers) for key in ("input_layers", "output_layers")]
    return [*facts, ends] if any(ends) else facts


def _places(value: Any, numbers: dict[str, int]) -> Any:
    """`["conv", 0, 0]`, or a structure of such, by the numbers of layers."""
    if isinstance(value, str):
        return numbers.get(value, value)
    if isinstance(value, dict):
        return {str(key): _places(part, numbers) for key, part in value.items()}
    return [_places(part, numbers) for part in value] if isinstance(value, list | tuple) else value


def _plain(value: Any, tensor: _Tensor) -> Any:
    """Converts to JSON values without names; `tensor` replaces symbolic tensors."""
    if isinstance(value, dict) and isinstance(value.get("config"), dict) and "class_name" in value:
        kind, config = value["class_name"], value["config"]
        if kind == "__keras_tensor__":
            return tensor(config)
        if kind == "__lambda__":
            return _lambda(config, tensor)
        if _is_graph(config):
            return _graph(config, {})
        return [kind, _settings(value.get("module") or "", kind, config, tensor)]
    if isinstance(value, dict):
        return {str(key): _plain(part, tensor) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, tensor) for part in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    # Of other objects the kind: their text may be an address.
    return np.asarray(value).tolist() if hasattr(value, "__array__") else type(value).__name__


def _settings(module: str, kind: str, config: dict[str, Any], tensor: _Tensor) -> dict[str, Any]:
    defaults = _defaults(kind) if module.split(".")[0] == "keras" else {}
    kept = {
        str(key): _plain(value, tensor)
        for key, value in _without(config, _IDLE).items()
        if not str(key).endswith(_ENDS)
    }
    dtype = _dtype(config.get("dtype"))
    if dtype != "float32":
        kept["dtype"] = dtype
    missing = object()
    return {key: value for key, value in kept.items() if value != defaults.get(key, missing)}


def _dtype(value: Any) -> Any:
    """The dtype policy of a layer's configuration, if it has one."""
    if not isinstance(value, dict):
        return value or "float32"
    config = value.get("config") or {}
    if "policy_map" not in config:
        return config.get("name") or "float32"
    # A map by paths, which are made of names.
    parts = [config.get("default_policy"), *config["policy_map"].values()]
    found = [_dtype(part) for part in parts]
    return found if set(found) != {"float32"} else "float32"


@cache
def _defaults(kind: str) -> dict[str, Any]:
    """Default settings of one of Keras's layers."""
    layer = getattr(keras.layers, kind, None)
    parameters = {} if layer is None else inspect.signature(layer.__init__).parameters
    return {
        name: _plain(parameter.default, _no_tensor)
        for name, parameter in parameters.items()
        if parameter.default is not parameter.empty
    }


def _lambda(config: dict[str, Any], tensor: _Tensor) -> Any:
    """The code of a lambda, without file and line."""
    code = _code(marshal.loads(base64.b64decode(config["code"])))
    return [
        "lambda",
        code,
        _plain(config.get("defaults"), tensor),
        _plain(config.get("closure"), tensor),
    ]


def _code(code: CodeType) -> list[Any]:
    constants = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def _without(config: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in keys}


def _no_tensor(config: dict[str, Any]) -> Any:
    return config.get("shape")


def sha256_of(path: Path) -> str:
    """Hash of a file, or of all files of a folder with their names."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no source model at {path}. Check the path.")
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            # The bytes' own hash has a fixed length, so that none of them pass for a name.
            digest.update(hashlib.sha256(file.read_bytes()).digest())
            digest.update(f"{file.relative_to(path).as_posix()}\0".encode())
    return digest.hexdigest()


def check_sha256(path: Path, expected: str | None) -> str:
    """The hash of `path`, which must be `expected` where that is given."""
    found = sha256_of(path)
    if expected is not None and found != expected:
        raise ValueError(
            f"The source at {path} is not the one expected. Expected sha256 {expected}. "
            f"Received: sha256 {found}. Put the right file there, or leave `sha256` out to "
            "accept this one."
        )
    return found
