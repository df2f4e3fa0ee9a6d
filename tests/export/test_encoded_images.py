"""Files decoded in the graph are the pixels that this package reads from them elsewhere."""

import io

import numpy as np
import pytest
import tensorflow as tf
from exported_models import png
from PIL import Image

from keras_reprogram.datasets.image_decoding import decode_image
from keras_reprogram.export.encoded_images import file_decoder


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def smooth(height, width):
    codes = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    return (codes[:, ::-1] * [1.0, 0.5, 0.9]).astype(np.uint8)


def encoded(codes, kind="png"):
    stream = io.BytesIO()
    Image.fromarray(codes[..., 0] if codes.shape[-1] == 1 else codes).save(stream, kind)
    return stream.getvalue()


def in_graph(file, shape, target_range=(0.0, 255.0)):
    decode = tf.function(file_decoder(shape, target_range))
    return decode(tf.constant([file])).numpy()[0]


def elsewhere(file, shape):
    return decode_image(io.BytesIO(file), "test", grey=shape[-1] == 1, size=shape[:2]).astype(int)


@pytest.mark.parametrize("wanted", [1, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_are_kept_bit_for_bit(channels, wanted) -> None:
    file = encoded(noise(9, 7, channels))
    np.testing.assert_array_equal(in_graph(file, (9, 7, wanted)), elsewhere(file, (9, 7, wanted)))


@pytest.mark.parametrize("size", [(5, 5), (30, 20), (9, 14)])
@pytest.mark.parametrize("wanted", [1, 3])
def test_sizes_are_changed_as_elsewhere(size, wanted) -> None:
    """Pillow rounds after each axis, the graph once."""
    file = encoded(noise(18, 14, 3))
    difference = np.abs(in_graph(file, (*size, wanted)) - elsewhere(file, (*size, wanted)))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.35


@pytest.mark.parametrize("wanted", [1, 3])
def test_jpeg_is_decoded_as_elsewhere(wanted) -> None:
    for codes in (smooth(32, 24), noise(32, 24, 3)):
        file = encoded(codes, "jpeg")
        np.testing.assert_array_equal(
            in_graph(file, (32, 24, wanted)), elsewhere(file, (32, 24, wanted))
        )


def test_the_upper_of_sixteen_bits_are_taken() -> None:
    codes = noise(6, 5, 1)
    deep = tf.io.encode_png(codes.astype(np.uint16) * 256 + 17).numpy()
    np.testing.assert_array_equal(in_graph(deep, (6, 5, 1)), codes)


@pytest.mark.parametrize("target_range", [(0.0, 1.0), (-1.0, 1.0), (10.0, 20.0)])
def test_the_range_is_the_target_s(target_range) -> None:
    low, high = target_range
    codes = np.array([0, 51, 255], np.uint8).reshape(1, 3, 1)
    pixels = in_graph(png(codes), (1, 3, 1), target_range)
    np.testing.assert_allclose(
        pixels.ravel(), [low, low + 0.2 * (high - low), high], rtol=1e-6, atol=1e-6
    )
    assert pixels.dtype == np.float32
