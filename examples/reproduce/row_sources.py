"""The sources that configurations name."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from sources import source_choices

from keras_reprogram import FrozenSource, join_sources

FILE = Path(__file__).parent / "configs" / "sources.toml"
_INSTALL = "Set KERAS_HOME to a folder whose `models` holds them, or run where there is a network"


@cache
def _configured() -> dict[str, dict[str, Any]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def source_names() -> tuple[str, ...]:
    """The names in `configs/sources.toml`."""
    return tuple(_configured())


def source_title(name: str) -> str:
    """What a table calls a source.

    Args:
        name: one of `source_names()`, or `"none"`.
    """
    return "no source" if name == "none" else _configured()[name]["title"]


@cache
def build_source(name: str, output: str = "scores") -> FrozenSource:
    """A source, one of its kind in a process.

    Args:
        name: one of `source_names()`.
        output: `"scores"` or `"features"`.

    Returns:
        A `FrozenSource`.

    Raises:
        ValueError: if its weights are not at hand and cannot be downloaded.
    """
    settings = _configured()[name]
    if "benchmark" in settings:
        return source_choices()[settings["benchmark"]].transparent(output)
    if "joined" in settings:
        return join_sources([build_source(member, output) for member in settings["joined"]])
    options = dict(settings.get("options", {}))
    size = (*(settings["size"],) * 2, 3) if "size" in settings else None
    own = (*(settings["weights_size"],) * 2, 3) if "weights_size" in settings else size
    network = _loaded(settings["application"], output, options, own)
    if own == size:
        return network
    # Global pooling lets any size take the weights of another.
    other = FrozenSource.from_application(
        settings["application"], weights=None, output=output, input_shape=size, **options
    )
    other.model.set_weights(network.model.get_weights())
    return other


def _loaded(
    application: str, output: str, options: dict[str, Any], shape: tuple[int, ...] | None
) -> FrozenSource:
    sized = options if shape is None else options | {"input_shape": shape}
    try:
        return FrozenSource.from_application(application, output=output, **sized)
    # Keras raises a bare `Exception` where a download fails.
    except Exception as error:
        raise ValueError(
            f"Expected the ImageNet weights of {application}. Received: {error}. {_INSTALL}."
        ) from error
