"""Images that come to the demo page as files and leave it as PNG."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_reprogram.export.encoded_images import file_decoder
from keras_reprogram.serving.image_headers import check_pixels
from keras_reprogram.serving.serving_error import ServingError

# What the decoder itself refuses, in its own words.
_REFUSAL = re.compile(r"(?:assertion failed: \[|data: b')([^\]']*)")
MOST_PIXELS = 25_000_000


def decode_file(
    file: bytes, target_shape: tuple[int, int, int], target_range: tuple[float, float]
) -> np.ndarray:
    """Decodes a file exactly as the signature `image_bytes` does.

    Args:
        file: JPEG, PNG or plain BMP of any size up to `MOST_PIXELS`.
        target_shape: `(h, w, c)`, with 1 or 3 channels.
        target_range: `(low, high)`.

    Returns:
        float32 `(1, h, w, c)` in `target_range`.

    Raises:
        ServingError: for what is not such a file.
    """
    check_pixels([np.array([file], object)], MOST_PIXELS)
    try:
        return file_decoder(target_shape, target_range)(tf.constant([file])).numpy()
    except tf.errors.InvalidArgumentError as error:
        refused = _REFUSAL.search(str(error.message))
        if refused is not None:
            raise ServingError(refused[1]) from None
        raise ServingError(
            "Expected a PNG or JPEG image. Received: a file of another kind, or a damaged one. "
            "Save the image again in one of them."
        ) from None


def codes_of(images: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Pixels as the nearest 8-bit codes.

    Args:
        images: of any shape, in `value_range`.
        value_range: `(low, high)`, what becomes 0 and 255.

    Returns:
        uint8 array of the same shape.
    """
    low, high = value_range
    levels = np.rint((np.asarray(images, np.float64) - low) * (255.0 / (high - low)))
    return np.clip(levels, 0, 255).astype(np.uint8)


def data_url(codes: np.ndarray) -> str:
    """A PNG that stands in the page itself.

    Args:
        codes: uint8 `(h, w, c)`, with 1 or 3 channels.

    Returns:
        A `data:` URL.
    """
    stream = io.BytesIO()
    Image.fromarray(codes[..., 0] if codes.shape[-1] == 1 else codes).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
