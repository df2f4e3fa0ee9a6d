"""Turns image files into arrays, with errors that name the file."""

from __future__ import annotations

import io
import itertools
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_reprogram.arguments import pixels_of_codes
from keras_reprogram.asking.image_reading import ImageReading, framed
from keras_reprogram.datasets.dicom_files import (
    DICOM_SUFFIXES,
    dicom_codes,
    dicom_facts,
    has_dicom_mark,
    is_dicom,
    modality_values,
)
from keras_reprogram.datasets.nifti_files import is_nifti, nifti_codes, nifti_facts, nifti_values

GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B")
PICTURE_RANGE = (0.0, 255.0)
DEFAULT_READING = ImageReading()

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)

# ITU-R 601 in 1/65536, as Pillow's convert("L") weighs colours.
_LUMA = (19595, 38470, 7471)
_PNG_DEPTH = 24
_TIFF_BITS, _ORIENTATION = 258, 0x0112

_BROKEN_IMAGE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    struct.error,
    Image.DecompressionBombError,
)


class ImageFacts(NamedTuple):
    """Facts from the header of an image file.

    Args:
        size: `(height, width)` as it is shown (EXIF orientation applied).
        is_grey: whether it has no colours.
        is_deep: whether its levels have more than 8 bits.
        scan: "DICOM" or "NIfTI" for files that are read as 8-bit codes in a window, else "".
        has_window: whether it states that window.
        num_slices: of how many slices the middle one is read.
    """

    size: tuple[int, int]
    is_grey: bool
    is_deep: bool
    scan: str = ""
    has_window: bool = False
    num_slices: int = 1


def is_image_file(path: Path) -> bool:
    """Whether a file is called like an image, or is a DICOM file of any name."""
    suffix = path.suffix.lower()
    is_named = suffix in IMAGE_SUFFIXES or suffix in DICOM_SUFFIXES or is_nifti(path.name)
    return is_named or is_dicom(path)


def image_facts(path: Path) -> ImageFacts:
    """Reads the header of an image file, without its pixels."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _broken(str(path), error) from error
    return facts_of_content(content, str(path))


def facts_of_content(content: bytes, name: str) -> ImageFacts:
    """The same of a file's content; a ValueError with its name where it is no image."""
    try:
        if _is_dicom(content, name):
            size, is_grey, has_window = dicom_facts(content)
            return ImageFacts(size, is_grey, False, "DICOM", has_window)
        if is_nifti(name):
            size, has_window, num_slices = nifti_facts(content)
            return ImageFacts(size, True, False, "NIfTI", has_window, num_slices)
        with Image.open(io.BytesIO(content)) as image:
            if content.startswith((JPEG_START, PNG_START)):
                orientation = exif_orientation(content)
            else:
                orientation = image.getexif().get(_ORIENTATION, 1)
            width, height = reversed(image.size) if orientation >= 5 else image.size
            _check_pages(image)
            is_grey = image.mode in GREY_MODES
            return ImageFacts((height, width), is_grey, _is_deep(image, content))
    except _BROKEN_IMAGE as error:
        raise _broken(name, error) from error


def stored_levels(path: Path) -> np.ndarray:
    """The levels in an image file; of a scan the values that a window is found over."""
    content = path.read_bytes()
    try:
        if _is_dicom(content, str(path)):
            return modality_values(content)
        if is_nifti(path.name):
            return nifti_values(content)
    except ValueError as error:
        raise _broken(str(path), error) from error
    return _read_levels(path, str(path), False, ImageReading())[0]


