"""What a model file says of itself, as rows of a table."""

from __future__ import annotations

from typing import Any

from keras_reprogram.source import (
    FrozenSource,
    LiteRTSource,
    ONNXSource,
    SavedModelSource,
    Source,
)
from keras_reprogram.source.network_input import NetworkInput, quantised_layers

_SHOWN_NAMES = 3
_NOTHING = "nothing"


def file_facts(source: Source) -> dict[str, Any]:
    """Facts of a source, and of its file where it has one."""
    own: dict[str, Any] = {}
    if isinstance(source, FrozenSource):
        own = _of_keras(source)
    elif isinstance(source, SavedModelSource):
        own = _of_saved_model(source)
    elif isinstance(source, LiteRTSource):
        own = _of_litert(source)
    elif isinstance(source, ONNXSource):
        own = _of_onnx(source)
    height, width, channels = source.source_shape
    return {
        "kind": type(source).__name__,
        "image": f"{height} x {width}, {channels} channels",
        **own,
        "answer": f"{source.num_labels:,} scores, {source.score_kind}",
        "class names": _listed(source.class_names),
    }


def says_its_pixels(source: Source) -> bool:
    """Whether nobody has to say a source's range: it takes whole numbers, or states it."""
    if isinstance(source, FrozenSource):
        return source.whole_numbers is not None
    if isinstance(source, SavedModelSource):
        return not source.pixel_dtype.is_floating
    if isinstance(source, LiteRTSource):
        return source.pixel_codes is not None or source.preprocessing is not None
    if isinstance(source, ONNXSource):
        return source.file.dtype.kind != "f" or source.file.value_range is not None
    return True


def _of_keras(source: FrozenSource) -> dict[str, Any]:
    network, modes = source.model, sorted(set(quantised_layers(source.model).values()))
    return {
        "input": f"{source.whole_numbers or 'float32'}, {_layout(source.network_input)}",
        "network": ", ".join([f"{network.name}: {network.count_params():,} weights", *modes]),
        "says of its pixels": _NOTHING,
    }


def _of_saved_model(source: SavedModelSource) -> dict[str, Any]:
    function = source.loaded.signatures[source.signature]
    return {
        "signatures": ", ".join(sorted(source.loaded.signatures)),
        "input": f"{source.input_name}: {source.pixel_dtype.name}, {_layout(source.network_input)}",
        "outputs": ", ".join(sorted(function.structured_outputs)),
        "says of its pixels": _NOTHING,
    }


def _of_litert(source: LiteRTSource) -> dict[str, Any]:
    scale, zero_point = source.input_details["quantization"]
    said = _NOTHING
    if source.pixel_codes is not None:
        said = f"codes of scale {scale:.6g} and zero point {zero_point}"
    elif source.preprocessing is not None:
        said = f"pixels of 0 to 255 times {source.preprocessing[0]}, plus {source.preprocessing[1]}"
    return {
        "input": f"{_dtype(source.input_details)}, {_layout(source.network_input)}",
        "output": _dtype(source.output_details),
        "says of its pixels": said,
    }


def _of_onnx(source: ONNXSource) -> dict[str, Any]:
    file = source.file
    said = [f"{file.value_range[0]:g} to {file.value_range[1]:g}"] if file.value_range else []
    said += [file.channel_order.upper()] if file.channel_order else []
    return {
        "input": f"{file.input_name}: {file.dtype.name}, {_layout(source.network_input)}",
        "output": file.output_name,
        "metadata": ", ".join(f"{key}={value}" for key, value in file.metadata.items()) or "-",
        "says of its pixels": ", ".join(said) or _NOTHING,
    }


def _layout(network_input: NetworkInput) -> str:
    order = "channels first" if network_input.channels_first else "channels last"
    batch = network_input.batch_size
    size = ", any size" if network_input.any_size else ""
    return f"{order}, {f'batches of {batch}' if batch else 'any batch'}{size}"


def _dtype(details: dict[str, Any]) -> str:
    return details["dtype"].__name__


def _listed(names: tuple[str, ...] | None) -> str:
    if names is None:
        return "-"
    shown = ", ".join(names[:_SHOWN_NAMES])
    return f"{len(names):,}: {shown}" + (", ..." if len(names) > _SHOWN_NAMES else "")
