"""Image files inside a graph: decoded, resized, scaled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.reprogrammed_model import ReprogrammedModel

RESIZE_METHOD = "bilinear with antialiasing, rounded to 8 bits"
# ITU-R 601 in 1/65536, as Pillow's convert("L") weighs colours.
_LUMA = (19595, 38470, 7471)


def why_no_files(model: ReprogrammedModel) -> str | None:
    """Why a model's images cannot come as JPEG or PNG files, `None` if they can.

    Args:
        model: the model to export.

    Returns:
        A sentence.
    """
    left_out = "Signatures that take files are left out: "
    channels = model.input_shape[-1]
    if channels not in (1, 3):
        return f"{left_out}JPEG and PNG have 1 or 3 channels, target images {channels}."
    if getattr(model.program, "target_range", None) is None:
        return f"{left_out}the program does not say the `target_range` of its images."
    return None


def scaled_codes(codes: Any, target_range: tuple[float, float]) -> Any:
    """8-bit codes as pixels in a range.

    Args:
        codes: float32, 0..255.
        target_range: `(low, high)`, what 0 and 255 become.

    Returns:
        The same shape, float32.
    """
    low, high = target_range
    return codes * np.float32((high - low) / 255.0) + np.float32(low)


def file_decoder(
    target_shape: tuple[int, int, int], target_range: tuple[float, float]
) -> Callable[[Any], Any]:
    """Makes a function that turns files into target images inside a graph.

    Pixels and grey levels are bit for bit what this package reads from files elsewhere; resized
    ones (bilinear with antialiasing, aspect not kept) differ by at most one level, since Pillow
    rounds twice. Transparency is dropped. EXIF orientation is not applied.

    Args:
        target_shape: `(h, w, c)`, with 1 or 3 channels.
        target_range: `(low, high)`.

    Returns:
        string `(n,)` -> float32 `(n, h, w, c)` in `target_range`.

    Example:
    ```python
    import numpy as np
    import tensorflow as tf
    from keras_reprogram.export.encoded_images import file_decoder

    decode = file_decoder((4, 4, 1), (0.0, 1.0))
    white = tf.io.encode_png(np.full((8, 6, 3), 255, "uint8"))
    assert decode(tf.stack([white])).numpy().max() == 1.0
    ```
    """
    height, width, channels = target_shape

    def decode_one(content: Any) -> Any:
        # Despite its name it decodes PNG too, and it alone can be told to decode as Pillow does.
        colours = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        codes = tf.cast(_grey(colours) if channels == 1 else colours, tf.float32)
        codes = tf.image.resize(codes, (height, width), "bilinear", antialias=True)
        return tf.clip_by_value(tf.round(codes), 0.0, 255.0)

    def decode(contents: Any) -> Any:
        spec = tf.TensorSpec(target_shape, tf.float32)
        return scaled_codes(tf.map_fn(decode_one, contents, fn_output_signature=spec), target_range)

    return decode


def _grey(colours: Any) -> Any:
    weighted = tf.reduce_sum(tf.cast(colours, tf.int32) * _LUMA, axis=-1, keepdims=True)
    return (weighted + 32768) // 65536