def decode_image(
    file: Path | BinaryIO,
    name: str,
    *,
    grey: bool,
    size: tuple[int, int] | None = None,
    target_range: tuple[float, float] = PICTURE_RANGE,
    reading: ImageReading = DEFAULT_READING,
) -> np.ndarray:
    """Decodes an image file to `(h, w, 1)` or `(h, w, 3)`; uint8 in (0, 255), else float32."""
    # EXIF orientation is applied and transparency is dropped. 8-bit codes fill `target_range`. The
    # levels of a 16-bit file are cut off at `target_range`, if the reading or that range say how
    # many of its bits are used: the file does not. Scans become 8-bit codes in a window.
    levels, is_deep = _read_levels(file, name, grey, reading)
    low, high = map(float, target_range)
    if is_deep:
        _check_levels(name, int(levels.max()), (low, high), reading)
    if size is not None:
        levels = resize_levels(framed(levels, size, reading.fit), size)
    if is_deep:
        levels = levels.clip(low, high)
    if (low, high) == PICTURE_RANGE:
        return levels.astype(np.uint8)
    values = levels.astype(np.float32)
    return values if is_deep else pixels_of_codes(values, (low, high))


def _is_dicom(content: bytes, name: str) -> bool:
    return has_dicom_mark(content) or name.lower().endswith(DICOM_SUFFIXES)


