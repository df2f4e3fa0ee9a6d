"""framed_program: the image in the middle of the canvas, the program around it."""

from __future__ import annotations

from typing import Any

from keras_reprogram.program import ProgramLayer
from keras_reprogram.program.named_placements import framed_size
from keras_reprogram.source.source import Source


def framed_program(
    source: Source,
    target_shape: tuple[int, int, int],
    *,
    image_size: int | tuple[int, int] | None = None,
    **options: Any,
) -> ProgramLayer:
    """A `ProgramLayer` with a frame to train, also for images as large as the canvas.

    Args:
        source: a `Source`.
        target_shape: `(h, w, c)`.
        image_size: size on the canvas; `None` for the image's own where that leaves a frame,
            else 4/7 of the canvas, 128 of 224 pixels (Chen et al. 2023).
        **options: further ones of `ProgramLayer`.

    Returns:
        A program.
    """
    size = image_size or framed_size(target_shape, source.source_shape)
    return ProgramLayer(
        target_shape,
        source.source_shape,
        source_range=source.value_range,
        image_size=size,
        **options,
    )
