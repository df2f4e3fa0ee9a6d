"""`--beside`: what stands beside the source in the map, the image itself and local networks."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_reprogram.command_line.sources import (
    LITERT_FILES,
    check_source,
    is_python_source,
    resolve_source,
)

if TYPE_CHECKING:
    from keras_reprogram.source import Source

PIXELS = "pixels"

Beside = Annotated[
    str | None,
    typer.Option(
        metavar="PARTS",
        help="What the dense map also reads, by commas: pixels (the target image itself), and "
        "networks on this machine, named as for --source (their features). Only --source costs "
        "queries. How much each part weighs is chosen on validation.",
    ),
]


def parts_of(text: str) -> tuple[str, ...]:
    """The names in `--beside`; `MobileNet:alpha=0.25,input_shape=128` is one."""
    parts: list[str] = []
    for piece in (piece.strip() for piece in text.split(",")):
        if parts and "=" in piece and ":" in parts[-1] and ":" not in piece:
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return tuple(parts)


def check_beside(text: str | None) -> None:
    """Refuses parts that name nothing, before TensorFlow is imported."""
    parts = () if text is None else parts_of(text)
    for part in parts:
        if part == PIXELS:
            continue
        if Path(part).suffix.lower() in LITERT_FILES:
            raise ValueError(_one_opaque_part(part))
        try:
            check_source(part)
        except ValueError as error:
            raise ValueError(
                f"--beside takes {PIXELS} and networks, by commas. Received: {part!r}, which is "
                f"neither. {error}"
            ) from error
    if len(set(parts)) < len(parts):
        raise ValueError(f"--beside names each part once. Received: {text!r}.")


def with_beside(
    source: Source,
    text: str | None,
    target_shape: tuple[int, ...],
    target_range: tuple[float, float] | None,
) -> Source:
    """The source, joined with the parts that `--beside` names."""
    if text is None:
        return source
    from keras_reprogram.source import PixelSource, join_sources

    pixels = PixelSource(target_shape, target_range=target_range)
    parts = [pixels if part == PIXELS else local_network(part) for part in parts_of(text)]
    return join_sources([source, *parts], target_shape=target_shape, target_range=target_range)


@functools.cache
def local_network(text: str, option: str = "--beside") -> Source:
    """A network on this machine, which shows its features where it can.

    Args:
        text: its name, as of `--source`.
        option: that named it, for errors.
    """
    from keras_reprogram.command_line.keras_sources import features_of
    from keras_reprogram.source import FrozenSource

    source = resolve_source(text).source
    if not source.in_graph:
        raise ValueError(_one_opaque_part(text, option))
    # Python code says by itself what its source shows.
    shows_features = isinstance(source, FrozenSource) and not is_python_source(text)
    return features_of(source) if shows_features else source


def _one_opaque_part(part: str, option: str = "--beside") -> str:
    return (
        f"Only --source may run as Python code or cost queries. Received: {option} "
        f"{part}, which returns scores only. Name it as --source, or name a Keras model or a "
        "SavedModel here."
    )
