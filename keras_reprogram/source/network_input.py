"""NetworkInput: a network's image layout, batch size and input type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.arguments import (
    COMMON_CHANNELS,
    image_size_or_none,
    is_image,
    looks_channels_first,
)

DATA_FORMATS = ("channels_last", "channels_first")
Size = int | None


@dataclass(frozen=True)
class NetworkInput:
    """The conversion from callers' images to a network's input."""

    # Of the images that callers send, (H, W, C), or of series and texts.
    source_shape: Any
    channels_first: bool = False
    # How many images each call must have, or `None` for any number.
    batch_size: int | None = None
    # Whether the network takes other sizes too, so that this one was chosen.
    any_size: bool = False

    @property
    def image_shape(self) -> tuple[int, ...]:
        """One image as the network takes it."""
        if not self.channels_first:
            return self.source_shape
        height, width, channels = self.source_shape
        return channels, height, width

    @property
    def channels(self) -> int:
        """How many numbers a channel's scale and offset may be: those of the last axis."""
        return self.source_shape[-1] if len(self.source_shape) > 1 else 1

    @property
    def axes(self) -> tuple[int, int, int, int] | None:
        """The order that turns callers' axes into the network's, or `None` if they are the same."""
        return (0, 3, 1, 2) if self.channels_first else None

    @property
    def chosen(self) -> str:
        """The callers' choices, for fingerprints; empty if there are none."""
        parts = [f"{self.source_shape}"] * self.any_size + ["channels_first"] * self.channels_first
        return ":".join(parts)


def read_network_input(
    shape: Sequence[Size],
    who: str,
    *,
    data_format: str | None = None,
    image_size: int | Sequence[int] | None = None,
    images_only: bool = True,
) -> NetworkInput:
    """Reads a network's input shape, `(n, H, W, C)` or `(n, C, H, W)`, `None` for what is open.

    Unless `images_only`, also `(n, length)`, `(n, length, channels)` and others, as they are.
    """
    if not images_only and not is_image(shape[1:]):
        return _read_series(tuple(shape), who, data_format, image_size)
    if len(shape) != 4:
        raise ValueError(_no_image(shape, who))
    if data_format is not None and data_format not in DATA_FORMATS:
        raise ValueError(
            f"`data_format` (--data-format) must be one of {DATA_FORMATS}. "
            f"Received: {data_format!r}."
        )
    if data_format is None and looks_channels_first(shape[1:]):
        raise ValueError(_which_format(tuple(shape), who))
    channels_first = data_format == "channels_first"
    sides = tuple(shape[2:]) if channels_first else tuple(shape[1:3])
    channels = shape[1] if channels_first else shape[3]
    if channels is None:
        raise ValueError(
            f"{who} must take images of a known number of channels. Received: an input of shape "
            f"{tuple(shape)}. Pass a network whose input says its channels."
        )
    height, width = _chosen_sides(sides, image_size, tuple(shape), who)
    return NetworkInput(
        (height, width, int(channels)), channels_first, shape[0], any_size=None in sides
    )


def _read_series(
    shape: tuple[Size, ...],
    who: str,
    data_format: str | None,
    image_size: int | Sequence[int] | None,
) -> NetworkInput:
    """The input of a network of series or texts, whose axes are taken as they are."""
    if len(shape) < 2:
        raise ValueError(_no_image(shape, who))
    if data_format is not None:
        raise ValueError(
            "`data_format` (--data-format) is for images. "
            f"Received: {who}, which takes an input of shape {tuple(shape)}. Leave it out."
        )
    sizes, open_axes = list(shape[1:]), shape[1:].count(None)
    if image_size is not None and (open_axes != 1 or not isinstance(image_size, int)):
        raise ValueError(
            "`image_size` (--source-size) is the length of inputs of which one axis is open. "
            f"Received: image_size={image_size} for an input of shape {tuple(shape)}. Leave it out."
        )
    if open_axes and image_size is None:
        raise ValueError(
            f"{who} must take inputs of one length. Received: an input of shape {tuple(shape)}. "
            "Pass the length as `image_size=16000` (--source-size 16000)."
        )
    chosen = tuple(int(image_size if size is None else size) for size in sizes)  # type: ignore[arg-type]
    return NetworkInput(chosen, False, shape[0], any_size=bool(open_axes))


