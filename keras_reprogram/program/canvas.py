"""Geometry: where a target image lies on the source's canvas, and which pixels stay free.

Everything here is a constant matrix. An image `x` of shape `(h, w)` is resized and placed in
one step by `rows @ x @ columns.T`, which any kernel, any size and LiteRT's builtin operations
can express.
"""

from __future__ import annotations

import numpy as np


def resize_matrix(input_size: int, output_size: int) -> np.ndarray:
    """`(output_size, input_size)`: resizes one axis bilinearly, averaging when it shrinks."""
    if input_size < 1 or output_size < 1:
        raise ValueError(
            "Sizes must be at least 1 pixel. "
            f"Received: input_size={input_size}, output_size={output_size}."
        )
    # A triangle over half-pixel centres, widened by the shrink factor: a smaller output uses every
    # input pixel, while plain bilinear sampling would skip some.
    scale = input_size / output_size
    centres = (np.arange(output_size) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(input_size)[None, :] - centres[:, None])
    kernel = np.maximum(1.0 - distance / max(scale, 1.0), 0.0)
    # What a triangle loses beyond the border, its other pixels make up for.
    return (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)


def placement_matrix(
    input_size: int, size: int, start: int, canvas_size: int, flipped: bool = False
) -> np.ndarray:
    """`(canvas_size, input_size)`: resizes one axis to `size` and puts it at `start`, else 0."""
    first, last = _on_canvas(size, start, canvas_size)
    resized = resize_matrix(input_size, size)
    matrix = np.zeros((canvas_size, input_size), np.float32)
    matrix[first:last] = (resized[::-1] if flipped else resized)[first - start : last - start]
    return matrix


def _on_canvas(size: int, start: int, canvas_size: int) -> tuple[int, int]:
    """First canvas pixel of an image, and the one after its last."""
    first, last = max(start, 0), min(start + size, canvas_size)
    if first >= last:
        raise ValueError(
            f"A part of the image must lie on the canvas of {canvas_size} pixels. "
            f"Received: start={start}, size={size}. Pass another place or size."
        )
    return first, last


def free_pixels(
    canvas_size: tuple[int, int], top: int, left: int, height: int, width: int
) -> np.ndarray:
    """The mask M of the papers `(H, W)`: 1 where the canvas is free, 0 under the target image."""
    mask = np.ones(canvas_size, np.float32)
    rows, columns = _on_canvas(height, top, canvas_size[0]), _on_canvas(width, left, canvas_size[1])
    mask[slice(*rows), slice(*columns)] = 0.0
    return mask


def frame_pixels(canvas_size: tuple[int, int], width: int) -> np.ndarray:
    """A mask `(H, W, 1)` that is 1 on the outer frame of the canvas, 0 inside."""
    mask = np.ones((*canvas_size, 1), np.float32)
    mask[width : canvas_size[0] - width, width : canvas_size[1] - width] = 0.0
    return mask


def largest_fit(image_size: tuple[int, int], canvas_size: tuple[int, int]) -> tuple[int, int]:
    """The image's own size if it fits the canvas, else the largest that fits, aspect kept."""
    shrink = min(1.0, canvas_size[0] / image_size[0], canvas_size[1] / image_size[1])
    height = min(canvas_size[0], max(1, round(image_size[0] * shrink)))
    width = min(canvas_size[1], max(1, round(image_size[1] * shrink)))
    return height, width


def channel_matrix(target_channels: int, source_channels: int) -> np.ndarray:
    """Matrix from target to source channels: grey is repeated, colour becomes its luminance."""
    # Columns sum to 1, so that the value range is kept.
    if target_channels == source_channels:
        return np.eye(target_channels, dtype=np.float32)
    if target_channels == 3 and source_channels == 1:
        # ITU-R BT.601 luma, what image libraries mean by "grey".
        return np.array([[0.299], [0.587], [0.114]], np.float32)
    return np.full((target_channels, source_channels), 1.0 / target_channels, np.float32)
