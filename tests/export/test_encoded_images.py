"""Files decoded in the graph are the pixels that this package reads from them elsewhere."""

import functools
import io

import numpy as np
import pytest
import tensorflow as tf
from exported_models import png
from odd_files import HEIGHT, WIDTH, deep_files, odd_files, unserved_files
from PIL import Image, ImageOps

from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.datasets.image_files import decode_image
from keras_reprogram.export.graph_decoder import DEFAULT_READING, file_decoder


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def smooth(height, width):
    codes = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    return (codes[:, ::-1] * [1.0, 0.5, 0.9]).astype(np.uint8)


def encoded(codes, kind="png"):
    stream = io.BytesIO()
    Image.fromarray(codes[..., 0] if codes.shape[-1] == 1 else codes).save(stream, kind)
    return stream.getvalue()


def in_graph(file, shape, target_range=(0.0, 255.0), reading=DEFAULT_READING):
    return decoder(shape, target_range, reading)(tf.constant([file])).numpy()[0]


@functools.lru_cache
def decoder(shape, target_range, reading):
    """Traced once for a shape."""
    return tf.function(file_decoder(shape, target_range, reading), autograph=False)


def elsewhere(file, shape):
    return decode_image(io.BytesIO(file), "test", grey=shape[-1] == 1, size=shape[:2]).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [1, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels_are_kept_bit_for_bit(channels, wanted) -> None:
    file = encoded(noise(9, 7, channels))
    np.testing.assert_array_equal(in_graph(file, (9, 7, wanted)), elsewhere(file, (9, 7, wanted)))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(9, 9), (30, 20), pytest.param((9, 14), marks=pytest.mark.slow)])
def test_sizes_are_changed_as_elsewhere(size) -> None:
    file = encoded(noise(18, 14, 3))
    for wanted in (1, 3):
        shape = (*size, wanted)
        np.testing.assert_array_equal(in_graph(file, shape), elsewhere(file, shape))
    # Pillow, which rounds after each axis, is a level away at most.
    image = Image.open(io.BytesIO(file)).resize(size[::-1], Image.Resampling.BILINEAR)
    assert np.abs(elsewhere(file, (*size, 3)) - np.asarray(image, int)).max() <= 1


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_aspect_ratios_are_fitted_as_elsewhere(fit) -> None:
    reading = ImageReading(fit)
    for height, width in ((18, 14), (9, 30), (1, 40), (31, 2), (12, 8)):
        file = encoded(noise(height, width, 3))
        found = in_graph(file, (12, 8, 3), reading=reading)
        here = decode_image(io.BytesIO(file), "a", grey=False, size=(12, 8), reading=reading)
        np.testing.assert_array_equal(found, here, err_msg=f"{height}x{width}")


@pytest.mark.slow
def test_levels_are_cut_off_at_their_window_as_elsewhere() -> None:
    file, shape = deep_files(4095)["grey"], (HEIGHT, WIDTH, 1)
    facts = {"target_range": (1000.0, 1900.0), "reading": ImageReading("crop", depth=12)}
    found = in_graph(file, shape, **facts)
    levels = tf.io.decode_png(file, channels=1, dtype=tf.uint16).numpy()
    np.testing.assert_array_equal(found, levels.clip(1000, 1900))
    small = in_graph(file, (9, 9, 1), **facts)
    here = decode_image(io.BytesIO(file), "a", grey=True, size=(9, 9), **facts)
    np.testing.assert_array_equal(small, here)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"training images, 0\.\.1023"):
        in_graph(file, shape, (100.0, 900.0), ImageReading(depth=10))
    with pytest.raises(ValueError, match=r"levels in 0\.\.1023, like the training images"):
        facts = {"target_range": (100.0, 900.0), "reading": ImageReading(depth=10)}
        decode_image(io.BytesIO(file), "a", grey=True, **facts)


