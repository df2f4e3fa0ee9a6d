"""The shapes that networks take, read: order of the axes, open sizes, fixed batches."""

import pytest

from keras_reprogram.arguments import looks_channels_first
from keras_reprogram.source.network_input import in_calls_of, read_network_input


@pytest.mark.parametrize(
    ("shape", "options", "source_shape", "image_shape", "batch"),
    [
        ((None, 32, 48, 3), {}, (32, 48, 3), (32, 48, 3), None),
        ((1, 32, 32, 1), {}, (32, 32, 1), (32, 32, 1), 1),
        ((4, 3, 96, 80), {"data_format": "channels_first"}, (96, 80, 3), (3, 96, 80), 4),
        ((None, None, None, 3), {"image_size": 64}, (64, 64, 3), (64, 64, 3), None),
        (
            (None, 3, None, None),
            {"image_size": (48, 64), "data_format": "channels_first"},
            (48, 64, 3),
            (3, 48, 64),
            None,
        ),
        # Said to be so, three pixels are a height.
        ((None, 3, 96, 96), {"data_format": "channels_last"}, (3, 96, 96), (3, 96, 96), None),
        # A signal of a thousand samples in twelve channels.
        ((None, 1, 1000, 12), {}, (1, 1000, 12), (1, 1000, 12), None),
        ((None, 32, None, 3), {"image_size": (32, 20)}, (32, 20, 3), (32, 20, 3), None),
    ],
)
def test_shape_is_read(shape, options, source_shape, image_shape, batch) -> None:
    found = read_network_input(shape, "net", **options)
    assert found.source_shape == source_shape
    assert found.image_shape == image_shape
    assert found.batch_size == batch


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((None, 3, 96, 96), {}, r"channels first.*3 channels of 96 x 96 pixels.*--data-format"),
        ((None, 1, 28, 28), {}, "channels first"),
        ((1, 3, 224, 320), {}, "channels first"),
        ((None, 3, None, None), {}, "channels first"),
        ((None, None, None, 3), {}, "any size.*--source-size"),
        ((None, 32, 32, None), {}, "a known number of channels"),
        ((None, 32, 32, 3), {"image_size": 64}, "one size.*Received: image_size=64"),
        ((None, None, None, 3), {"image_size": 0}, "positive integer"),
        ((None, None, None, 3), {"image_size": (8, 8, 3)}, "positive integer"),
        (
            (None, 32, 32, 3),
            {"data_format": "NCHW"},
            "`data_format` .--data-format. must be one of",
        ),
        ((None, 784), {}, r"must take one image.*Received: an input of shape \(None, 784\)"),
    ],
)
def test_shape_that_is_refused(shape, options, said) -> None:
    with pytest.raises(ValueError, match=said):
        read_network_input(shape, "net", **options)


@pytest.mark.parametrize("shape", [(32, 32, 3), (8, 8, 1), (3, 3, 3), (1, 64, 1), (2, 96, 96)])
def test_shapes_of_channels_last(shape) -> None:
    assert not looks_channels_first(shape)


def test_calls_of_a_fixed_batch() -> None:
    assert in_calls_of(4, 9) == [(slice(0, 4), 0), (slice(4, 8), 0), (slice(8, 12), 3)]
    assert in_calls_of(None, 9) == [(slice(0, 9), 0)]
    assert in_calls_of(4, 0) == []
