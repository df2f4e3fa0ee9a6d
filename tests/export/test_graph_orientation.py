"""The orientation of a file, read in a graph, in Python and by Pillow, is one and the same."""

import io

import numpy as np
import pytest
import tensorflow as tf
from odd_files import exif, late_exif, odd_files, picture, saved
from PIL import Image, ImageOps

from keras_reprogram.datasets.image_files import JPEG_START, PNG_START, exif_orientation
from keras_reprogram.export.graph_decoder import graph_orientation, turned


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def in_graph(content):
    kinds = [
        tf.strings.substr(content, 0, len(start)) == start for start in (JPEG_START, PNG_START)
    ]
    return graph_orientation(content, *kinds)


@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_every_orientation_is_pillows(kind, endian) -> None:
    for number in range(10):
        file = saved(picture(), kind, exif=exif(number, endian))
        said = Image.open(io.BytesIO(file)).getexif()[0x0112]
        assert said == number
        expected = number if 1 <= number <= 8 else 1
        assert (int(in_graph(file)), exif_orientation(file)) == (expected, expected)


def test_files_that_say_nothing() -> None:
    files = [b"", b"\xff\xd8\xff", PNG_START, saved(picture(), "WEBP", exif=exif(6))]
    files += [saved(picture(), kind) for kind in ("JPEG", "PNG", "BMP")]
    for file in files:
        assert (int(in_graph(file)), exif_orientation(file)) == (1, 1)
    behind = late_exif(saved(picture(), "PNG"), 5)
    assert (int(in_graph(behind)), exif_orientation(behind)) == (5, 5)


def test_broken_files_are_read_alike() -> None:
    """Cut off or with wrong bytes: whatever comes of them, both readers say the same."""
    random, seen = np.random.default_rng(0), set()
    files = [file for name, file in odd_files().items() if "orientation" in name]
    for file in files:
        for _ in range(40):
            broken = bytearray(file)
            for _ in range(random.integers(0, 4)):
                place = random.integers(0, min(len(broken), 200))
                broken[place] = random.choice([0, 1, 2, 255, random.integers(0, 256)])
            broken = bytes(broken[: random.integers(1, 260)] if random.random() < 0.3 else broken)
            found = exif_orientation(broken)
            assert int(in_graph(broken)) == found, broken
            seen.add(found)
    assert seen == set(range(1, 9))


def test_pictures_are_turned_as_pillow_turns_them() -> None:
    pixels = np.asarray(picture())
    for number in range(1, 9):
        image = Image.fromarray(pixels)
        image.getexif()[0x0112] = number
        found = turned(tf.constant(pixels), tf.constant(number, tf.int64)).numpy()
        np.testing.assert_array_equal(found, np.asarray(ImageOps.exif_transpose(image)))
