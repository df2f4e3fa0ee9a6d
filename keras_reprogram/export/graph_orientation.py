"""graph_orientation: how an image file says that it wants to be turned, read inside a graph.

The same rules as `datasets/exif_orientation.py`; a test compares the two byte by byte.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_EXIF_START = tuple(b"Exif\0\0")
_MOST_SEGMENTS, _MOST_CHUNKS = 64, 512
_ORIENTATION, _SHORT = 0x0112, 3
_APP1, _END, _SCAN = 0xE1, 0xD9, 0xDA
_EXIF_CHUNK, _END_CHUNK = (int.from_bytes(kind, "big") for kind in (b"eXIf", b"IEND"))
_MIRRORED, _UPSIDE_DOWN = (2, 3, 6, 7), (3, 4, 7, 8)


def graph_orientation(content: Any, is_jpeg: Any, is_png: Any) -> Any:
    """Reads the orientation of a JPEG or PNG file.

    Args:
        content: string scalar.
        is_jpeg: bool scalar, whether it starts like one.
        is_png: likewise.

    Returns:
        int64 scalar, 1 to 8; 1 where nothing (or nothing valid) is said.
    """
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
    """Turns an image as its orientation says.

    Args:
        pixels: `(h, w, c)`.
        orientation: int64 scalar, 1 to 8.

    Returns:
        `(h, w, c)`, or `(w, h, c)` from 5 on.
    """
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
    """Where its EXIF block starts and ends; nowhere is (0, 0)."""
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
    """With a zero, which stands for all that lies behind the end."""
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
