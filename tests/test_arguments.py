"""The 8-bit code of a pixel."""

import numpy as np

from keras_reprogram.arguments import eight_bit_codes, pixels_of_codes


def test_pixels_become_the_nearest_codes() -> None:
    pixels = np.array([-2.0, -1.0, 0.0, 0.99, 1.0, 3.0])
    codes = eight_bit_codes(pixels, (-1.0, 1.0))
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes, [0, 0, 128, 254, 255, 255])


def test_codes_become_pixels_and_the_same_codes_again() -> None:
    codes = np.arange(256, dtype=np.float32)
    pixels = pixels_of_codes(codes, (-1.0, 1.0))
    assert (pixels[0], pixels[255]) == (-1.0, 1.0)
    np.testing.assert_array_equal(eight_bit_codes(pixels, (-1.0, 1.0)), codes)
