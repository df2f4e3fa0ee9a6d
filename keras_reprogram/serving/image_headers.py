"""Reads the size of an image file without decoding it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from keras_reprogram.serving.errors import ServingError

# The classes themselves: `Image.open` has a limit of its own that warns.
_READERS: dict[bytes, Any] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"GIF8": GifImageFile,
}
# A text may start with these two letters; only the size of a header follows with three zeros.
_BMP, _BMP_ZEROS = b"BM", slice(15, 18)
# TensorFlow decodes these too, whatever operation is asked for.
_UNREADABLE = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")


def check_pixels(inputs: Iterable[np.ndarray], most_pixels: int) -> None:
    """Refuses image files that decode to too many pixels, wherever they stand in the inputs."""
    # A few kilobytes may become gigabytes of pixels.
    for array in inputs:
        if array.dtype == object:
            for text in array.ravel():
                if not _check_file(text, most_pixels):
                    for file in _features(text):
                        _check_file(file, most_pixels)


def _features(text: bytes) -> Iterator[bytes]:
    """The texts in a serialized `tf.Example`; nothing for what is none."""
    from google.protobuf.message import DecodeError

    try:
        example = tf.train.Example.FromString(text)
    except DecodeError:
        return
    for feature in example.features.feature.values():
        yield from feature.bytes_list.value


def _check_file(file: bytes, most_pixels: int) -> bool:
    """Whether it is an image file, which then is not too large."""
    if file.startswith(_UNREADABLE) or (file[:4] == b"RIFF" and file[8:12] == b"WEBP"):
        raise ServingError("Image files must be JPEG, PNG or BMP. Received: JPEG XL or WebP.")
    is_bmp = file.startswith(_BMP) and file[_BMP_ZEROS] == bytes(3)
    readers = {_BMP: BmpImageFile} if is_bmp else _READERS
    for start, reader in readers.items():
        if file.startswith(start):
            width, height = _size(file, reader)
            if width * height > most_pixels:
                raise ServingError(
                    f"An image file must have at most {most_pixels:,} pixels. "
                    f"Received: {width} x {height}."
                )
            return True
    return False


def _size(file: bytes, reader: Any) -> tuple[int, int]:
    try:
        with reader(io.BytesIO(file)) as image:
            # The first picture of an animated PNG is a PNG like others.
            if reader is GifImageFile and image.is_animated:
                raise ServingError("Image files must have one frame. Received: an animated one.")
            return image.size
    except ServingError:
        raise
    # What a broken header makes of Pillow's parsers has no common type.
    except Exception as error:
        raise ServingError(
            f"The header of an image file cannot be read ({type(error).__name__})."
        ) from None
