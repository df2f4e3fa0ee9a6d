"""Encoded images as the pixels of a model that takes no files."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image


def decoded(payloads: Sequence[bytes]) -> np.ndarray:
    """The 8-bit values of encoded images of one size, `(n, H, W, C)`."""
    images = np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in payloads])
    return images[..., None] if images.ndim == 3 else images


def pixel_levels(value_range: tuple[float, float]) -> np.ndarray:
    """What the 256 values of a channel stand for, float32."""
    low, high = value_range
    return low + np.arange(256, dtype=np.float32) * np.float32((high - low) / 255.0)


def decimal_levels(value_range: tuple[float, float]) -> np.ndarray:
    """`pixel_levels` for JSON: the shortest decimals of a float32, as float64.

    They take half the bytes, and a server that reads float32 reads the same numbers.
    """
    return np.array([float(str(level)) for level in pixel_levels(value_range)])
