"""Pure geometry: where a target image goes on the source's canvas, and which pixels stay free.

Everything here is a constant matrix. An image `x` of shape `(h, w)` is resized and placed in
one step by `rows @ x @ columns.T`, which any kernel, any size and LiteRT's builtin operations
can express.
"""

from __future__ import annotations

import numpy as np


def resize_matrix(input_size: int, output_size: int) -> np.ndarray:
    """Matrix that resizes one axis bilinearly, averaging when it shrinks.

    The kernel is a triangle over half-pixel centres, widened by the shrink factor, so that a
    smaller output sees every input pixel (plain bilinear sampling would skip some).

    Args:
        input_size: pixels before, >= 1.
        output_size: pixels after, >= 1.

    Returns:
        float32 array `(output_size, input_size)`; each row sums to 1.

    Raises:
        ValueError: if a size is smaller than 1.

    Example:
    ```python
    from keras_reprogram.program.canvas import resize_matrix

    half = resize_matrix(4, 2)
    assert half.shape == (2, 4)
    ```
    """
    if input_size < 1 or output_size < 1:
        raise ValueError(
            "Sizes must be at least 1 pixel. "
            f"Received: input_size={input_size}, output_size={output_size}."
        )
    scale = input_size / output_size
    centres = (np.arange(output_size) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(input_size)[None, :] - centres[:, None])
    kernel = np.maximum(1.0 - distance / max(scale, 1.0), 0.0)
    # What a triangle loses beyond the border, its other pixels make up for.
    return (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)


def placement_matrix(
    input_size: int, size: int, start: int, canvas_size: int, flipped: bool = False
) -> np.ndarray:
    """Matrix that resizes one axis to `size` and puts it at `start` on an empty canvas axis.

    Args:
        input_size: pixels of the target image along this axis.
        size: pixels that it takes on the canvas; more than the canvas has zooms in.
        start: first canvas pixel that it takes; negative cuts off its beginning.
        canvas_size: pixels of the canvas along this axis.
        flipped: mirrors the axis.

    Returns:
        float32 array `(canvas_size, input_size)`; rows outside the image are zero.

    Raises:
        ValueError: if nothing of the image would lie on the canvas.

    Example:
    ```python
    from keras_reprogram.program.canvas import placement_matrix

    matrix = placement_matrix(input_size=8, size=8, start=12, canvas_size=32)
    assert matrix[:12].sum() == 0
    ```
    """
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
    """The mask M of the papers: 1 where the canvas is free, 0 where the target image lies.

    Args:
        canvas_size: `(H, W)`.
        top: first row of the image.
        left: first column of the image.
        height: rows of the image.
        width: columns of the image.

    Returns:
        float32 array `(H, W)` of zeros and ones.

    Example:
    ```python
    from keras_reprogram.program.canvas import free_pixels

    assert free_pixels((4, 4), 1, 1, 2, 2).sum() == 12
    ```
    """
    mask = np.ones(canvas_size, np.float32)
    rows, columns = _on_canvas(height, top, canvas_size[0]), _on_canvas(width, left, canvas_size[1])
    mask[slice(*rows), slice(*columns)] = 0.0
    return mask


def frame_pixels(canvas_size: tuple[int, int], width: int) -> np.ndarray:
    """A mask that is 1 on the outer frame of the canvas, 0 inside.

    Args:
        canvas_size: `(H, W)`.
        width: of the frame in pixels, on each side.

    Returns:
        float32 array `(H, W, 1)` of zeros and ones.

    Example:
    ```python
    from keras_reprogram.program.canvas import frame_pixels

    assert frame_pixels((4, 4), 1).sum() == 12
    ```
    """
    mask = np.ones((*canvas_size, 1), np.float32)
    mask[width : canvas_size[0] - width, width : canvas_size[1] - width] = 0.0
    return mask


def largest_fit(image_size: tuple[int, int], canvas_size: tuple[int, int]) -> tuple[int, int]:
    """The image's own size if it fits the canvas, else the largest that fits, aspect kept.

    Args:
        image_size: `(h, w)` of the target image.
        canvas_size: `(H, W)` of the source image.

    Returns:
        `(height, width)` on the canvas, each at least 1.

    Example:
    ```python
    from keras_reprogram.program.canvas import largest_fit

    assert largest_fit((8, 8), (32, 32)) == (8, 8)
    assert largest_fit((100, 50), (32, 32)) == (32, 16)
    ```
    """
    shrink = min(1.0, canvas_size[0] / image_size[0], canvas_size[1] / image_size[1])
    height = min(canvas_size[0], max(1, round(image_size[0] * shrink)))
    width = min(canvas_size[1], max(1, round(image_size[1] * shrink)))
    return height, width


def channel_matrix(target_channels: int, source_channels: int) -> np.ndarray:
    """Matrix from target to source channels: grey is repeated, colour becomes its luminance.

    Args:
        target_channels: channels of the target image.
        source_channels: channels of the source image.

    Returns:
        float32 array `(target_channels, source_channels)`; columns sum to 1, so that the value
        range is kept. Where both counts differ and neither is 1, each source channel is the
        mean of the target's channels.

    Example:
    ```python
    from keras_reprogram.program.canvas import channel_matrix

    assert channel_matrix(1, 3).tolist() == [[1.0, 1.0, 1.0]]
    ```
    """
    if target_channels == source_channels:
        return np.eye(target_channels, dtype=np.float32)
    if target_channels == 3 and source_channels == 1:
        # ITU-R BT.601 luma, what image libraries mean by "grey".
        return np.array([[0.299], [0.587], [0.114]], np.float32)
    return np.full((target_channels, source_channels), 1.0 / target_channels, np.float32)
