"""Turns image files into arrays, with errors that name the file."""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B")

_BROKEN_IMAGE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    struct.error,
    Image.DecompressionBombError,
)


def image_facts(path: Path) -> tuple[tuple[int, int], bool]:
    """Reads an image file's header only.

    Args:
        path: An image file that Pillow reads.

    Returns:
        Its `(height, width)` as it is shown (EXIF orientation applied), and whether it is grey.

    Raises:
        ValueError: If the file is not a readable image.

    Example:
        ```python
        import pathlib, tempfile
        from PIL import Image
        from keras_reprogram.datasets.image_decoding import image_facts

        path = pathlib.Path(tempfile.mkdtemp()) / "a.png"
        Image.new("L", (6, 4)).save(path)
        print(image_facts(path))  # ((4, 6), True)
        ```
    """
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) >= 5
            width, height = reversed(image.size) if turned else image.size
            return (height, width), image.mode in GREY_MODES
    except _BROKEN_IMAGE as error:
        raise _broken(str(path), error) from error


def decode_image(
    file: Path | BinaryIO, name: str, *, grey: bool, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Decodes one image file to 8 bits; EXIF orientation is applied, transparency dropped.

    Args:
        file: Path or open binary file.
        name: What an error calls the file.
        grey: Whether one channel is wanted; else three.
        size: Optional `(height, width)`; an image of another size is resized to it (aspect not
            kept).

    Returns:
        uint8 array of shape `(height, width, 1)` if `grey`, else `(height, width, 3)`.

    Raises:
        ValueError: If the file is not a readable image of 8 or 16 bits.

    Example:
        ```python
        import io
        from PIL import Image
        from keras_reprogram.datasets.image_decoding import decode_image

        file = io.BytesIO()
        Image.new("RGB", (6, 4), "red").save(file, "PNG")
        print(decode_image(file, "red.png", grey=False, size=(2, 2)).shape)  # (2, 2, 3)
        ```
    """
    try:
        with Image.open(file) as opened:
            image = _to_mode(ImageOps.exif_transpose(opened), "L" if grey else "RGB")
    except _BROKEN_IMAGE as error:
        raise _broken(name, error) from error
    if size is not None:
        image = resize_image(image, size)
    return np.asarray(image, np.uint8).reshape(image.height, image.width, 1 if grey else 3)


def resize_image(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resizes an image with antialiasing, unless it has that size.

    Args:
        image: A Pillow image.
        size: `(height, width)`, each at least 1.

    Returns:
        A Pillow image of that size; `image` itself if it has it.

    Example:
        ```python
        from PIL import Image
        from keras_reprogram.datasets.image_decoding import resize_image

        print(resize_image(Image.new("L", (6, 4)), (2, 3)).size)  # (3, 2)
        ```
    """
    height, width = size
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow clips 16-bit levels at 255 where it should scale them.
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixel type {image.mode!r} has no fixed range; save it with 8 bits")
    return image.convert(mode)


def _broken(name: str, error: Exception) -> ValueError:
    return ValueError(
        f"Expected {name} to be a readable image. Received: {error}. Replace or remove the file."
    )