def _no_image(shape: Sequence[Size], who: str) -> str:
    return (
        f"{who} must take one image, (n, H, W, C) or (n, C, H, W). Received: an input of shape "
        f"{tuple(shape)}. Choose an image classifier, or wrap the network in a function that "
        "takes images, for `OpaqueSource` (--source FILE.py:NAME)."
    )


def _which_format(shape: tuple[Size, ...], who: str) -> str:
    _, channels, height, width = shape
    return (
        f"{who} seems to take channels first, (n, C, H, W), as networks from PyTorch do. Received: "
        f"an input of shape {shape}: {channels} channels of {height} x {width} pixels, or images "
        f"{channels} pixels high with {width} channels? Say which: "
        '`data_format="channels_first"` (--data-format channels_first), or `"channels_last"`.'
    )


def _chosen_sides(
    sides: tuple[Size, ...],
    image_size: int | Sequence[int] | None,
    shape: tuple[Size, ...],
    who: str,
) -> tuple[int, int]:
    if image_size is None and None in sides:
        raise ValueError(
            f"{who} takes images of any size, so one must be chosen. Received: an input of shape "
            f"{shape}. Pass `image_size=224` (--source-size 224), or the size that it was trained "
            "on."
        )
    wanted = image_size_or_none(image_size) or sides
    if any(own not in (None, one) for own, one in zip(sides, wanted, strict=True)):
        raise ValueError(
            f"{who} takes images of one size. Received: image_size={image_size} for an input of "
            f"shape {shape}. Leave `image_size` (--source-size) out."
        )
    return int(wanted[0]), int(wanted[1])  # type: ignore[arg-type]


# Orders of a colour image's channels.
_CHANNEL_ORDERS = ("rgb", "bgr")
# Fewer pixel values than these are black and white, not a range of whole numbers.
_FEWEST_LEVELS = 16


def told_data_format(shape: Sequence[Size], who: str) -> str:
    """The order of axes that a network's input shape tells; a ValueError if it does not."""
    if len(shape) != 4:
        raise ValueError(_no_image(shape, who))
    first, last = (shape[axis] in COMMON_CHANNELS for axis in (1, 3))
    if first == last:
        raise ValueError(
            f"{who} does not say whether it takes (n, H, W, C) or (n, C, H, W). Received: an input "
            f'of shape {tuple(shape)}. Say which: `data_format="channels_first"` (--data-format '
            'channels_first), as networks from PyTorch do, or `"channels_last"`.'
        )
    return "channels_first" if first else "channels_last"


def which_range(who: str) -> str:
    """The error message for float pixels without a range."""
    return (
        f"{who} takes float pixels; a file cannot tell in which range. Received: no value range. "
        "Pass `value_range=(0, 255)`, `(0, 1)` or `(-1, 1)` (--value-range 0,255 or 0,1 or -1,1), "
        "whatever its maker says; `keras-reprogram probe --source FILE` suggests one."
    )


def check_whole_pixels(dtype: str, value_range: tuple[float, float], who: str) -> None:
    """Refuses a small range for whole numbers: rounded pixels would be black and white."""
    (low, high), limits = value_range, np.iinfo(dtype)
    if low < limits.min or high > limits.max or high - low < _FEWEST_LEVELS:
        raise ValueError(
            f"{who} takes whole numbers, {dtype}. Received: value_range={tuple(value_range)}. "
            "Pass `value_range=(0, 255)` (--value-range 0,255)."
        )


def check_channel_order(channel_order: str) -> None:
    """Refuses anything but "rgb" and "bgr"."""
    if channel_order not in _CHANNEL_ORDERS:
        raise ValueError(f"`channel_order` must be 'rgb' or 'bgr'. Received: {channel_order!r}.")


def check_has_colours(channel_order: str, source_shape: Sequence[int]) -> None:
    """Refuses another order of channels where there are no images."""
    if channel_order != "rgb" and not is_image(source_shape):
        raise ValueError(
            "`channel_order` is for images. Received: "
            f"{channel_order!r} for inputs of shape {tuple(source_shape)}. Leave it out."
        )


