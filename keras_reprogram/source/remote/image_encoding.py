"""Images as services take them: 8 bits, PNG or JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

ENCODINGS = ("png", "jpeg")
_JPEG_QUALITY = 95


def encode_image(image: np.ndarray, value_range: tuple[float, float], encoding: str) -> bytes:
    """A file of an image; values outside the range are cut off.

    Args:
        image: `(H, W, C)`, one channel or three.
        value_range: `(low, high)`, which become 0 and 255.
        encoding: one of `ENCODINGS`. PNG loses nothing but the rounding to 8 bits.

    Raises:
        ValueError: for NaN or infinity.
    """
    if not np.isfinite(image).all():
        raise ValueError(
            "An image must be finite to be sent. Received: NaN or infinity. Check the program's "
            "weights, and the learning rate."
        )
    low, high = value_range
    codes = np.round((image - low) * (255.0 / (high - low))).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(codes[..., 0] if codes.shape[-1] == 1 else codes)
    stream = io.BytesIO()
    # No subsampling: a program's colours are its signal.
    quality = {"quality": _JPEG_QUALITY, "subsampling": 0} if encoding == "jpeg" else {}
    picture.save(stream, encoding, **quality)
    return stream.getvalue()
