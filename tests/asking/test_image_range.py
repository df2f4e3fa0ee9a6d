"""Images beyond their range, in a corner of it, and dark ones that are none of both."""

import warnings

import numpy as np
import pytest

from keras_reprogram.asking.images import SeenRange, check_range, check_set

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1)).astype("float32")


@pytest.mark.parametrize(
    ("images", "target_range", "said"),
    [
        (PIXELS / 255, (0, 255), r"one 8-bit step.*`target_range=\(0, 1\)`"),
        (PIXELS / 255 / 255, (0, 1), "one 8-bit step"),
        (PIXELS / 255, (0, 65535), "one 8-bit step"),
        (PIXELS / 127.5 - 1, (0, 255), r"must lie in.*`target_range=\(-1, 1\)`"),
        (PIXELS, (0, 1), r"must lie in.*Rescale them to 0 to 1.*`target_range=\(0, 255\)`"),
        (PIXELS, (-1, 1), r"must lie in.*`target_range=\(0, 255\)`"),
        (PIXELS * 257, (0, 255), r"must lie in.*`target_range=\(0, 65535\)`"),
        (np.full((1, 4, 4, 1), 0.5), (0, 255), "one 8-bit step"),
    ],
)
def test_images_on_another_scale(images, target_range, said) -> None:
    with pytest.raises(ValueError, match=said):
        check_range(images, target_range)


@pytest.mark.parametrize(
    ("images", "target_range"),
    [
        (PIXELS, (0, 255)),
        (PIXELS / 255, (0, 1)),
        (PIXELS / 255 * 1.0005, (0, 1)),
        (np.zeros((3, 4, 4, 1)), (0, 255)),
        (np.zeros((3, 4, 4, 1)), (-1, 1)),
        # The darkest photograph that 8 bits can hold.
        ((PIXELS[:1] > 128).astype("uint8"), (0, 255)),
        # And 16 bits.
        (PIXELS[:1], (0, 65535)),
    ],
)
def test_images_that_pass(images, target_range) -> None:
    seen = check_range(images, target_range)
    assert (seen.darkest, seen.brightest) == (images.min(), images.max())


def test_a_whole_set_of_two_codes_is_refused() -> None:
    with pytest.raises(ValueError, match="one 8-bit step"):
        check_set(SeenRange(0, 1, 3), (0, 255))
    check_set(SeenRange(0, 0, 3), (0, 255))
    check_set(SeenRange(0, 1, 3), None)
    check_set(None, (0, 255))


@pytest.mark.parametrize(
    ("seen", "target_range", "advised"),
    [
        (SeenRange(0, 16, 50), (0, 255), r"\(0, 16\)"),
        (SeenRange(0, 1, 50), (-1, 1), r"\(0, 1\)"),
    ],
)
def test_a_set_that_uses_a_part_of_the_range_is_warned_of(seen, target_range, advised) -> None:
    with pytest.warns(UserWarning, match=f"only a part.*target_range={advised}"):
        check_set(seen, target_range)


@pytest.mark.parametrize(
    ("seen", "target_range"),
    [
        (SeenRange(0, 16, 4), (0, 255)),
        (SeenRange(0, 60, 50), (0, 255)),
        (SeenRange(-0.1, 1, 50), (-1, 1)),
    ],
)
def test_a_set_that_may_well_be_so_is_not(seen, target_range) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_set(seen, target_range)


def test_seen_ranges_join() -> None:
    one, other = SeenRange(1, 5, 2), SeenRange(-1, 3, 4)
    assert one.joined(other) == SeenRange(-1, 5, 6)
    assert one.joined(None) == one
