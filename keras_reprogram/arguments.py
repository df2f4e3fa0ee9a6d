"""Argument checks, renamed arguments, and the 8-bit code of a pixel."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import numpy as np

# Ways to fit a linear output map; the first one chooses by the number of images.
FITS = ("auto", "exact", "closed_form")

_Function = TypeVar("_Function", bound=Callable[..., Any])


def image_shape(name: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """`shape` as `(height, width, channels)`."""
    sizes = tuple(shape) if isinstance(shape, Sequence | np.ndarray) else (shape,)
    if len(sizes) != 3 or not all(_is_whole(size) and size > 0 for size in sizes):
        raise ValueError(
            f"`{name}` must be (height, width, channels), three positive integers. "
            f"Received: {name}={shape}. Add a channel axis to grey images: `images[..., None]`."
        )
    height, width, channels = (int(size) for size in sizes)
    if name == "target_shape":
        # The source's shape is its own affair: it may have been asked already.
        way = "and images with their channels last: `np.moveaxis(images, 1, -1)`"
        check_channels_last(name, (height, width, channels), way)
    return height, width, channels


def data_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of an image, `(height, width, channels)`, or of series and texts: other axes."""
    sizes = tuple(shape) if isinstance(shape, Sequence | np.ndarray) else (shape,)
    if is_image(sizes):
        return image_shape(name, sizes)
    if not sizes or not all(_is_whole(size) and size > 0 for size in sizes):
        raise ValueError(
            f"`{name}` must be positive integers: (height, width, channels) of images, (length,) "
            f"or (length, channels) of series and texts. Received: {name}={shape}."
        )
    return tuple(int(size) for size in sizes)


def is_image(shape: Sequence[Any]) -> bool:
    """Whether a shape, without its batch, is that of an image: it has three axes."""
    return len(shape) == 3