@pytest.mark.parametrize("wanted", [1, 3])
def test_jpeg_is_decoded_as_elsewhere(wanted) -> None:
    shape = (HEIGHT, WIDTH, wanted)
    for codes in (smooth(HEIGHT, WIDTH), noise(HEIGHT, WIDTH, 3)):
        file = encoded(codes, "jpeg")
        np.testing.assert_array_equal(in_graph(file, shape), elsewhere(file, shape))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("wanted", [1, 3])
def test_odd_files_are_decoded_as_elsewhere(wanted) -> None:
    for name, file in odd_files().items():
        turned = name[-1:] in "5678" or "behind" in name or "big-endian" in name
        sides = (WIDTH, HEIGHT) if turned and "orientation" in name else (HEIGHT, WIDTH)
        shape = (*sides, wanted)
        found, expected = in_graph(file, shape), elsewhere(file, shape)
        np.testing.assert_array_equal(found, expected, err_msg=name)
        # In another size too: a turned picture that is forced into its frame shows it.
        found, expected = in_graph(file, (9, 9, wanted)), elsewhere(file, (9, 9, wanted))
        np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.slow
def test_a_photograph_is_turned_as_its_exif_data_say() -> None:
    """Against Pillow's own transposition."""
    for name in (f"jpeg orientation {number}" for number in range(2, 9)):
        file = odd_files()[name]
        upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file))))
        np.testing.assert_array_equal(in_graph(file, upright.shape), upright, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", unserved_files())
def test_other_kinds_of_files_are_refused_by_name(kind) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG, PNG, or BMP of 8, 24 or 32"):
        in_graph(unserved_files()[kind], (4, 4, 3))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [8, pytest.param(12, marks=pytest.mark.slow), 16])
def test_levels_of_sixteen_bit_files_are_kept(depth) -> None:
    target_range = (0.0, 2.0**depth - 1)
    for kind, file in deep_files(2**depth - 1).items():
        levels = tf.io.decode_png(file, channels=3, dtype=tf.uint16).numpy()
        found = in_graph(file, levels.shape, target_range)
        np.testing.assert_array_equal(found, levels, err_msg=kind)
        here = decode_image(io.BytesIO(file), "a", grey=False, target_range=target_range)
        np.testing.assert_array_equal(here, levels, err_msg=kind)
        small = in_graph(file, (9, 9, 1), target_range)
        facts = {"grey": True, "size": (9, 9), "target_range": target_range}
        np.testing.assert_array_equal(small, decode_image(io.BytesIO(file), "a", **facts))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("highest", "target_range"),
    [(4095, (0.0, 255.0)), (400, (0.0, 255.0)), (65535, (0.0, 4095.0)), (255, (0.0, 1.0))],
)
def test_levels_that_mean_nothing_in_the_range_are_refused(highest, target_range) -> None:
    file = deep_files(highest)["grey"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="must hold levels in the range"):
        in_graph(file, (HEIGHT, WIDTH, 1), target_range)
    with pytest.raises(ValueError, match="Received: a 16-bit file"):
        decode_image(io.BytesIO(file), "a.png", grey=True, target_range=target_range)


@pytest.mark.slow
def test_codes_fill_a_range_of_levels() -> None:
    file = odd_files()["jpeg"]
    shape, target_range = (HEIGHT, WIDTH, 3), (0.0, 4095.0)
    found = in_graph(file, shape, target_range)
    np.testing.assert_allclose(found, elsewhere(file, shape) * (4095 / 255), rtol=1e-6)
    here = decode_image(io.BytesIO(file), "a", grey=False, target_range=target_range)
    np.testing.assert_array_equal(here, found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "target_range", [pytest.param((0.0, 1.0), marks=pytest.mark.slow), (-1.0, 1.0), (10.0, 20.0)]
)
def test_the_range_is_the_target_s(target_range) -> None:
    low, high = target_range
    codes = np.array([0, 51, 255], np.uint8).reshape(1, 3, 1)
    pixels = in_graph(png(codes), (1, 3, 1), target_range)
    np.testing.assert_allclose(
        pixels.ravel(), [low, low + 0.2 * (high - low), high], rtol=1e-6, atol=1e-6
    )
    assert pixels.dtype == np.float32
