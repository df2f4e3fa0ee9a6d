"""exif_orientation: how an image file says that it wants to be turned.

`export/graph_orientation.py` is the same inside a graph; a test compares the two byte by byte.
"""

from __future__ import annotations

import itertools

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"

_EXIF_START = b"Exif\0\0"
# A graph goes from one to the next in a loop; files have a few of the first, some hundred of the
# second.
_MOST_SEGMENTS, _MOST_CHUNKS = 64, 512
_ORIENTATION, _SHORT = 0x0112, 3


def exif_orientation(content: bytes) -> int:
    """Reads the orientation of a JPEG or PNG file.

    It counts where the standards put it: the first APP1 segment `Exif` before the image data of a
    JPEG, the `eXIf` chunk of a PNG. What XMP says is left alone, as browsers do.

    Args:
        content: the file.

    Returns:
        1 to 8 as EXIF numbers them; 1, as it is, where nothing (or nothing valid) is said.

    Example:
        ```python
        import io
        from PIL import Image
        from keras_reprogram.datasets.exif_orientation import exif_orientation

        exif, file = Image.Exif(), io.BytesIO()
        exif[0x0112] = 6
        Image.new("L", (6, 4)).save(file, "JPEG", exif=exif)
        print(exif_orientation(file.getvalue()))  # 6
        ```
    """
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
        if (tag, kind) == (_ORIENTATION, _SHORT):
            value = _number(exif, start + 8, 2, order)
            return value if 1 <= value <= 8 else 1
    return 1


def _number(content: bytes, start: int, size: int, order: str = "big") -> int:
    """An unsigned number; what lies behind the end counts as zeros."""
    digits = content[start : start + size].ljust(size, b"\0")
    return int.from_bytes(digits, "little" if order == "little" else "big")
