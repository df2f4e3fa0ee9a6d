"""Pixels as codes: a file's scale and zero point where they are the network's own pixels."""

import numpy as np
import pytest

from keras_reprogram.source.pixel_codes import pixel_codes


@pytest.mark.parametrize(
    ("dtype", "value_range", "quantization", "pixels", "codes"),
    [
        # Calibrated on images that do not reach the ends.
        (np.int8, (-1, 1), (0.006, 17), [-0.6, 0.0, 0.6], [-83, 17, 117]),
        (np.uint8, (0, 255), (0.8, 0), [0, 80, 204, 255], [0, 100, 255, 255]),
        # Dark calibration images.
        (np.int8, (0, 1), (0.1 / 255, -128), [0.0, 0.05], [-128, 0]),
        # Symmetric codes.
        (np.int8, (0, 1), (1 / 127, 0), [0.0, 0.5, 1.0], [0, 64, 127]),
        (np.int16, (-1, 1), (1 / 32767, 0), [-1.0, 0.5], [-32767, 16384]),
        # Numbers on another scale: the range is spread.
        (np.uint8, (0, 255), (1 / 127.5, 128), [0, 100, 255], [0, 100, 255]),
        (np.int8, (-1, 1), (1.0, -128), [-1, 1], [-128, 127]),
        (np.uint8, (0, 255), (1.077, 115), [0, 100, 255], [0, 100, 255]),
        # No scale at all.
        (np.uint8, (0, 1), (0.0, 0), [0.0, 1.0], [0, 255]),
    ],
)
def test_codes(dtype, value_range, quantization, pixels, codes) -> None:
    found = pixel_codes(dtype, value_range, quantization).encode(np.float32(pixels))
    assert found.dtype == dtype
    assert found.tolist() == codes


def test_whether_codes_are_those_of_an_even_spread() -> None:
    assert pixel_codes(np.uint8, (0, 255), (1.0, 0)).is_as_spread
    assert pixel_codes(np.int8, (0, 255), (1.0, -128)).is_as_spread
    assert pixel_codes(np.uint8, (0, 255), (1 / 127.5, 128)).is_as_spread
    assert not pixel_codes(np.uint8, (0, 255), (0.8, 0)).is_as_spread