def image_size_or_none(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """The argument `image_size` as `(height, width)`."""
    if size is None:
        return None
    sizes = tuple(size) if isinstance(size, Sequence | np.ndarray) else (size, size)
    if len(sizes) != 2 or not all(_is_whole(side) and side > 0 for side in sizes):
        raise ValueError(
            "`image_size` must be a positive integer or (height, width). "
            f"Received: image_size={size}."
        )
    return int(sizes[0]), int(sizes[1])


def frame_or_none(
    frame: int | None, source_shape: tuple[int, int, int], masked: bool
) -> int | None:
    """The argument `frame` as a number of pixels."""
    if frame is None:
        return None
    if not masked:
        raise ValueError(
            "`frame` puts the program on a frame, `masked=False` puts it everywhere. Received: "
            f"both, frame={frame}. Leave one out."
        )
    widest = min(source_shape[:2]) // 2
    if positive_integer("frame", frame) > widest:
        raise ValueError(
            f"`frame` must be at most half of the canvas, {widest} pixels. Received: frame={frame}."
        )
    return int(frame)


def value_range(name: str, limits: Sequence[float] | None) -> tuple[float, float]:
    """`limits` as `(low, high)`."""
    pair = () if limits is None else tuple(limits)
    if len(pair) != 2 or not np.isfinite(pair).all() or not pair[0] < pair[1]:
        raise ValueError(
            f"`{name}` must be (low, high), two finite numbers with low < high. "
            f"Received: {name}={limits}."
        )
    return float(pair[0]), float(pair[1])


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """`value`, which must be one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {allowed}. Received: {name}={value!r}.")
    return value


def positive_integer(name: str, value: Any) -> int:
    """`value` as an integer of at least 1."""
    if not _is_whole(value) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}.")
    return int(value)


def positive_number(name: str, value: Any) -> float:
    """`value` as a finite float above 0."""
    if not isinstance(value, int | float | np.number) or not 0 < value < float("inf"):
        raise ValueError(f"`{name}` must be a number greater than 0. Received: {name}={value!r}.")
    return float(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def eight_bit_levels(pixels: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Pixels in `limits` on the scale of 8-bit codes, 0 to 255, not rounded."""
    low, high = map(float, limits)
    return (pixels - low) * (255.0 / (high - low))


def eight_bit_codes(pixels: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Pixels as the nearest 8-bit codes; values beyond `limits` are cut off."""
    return np.round(eight_bit_levels(pixels, limits)).clip(0, 255).astype(np.uint8)


def pixels_of_codes(codes: Any, limits: tuple[float, float]) -> Any:
    """8-bit codes, a float32 array or tensor, as pixels in `limits`."""
    low, high = map(float, limits)
    return codes * np.float32((high - low) / 255.0) + np.float32(low)


# Grey, colour, colour with transparency.
COMMON_CHANNELS = (1, 3, 4)
# Below this a side is no image's, and beyond this aspect it is more likely a signal's channels.
_LEAST_SIDE, _MOST_ASPECT = 8, 4


def looks_channels_first(shape: Sequence[int | None]) -> bool:
    """Whether a shape looks like (channels, height, width), as (3, 96, 96) does."""
    first, height, width = shape
    if first not in COMMON_CHANNELS or width in COMMON_CHANNELS:
        return False
    if height is None or width is None:
        return True
    short, long = sorted((height, width))
    return short >= _LEAST_SIDE and long <= _MOST_ASPECT * short


def check_channels_last(name: str, shape: Sequence[int], way: str) -> None:
    """Refuses a shape that can hardly be (height, width, channels)."""
    # A height of one pixel beside two other sizes might be a signal, so it passes.
    first, height, width = shape
    if looks_channels_first(shape) and (first != 1 or height == width):
        raise ValueError(
            f"`{name}` must be (height, width, channels). Received: {name}={tuple(shape)}, which "
            f"seems to have its channels first. Pass {(height, width, first)}, {way}."
        )


class KeepsOldNames:
    """Renamed arguments and attributes of a class and its subclasses work for one more version."""

    # Old name -> new name; using an old one is a DeprecationWarning.
    old_names: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        init = cls.__dict__.get("__init__")
        own = inspect.signature(init).parameters if init else ()
        # A user's subclass may have arguments of the old names itself.
        names = {old: new for old, new in cls.old_names.items() if old not in own}
        if init and not set(own).isdisjoint(names.values()):
            cls.__init__ = takes_old_names(**names)(init)  # type: ignore[method-assign]

    @classmethod
    def config_in_new_names(cls, config: dict[str, Any]) -> dict[str, Any]:
        """A config of any version, with the names that this class's constructor has."""
        config, own = dict(config), inspect.signature(cls.__init__).parameters
        for old, new in cls.old_names.items():
            wanted, other = (old, new) if old in own else (new, old)
            if other in config:
                config[wanted] = config.pop(other)
        return config

    if not TYPE_CHECKING:
        # No properties: Keras asks for the value of each when it saves a layer.
        def __getattr__(self, name: str) -> Any:
            if name not in self.old_names:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return getattr(self, _new_name(name, self.old_names[name], stacklevel=3))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.old_names:
            name = _new_name(name, self.old_names[name], stacklevel=3)
        super().__setattr__(name, value)


def takes_old_names(**old_names: str) -> Callable[[_Function], _Function]:
    """Decorates a function whose arguments were renamed, old name -> new name."""

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old in old_names.keys() & kwargs.keys():
                new = _new_name(old, old_names[old], stacklevel=3)
                if new in kwargs:
                    raise TypeError(f"`{old}` is the old name of `{new}`. Received: both.")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        # Keras reads the names of a layer's arguments without following `__wrapped__`.
        call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
        return cast(_Function, call)

    return decorate


def _new_name(old: str, new: str, stacklevel: int) -> str:
    warnings.warn(
        f"`{old}` is `{new}` now. The next version will not know the old name.",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
    return new