def channel_values(part: Any, channels: int) -> float | tuple[float, ...]:
    """A number or one per channel, in the form that configs and fingerprints use."""
    values = np.asarray(part, float)
    if values.shape not in ((), (channels,)):
        raise ValueError(
            f"`preprocessing` must be (scale, offset), each a number or {channels} numbers, one "
            f"per channel. Received: shape {values.shape}."
        )
    return float(values) if values.ndim == 0 else tuple(values.tolist())


def preprocessing_or_none(
    said: tuple[Any, Any] | None, channels: int, dtype: np.dtype, who: str
) -> tuple[Any, Any] | None:
    """Checks `preprocessing=(scale, offset)` of a network whose pixels have this dtype."""
    if said is None:
        return None
    if dtype.kind != "f":
        raise ValueError(
            f"{who} takes whole numbers, {dtype.name}, as they are. Received: "
            f"preprocessing={said}. Leave `preprocessing` out."
        )
    if not isinstance(said, Sequence) or len(said) != 2:
        raise ValueError(
            "`preprocessing` must be (scale, offset), each a number or one a channel. "
            f"Received: {said!r}. Write `(1 / 127.5, -1)` for pixels of 0 to 255 that become -1 "
            "to 1."
        )
    return channel_values(said[0], channels), channel_values(said[1], channels)


def in_calls_of(batch_size: int | None, count: int) -> list[tuple[slice, int]]:
    """The rows of each call of `batch_size` images, and how many images to add to it."""
    step = batch_size or max(count, 1)
    starts = range(0, count, step)
    return [
        (slice(start, start + step), max(0, step - (count - start)) if batch_size else 0)
        for start in starts
    ]


_HALVES = ("bfloat16", "float16")
# What Keras computes a gradient of that is no slope of the answers, or none at all.
_WITHOUT_GRADIENT = ("float8",)
# Largest difference of two scores that are the same but for rounding.
_SAME = 1e-4


def compute_in_float32(network: keras.Model) -> None:
    """Sets layers of half precision, be it by a global policy or by their own, to float32."""
    # In half precision a row of scores sums to 1.004, and steps of a program are rounded away.
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
    """Recomputes statistics that the layer rounded when it was built."""
    if layer.input_mean is None:
        layer.finalize_state()
        return
    fresh = keras.layers.Normalization.from_config(layer.get_config())
    fresh.build(layer.get_build_config()["input_shape"])
    layer.mean, layer.variance = fresh.mean, fresh.variance


def float_images(network: keras.Model) -> keras.Model:
    """A view of the same layers that takes float32 images; the network itself if it does."""
    # A functional model casts images to the dtype of its `Input`: to uint8, which has no gradient
    # and truncates 254.9 to 254, or to half precision. So do nested models.
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
    """The dtype of the images that a network takes, such as "uint8"; `None` if it takes floats."""
    inputs = getattr(network, "inputs", None) or []
    dtype = str(inputs[0].dtype) if inputs else "float32"
    return dtype if "int" in dtype else None


def reads_floats_alike(
    network: keras.Model, view: keras.Model, image_shape: tuple[int, ...]
) -> bool:
    """Whether a view that takes floats answers alike at whole numbers, and otherwise between."""
    # It does if the network's first layer turns its integers into floats. It does not if the layer
    # computes with integers or looks them up: then no fraction of a pixel changes an answer.
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
    """The nearest pixels of an integer kind: a cast alone would cut 254.9 to 254."""
    limits = np.iinfo(dtype)
    return ops.clip(ops.round(images), float(limits.min), float(limits.max))


def has_no_gradient(network: keras.Model) -> bool:
    """Whether a layer of a network was quantised in a way that lets no slope through."""
    return any(mode in _WITHOUT_GRADIENT for mode in quantised_layers(network).values())


def quantised_layers(network: keras.Model) -> dict[str, str]:
    """Layers that `network.quantize(mode)` changed, such as `{"dense": "int8"}`."""
    modes = ((layer.name, layer.quantization_mode) for layer in network._flatten_layers())
    return {name: mode for name, mode in modes if mode is not None}


def draws_at_random(model: keras.Model) -> bool:
    """Whether a layer of a network draws at random in every call, as `RandomSwitching` does."""
    return any(getattr(layer, "answers_at_random", False) for layer in model._flatten_layers())
