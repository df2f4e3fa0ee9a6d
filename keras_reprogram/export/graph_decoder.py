"""Decodes, resizes and scales image files inside a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.arguments import is_image, pixels_of_codes
from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel

DEFAULT_READING = ImageReading()
RESIZE_METHOD = "bilinear with antialiasing, rounded to 8 bits"
# The formats that `file_decoder` takes, for error messages.
_KINDS = "Image files must be JPEG, PNG, or BMP of 8, 24 or 32 bits a pixel without compression."
_PNG, _PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24
# All that is looked at; also added to a file, which may be shorter.
_ZEROS = bytes(64)
# ITU-R 601 in 1/65536, as Pillow's convert("L") weighs colours.
_LUMA = (19595, 38470, 7471)


def why_no_files(model: ReprogrammedModel) -> str | None:
    """The reason why a model cannot take JPEG or PNG files, or `None`."""
    left_out = "Signatures that take files are left out: "
    target_shape = model.input_shape[1:]
    if not is_image(target_shape):
        return f"{left_out}targets of shape {target_shape} are no images."
    channels = target_shape[-1]
    if channels not in (1, 3):
        return f"{left_out}JPEG and PNG have 1 or 3 channels, target images {channels}."
    if model.data_checks.target_range is None:
        return f"{left_out}the program does not declare the `target_range` of its images."
    return None


def file_decoder(
    target_shape: tuple[int, int, int],
    target_range: tuple[float, float],
    reading: ImageReading = DEFAULT_READING,
) -> Callable[[Any], Any]:
    """A function for a graph: image files `(n,)` -> float32 `(n, h, w, c)` in `target_range`."""
    # It takes JPEG, PNG, and BMP without compression (8, 24 or 32 bits per pixel). Its pixels equal
    # those of `datasets.image_files` bit for bit: EXIF orientation applied, transparency dropped,
    # other sizes resized bilinearly with antialiasing. 8-bit codes fill `target_range`; the levels
    # of a 16-bit PNG are cut off at `target_range`, if it or the reading tell their bits.
    height, width, channels = target_shape

    ends = tuple(zip(target_range, (0, 255), strict=True))

    def decode_one(content: Any) -> Any:
        levels, is_deep = _levels(content, target_range, reading)
        levels = tf.cast(_grey(levels) if channels == 1 else levels, tf.float32)
        levels = _framed(levels, (height, width), reading.fit)
        levels = tf.image.resize(levels, (height, width), "bilinear", antialias=True)
        low, high = (tf.where(is_deep, np.float32(end), np.float32(code)) for end, code in ends)
        levels = tf.clip_by_value(tf.round(levels), low, high)
        return tf.where(is_deep, levels, pixels_of_codes(levels, target_range))

    def decode(contents: Any) -> Any:
        spec = tf.TensorSpec(target_shape, tf.float32)
        return tf.map_fn(decode_one, contents, fn_output_signature=spec)

    return decode


def _levels(
    content: Any, target_range: tuple[float, float], reading: ImageReading
) -> tuple[Any, Any]:
    """An image `(h, w, 3)` as it is shown, int64, and whether its levels have 16 bits."""
    head = tf.io.decode_raw(tf.strings.substr(content + _ZEROS, 0, len(_ZEROS)), tf.uint8)
    is_jpeg, is_png, is_bmp = (_starts(head, start) for start in (b"\xff\xd8\xff", _PNG, b"BM"))
    with tf.control_dependencies([tf.debugging.Assert(is_jpeg | is_png | is_bmp, [_KINDS])]):
        is_deep = is_png & (head[_PNG_DEPTH] == 16)
    levels = tf.cond(
        is_deep,
        lambda: _deep_levels(content, target_range, reading),
        lambda: tf.cond(is_bmp, lambda: _bmp_codes(content, head), lambda: _codes(content)),
    )
    return turned(levels, graph_orientation(content, is_jpeg, is_png)), is_deep


def _framed(levels: Any, size: tuple[int, int], fit: str) -> Any:
    """Levels cropped or padded with 0 to the aspect ratio of `size`, as `framed` does it."""
    if fit == "stretch":
        return levels
    height, width = tf.unstack(tf.shape(levels, out_type=tf.int64)[:2])
    as_high = tf.maximum((2 * width * size[0] + size[1]) // (2 * size[1]), 1)
    as_wide = tf.maximum((2 * height * size[1] + size[0]) // (2 * size[0]), 1)
    if fit == "crop":
        rows, columns = tf.minimum(height, as_high), tf.minimum(width, as_wide)
        top, left = (height - rows) // 2, (width - columns) // 2
        return levels[top : top + rows, left : left + columns]
    rows, columns = tf.maximum(height, as_high), tf.maximum(width, as_wide)
    top, left = (rows - height) // 2, (columns - width) // 2
    sides = [[top, rows - height - top], [left, columns - width - left], [0, 0]]
    return tf.pad(levels, tf.cast(sides, tf.int32))


def _starts(head: Any, start: bytes) -> Any:
    return tf.reduce_all(head[: len(start)] == tf.constant(tuple(start), tf.uint8))


def _codes(content: Any) -> Any:
    # Despite its name it decodes PNG too, and it alone has an option to decode as Pillow does.
    codes = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.cast(codes, tf.int64)


def _deep_levels(content: Any, target_range: tuple[float, float], reading: ImageReading) -> Any:
    """The levels of a 16-bit PNG, refused where nobody knows what they mean."""
    highest = reading.highest_level(target_range)
    levels = tf.cast(tf.io.decode_png(content, channels=3, dtype=tf.uint16), tf.int64)
    fits = tf.constant(False) if highest is None else tf.reduce_max(levels) <= highest
    said = f"{target_range[0]:g}..{target_range[1]:g}" if highest is None else f"0..{highest}"
    refusal = (
        "A 16-bit image file must hold levels in the range of the training images, "
        f"{said}. Save it like the training images, or with 8 bits."
    )
    with tf.control_dependencies([tf.debugging.Assert(fits, [refusal])]):
        return tf.identity(levels)


def _bmp_codes(content: Any, head: Any) -> Any:
    octets = tf.cast(head, tf.int64)
    header = _little(octets, 14, 4)
    bits, compression, colours = (
        _little(octets, place, size) for place, size in ((28, 2), (30, 4), (46, 4))
    )
    is_plain = (header >= 40) & (compression == 0) & ((bits == 8) | (bits == 24) | (bits == 32))
    with tf.control_dependencies([tf.debugging.Assert(is_plain, [_KINDS])]):
        pixels = tf.io.decode_bmp(content)
    colours = tf.where(colours == 0, tf.constant(256, tf.int64), colours)

    def painted() -> Any:
        start, length = tf.cast(14 + header, tf.int32), tf.cast(4 * colours, tf.int32)
        palette = tf.io.decode_raw(tf.strings.substr(content, start, length), tf.uint8)
        red_first = tf.reshape(palette, (-1, 4))[:, 2::-1]
        return tf.gather(red_first, tf.cast(pixels[..., 0], tf.int32))

    codes = tf.cond(bits == 8, painted, lambda: pixels[..., :3])
    return tf.ensure_shape(tf.cast(codes, tf.int64), (None, None, 3))


def _little(octets: Any, start: int, size: int) -> Any:
    powers = tf.constant([256**place for place in range(size)], tf.int64)
    return tf.reduce_sum(octets[start : start + size] * powers)


def grey_pixels(colours: Any) -> Any:
    """Float pixels `(..., 3)` of any range as grey ones `(..., 1)`, weighed as files are."""
    # Whole numbers of up to 8 bits are exact: three equal channels give back their own value.
    weights = tf.constant(np.array(_LUMA) / 65536, tf.float32)
    return tf.reduce_sum(colours * weights, axis=-1, keepdims=True)


def _grey(colours: Any) -> Any:
    weighted = tf.reduce_sum(colours * tf.constant(_LUMA, tf.int64), axis=-1, keepdims=True)
    return (weighted + 32768) // 65536


_EXIF_START = tuple(b"Exif\0\0")
_MOST_SEGMENTS, _MOST_CHUNKS = 64, 512
_ORIENTATION, _SHORT = 0x0112, 3
_APP1, _END, _SCAN = 0xE1, 0xD9, 0xDA
_EXIF_CHUNK, _END_CHUNK = (int.from_bytes(kind, "big") for kind in (b"eXIf", b"IEND"))
_MIRRORED, _UPSIDE_DOWN = (2, 3, 6, 7), (3, 4, 7, 8)


def graph_orientation(content: Any, is_jpeg: Any, is_png: Any) -> Any:
    """The EXIF orientation of a JPEG or PNG file, int64 scalar 1 to 8; 1 if none is valid."""
    octets = _padded(tf.io.decode_raw(content, tf.uint8))
    nowhere = (tf.zeros((), tf.int64), tf.zeros((), tf.int64))
    # A large PNG has hundreds of chunks, and hardly ever this one.
    has_chunk = is_png & tf.strings.regex_full_match(content, r"\C*eXIf\C*")
    start, end = tf.cond(
        is_jpeg,
        lambda: _jpeg_exif(octets),
        lambda: tf.cond(has_chunk, lambda: _png_exif(octets), lambda: nowhere),
    )
    return _orientation(_padded(octets[: _size(octets)][start:end]))


def turned(pixels: Any, orientation: Any) -> Any:
    """Turns pixels `(h, w, c)` as their orientation says."""
    pixels = tf.cond(
        orientation >= 5, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: tf.identity(pixels)
    )
    for orientations, axis in ((_MIRRORED, 1), (_UPSIDE_DOWN, 0)):
        flips = tf.reduce_any(orientation == tf.constant(orientations, tf.int64))
        pixels = tf.cond(
            flips,
            lambda pixels=pixels, axis=axis: tf.reverse(pixels, [axis]),
            lambda pixels=pixels: tf.identity(pixels),
        )
    return pixels


def _jpeg_exif(octets: Any) -> tuple[Any, Any]:
    """Start and end of the EXIF block, (0, 0) if there is none."""
    name = tf.constant(_EXIF_START, tf.int64)
    head = 4 + len(_EXIF_START)

    def step(start: Any, found: Any, end: Any, going: Any) -> tuple[Any, ...]:
        segment = _octets_at(octets, start, head)
        marker, length = segment[1], segment[2] * 256 + segment[3]
        is_inside = start + 1 < _size(octets)
        going = is_inside & (segment[0] == 0xFF) & (length >= 2)
        going &= (marker != _END) & (marker != _SCAN)
        # What lies behind the end is no part of a name.
        is_exif = going & (marker == _APP1) & (length >= head - 2) & (start + head <= _size(octets))
        is_exif &= tf.reduce_all(segment[4:] == name)
        found = tf.where(is_exif, start + head, found)
        end = tf.where(is_exif, start + 2 + length, end)
        return start + 2 + length, found, end, going & ~is_exif

    return _walk(step, 2, _MOST_SEGMENTS)


def _png_exif(octets: Any) -> tuple[Any, Any]:
    powers = tf.constant([2**24, 2**16, 2**8, 1], tf.int64)

    def step(start: Any, found: Any, end: Any, going: Any) -> tuple[Any, ...]:
        numbers = tf.reshape(_octets_at(octets, start, 8), (2, 4)) * powers
        length, kind = tf.unstack(tf.reduce_sum(numbers, axis=1))
        going = (start + 8 <= _size(octets)) & (kind != _END_CHUNK)
        is_exif = going & (kind == _EXIF_CHUNK)
        found = tf.where(is_exif, start + 8, found)
        end = tf.where(is_exif, start + 8 + length, end)
        return start + 12 + length, found, end, going & ~is_exif

    return _walk(step, 8, _MOST_CHUNKS)


def _walk(step: Any, start: int, most: int) -> tuple[Any, Any]:
    zero = tf.zeros((), tf.int64)
    state = (zero + start, zero, zero, tf.constant(True))
    _, found, end, _ = tf.while_loop(
        lambda start, found, end, going: going, step, state, maximum_iterations=most
    )
    return found, end


def _orientation(exif: Any) -> Any:
    """The first orientation in the first directory of a TIFF header."""
    one = tf.ones((), tf.int64)
    mark = _number(exif, 0, 4)
    is_little = mark == int.from_bytes(b"II*\0", "big")
    is_header = (_size(exif) >= 4) & (is_little | (mark == int.from_bytes(b"MM\0*", "big")))

    def number(start: Any, size: int) -> Any:
        return tf.where(is_little, _number(exif, start, size, -1), _number(exif, start, size))

    first = number(4, 4)
    room = tf.maximum((_size(exif) - first - 2) // 12, 0)
    entries = tf.minimum(number(first, 2), room)
    starts = first + 2 + 12 * tf.range(entries, dtype=tf.int64)
    fits = (number(starts, 2) == _ORIENTATION) & (number(starts + 2, 2) == _SHORT)
    values = number(tf.boolean_mask(starts, fits) + 8, 2)
    value = tf.concat([values, [one]], axis=0)[0]
    return tf.where(is_header & (value >= 1) & (value <= 8), value, one)


def _padded(octets: Any) -> Any:
    """Appends a zero octet, which stands for everything beyond the end."""
    return tf.concat([octets, tf.zeros((1,), tf.uint8)], axis=0)


def _size(padded: Any) -> Any:
    return tf.size(padded, out_type=tf.int64) - 1


def _octets_at(octets: Any, start: Any, size: int, step: int = 1) -> Any:
    """`size` octets (in reverse with `step=-1`) from each start on; behind the end are zeros."""
    places = start[..., None] + tf.range(size, dtype=tf.int64)[::step]
    return tf.cast(tf.gather(octets, tf.minimum(places, _size(octets))), tf.int64)


def _number(octets: Any, start: Any, size: int, step: int = 1) -> Any:
    """Unsigned numbers, high octet first or (`step=-1`) last."""
    start = tf.convert_to_tensor(start, tf.int64)
    powers = tf.constant([256**place for place in reversed(range(size))], tf.int64)
    return tf.reduce_sum(_octets_at(octets, start, size, step) * powers, axis=-1)