def resize_levels(levels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes uint8 or uint16 `(h, w, channels)`, bilinear with antialiasing."""
    # TensorFlow does it, and rounds once: so does the graph of an export, to the same levels.
    if levels.shape[:2] == tuple(size):
        return levels
    # TensorFlow takes seconds to import.
    import tensorflow as tf

    values = tf.constant(levels.astype(np.float32))
    resized = tf.image.resize(values, size, "bilinear", antialias=True).numpy()
    return np.rint(resized).clip(0, levels.max()).astype(levels.dtype)


def _read_levels(
    file: Path | BinaryIO, name: str, grey: bool, reading: ImageReading
) -> tuple[np.ndarray, bool]:
    """Stored levels `(h, w, 1 or 3)`, and whether they have 16 bits."""
    try:
        content = file.read_bytes() if isinstance(file, Path) else file.read()
        if _is_dicom(content, name):
            levels, is_deep = dicom_codes(content, reading.dicom_window), False
        elif is_nifti(name):
            levels, is_deep = nifti_codes(content, reading.dicom_window), False
        else:
            levels, is_deep = _picture_levels(content, grey)
    except _BROKEN_IMAGE as error:
        raise _broken(name, error) from error
    if grey and levels.shape[-1] == 3:
        weighted = (levels.astype(np.int64) * _LUMA).sum(axis=-1, keepdims=True)
        levels = ((weighted + 32768) // 65536).astype(levels.dtype)
    elif not grey and levels.shape[-1] == 1:
        levels = np.repeat(levels, 3, axis=-1)
    # As in the graph of an export, which cannot express it differently.
    return _turned(levels, exif_orientation(content)), is_deep


def _picture_levels(content: bytes, grey: bool) -> tuple[np.ndarray, bool]:
    with Image.open(io.BytesIO(content)) as opened:
        _check_pages(opened)
        is_deep = _is_deep(opened, content)
        is_known = content.startswith((JPEG_START, PNG_START))
        image = opened if is_known else ImageOps.exif_transpose(opened)
        return (_deep_levels(image, content) if is_deep else _codes(image, grey)), is_deep


def _check_pages(image: Image.Image) -> None:
    """Refuses stacks, of which the first page would be read."""
    pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
    if pages > 1:
        raise ValueError(
            f"it has {pages} pages; save those that matter as files of their own, grouped"
        )


def _codes(image: Image.Image, grey: bool) -> np.ndarray:
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are 32-bit numbers (mode {image.mode}), whose range is unknown; save it "
            "as PNG or TIFF of 8 or 16 bits"
        )
    # Alpha is dropped; Pillow would warn of a palette's.
    image.info.pop("transparency", None)
    mode = "L" if grey else "RGB"
    return np.asarray(image.convert(mode), np.uint8).reshape(image.height, image.width, -1)


def _deep_levels(image: Image.Image, content: bytes) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None]
    if not content.startswith(PNG_START):
        raise ValueError(
            "it has colours of 16 bits, which are read from PNG files only; save it as PNG, or "
            "with 8 bits"
        )
    # Pillow reads the upper 8 bits only.
    import tensorflow as tf

    try:
        return tf.io.decode_png(content, channels=3, dtype=tf.uint16).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(str(error).splitlines()[0]) from error


def _is_deep(image: Image.Image, content: bytes) -> bool:
    if content.startswith(PNG_START):
        return content[_PNG_DEPTH] == 16
    bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS, 8)
    return image.mode not in ("I", "F") and int(np.max(bits)) > 8


def _turned(levels: np.ndarray, orientation: int) -> np.ndarray:
    turned = levels.transpose(1, 0, 2) if orientation >= 5 else levels
    turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
    return turned[::-1] if orientation in (3, 4, 7, 8) else turned


def _check_levels(
    name: str, highest: int, target_range: tuple[float, float], reading: ImageReading
) -> None:
    low, high = target_range
    most = reading.highest_level(target_range)
    if most is None:
        raise ValueError(
            f"Expected {name} to have 8 bits a channel, which fill {low:g}..{high:g}. Received: a "
            "16-bit file whose range of levels is unknown. Save it with 8 bits."
        )
    if highest > most:
        raise ValueError(
            f"Expected {name} to hold levels in 0..{most:g}, like the training images. "
            f"Received: a 16-bit file with levels up to {highest:,}. Save it like the training "
            "images or with 8 bits, or train on such files."
        )


def _broken(name: str, error: Exception) -> ValueError:
    # Pillow would name the stream that it was given.
    unknown = isinstance(error, UnidentifiedImageError)
    reason = "no known kind of image file" if unknown else error
    return ValueError(
        f"Expected {name} to be a readable image. Received: {reason}. Replace or remove the file."
    )


JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"

_EXIF_START = b"Exif\0\0"
# A graph walks through them in a loop: files have a few segments, but some hundred chunks.
_MOST_SEGMENTS, _MOST_CHUNKS = 64, 512
_ORIENTATION_TAG, _SHORT = 0x0112, 3


def exif_orientation(content: bytes) -> int:
    """The EXIF orientation of a JPEG or PNG file, 1 to 8; 1 if none is valid."""
    # Orientation counts only where the standards put it: in the first APP1 segment `Exif` before
    # the image data of a JPEG, or in the `eXIf` chunk of a PNG. XMP is ignored, as in browsers.
    if content.startswith(JPEG_START):
        return _orientation(_jpeg_exif(content))
    if content.startswith(PNG_START):
        return _orientation(_png_exif(content))
    return 1


def _jpeg_exif(content: bytes) -> bytes:
    start = 2
    for _ in range(_MOST_SEGMENTS):
        marker, length = content[start + 1 : start + 2], _number(content, start + 2, 2)
        ends = marker in (b"", b"\xd9", b"\xda")
        if content[start : start + 1] != b"\xff" or ends or length < 2:
            break
        segment = content[start + 4 : start + 2 + length]
        if marker == b"\xe1" and segment.startswith(_EXIF_START):
            return segment[len(_EXIF_START) :]
        start += 2 + length
    return b""


def _png_exif(content: bytes) -> bytes:
    start = len(PNG_START)
    for _ in range(_MOST_CHUNKS):
        length, kind = _number(content, start, 4), content[start + 4 : start + 8]
        if len(kind) < 4 or kind == b"IEND":
            break
        if kind == b"eXIf":
            return content[start + 8 : start + 8 + length]
        start += 12 + length
    return b""


def _orientation(exif: bytes) -> int:
    """The first orientation in the first directory of a TIFF header."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    order = "little" if exif[:1] == b"I" else "big"
    first = _number(exif, 4, 4, order)
    count = _number(exif, first, 2, order)
    for start in itertools.islice(range(first + 2, len(exif) - 11, 12), count):
        tag, kind = _number(exif, start, 2, order), _number(exif, start + 2, 2, order)
        if (tag, kind) == (_ORIENTATION_TAG, _SHORT):
            value = _number(exif, start + 8, 2, order)
            return value if 1 <= value <= 8 else 1
    return 1


def _number(content: bytes, start: int, size: int, order: str = "big") -> int:
    """An unsigned number; octets beyond the end count as zeros."""
    digits = content[start : start + size].ljust(size, b"\0")
    return int.from_bytes(digits, "little" if order == "little" else "big")
