"""LiteRTSource: quantised files, batch sizes, threads, and files that are something else."""

import gc
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from checks.check_source import scores_of
from checks.tiny_models import SHAPE, random_images

from keras_reprogram import LiteRTSource
from keras_reprogram.source import litert_source


def network_scores(files, images):
    return np.asarray(files.network(images, training=False))


def tflite(path, function, shape=(None, *SHAPE), dtype=tf.float32):
    signature = [tf.TensorSpec(shape, dtype)]
    function = tf.function(function, input_signature=signature).get_concrete_function()
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
    return path


def test_float_file_answers_as_the_network(files):
    images = random_images(5)
    scores = scores_of(LiteRTSource(files.float, value_range=(0, 255)), images)
    np.testing.assert_allclose(scores, network_scores(files, images), atol=1e-5)


@pytest.mark.parametrize("name", ["uint8", "int8"])
def test_quantised_file_answers_nearly_as_the_network(name, files):
    images = random_images(20)
    source = LiteRTSource(getattr(files, name))
    assert source.value_range == (0.0, 255.0)
    assert source.score_step == pytest.approx(1 / 256)
    scores, expected = scores_of(source, images), network_scores(files, images)
    np.testing.assert_allclose(scores, expected, atol=0.05)
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.9
    # Rounded scores do not sum to 1 as floats do; the tolerance knows the step.
    assert source.sum_tolerance == pytest.approx(1e-3 + 6 / 512)


@pytest.mark.parametrize("name", ["uint8", "int8"])
def test_value_range_is_spread_over_the_codes(name, files):
    path, pixels = getattr(files, name), random_images(5)
    bytes_in, symmetric = LiteRTSource(path), LiteRTSource(path, value_range=(-1, 1))
    np.testing.assert_array_equal(
        scores_of(symmetric, pixels / 127.5 - 1), scores_of(bytes_in, pixels)
    )
    # Values beyond the range take the nearest code instead of wrapping round.
    np.testing.assert_array_equal(
        scores_of(bytes_in, np.full((1, *SHAPE), 300.0)),
        scores_of(bytes_in, np.full((1, *SHAPE), 255.0)),
    )


def test_a_file_that_refuses_other_batch_sizes_is_asked_singly(files):
    interpreter = litert_source.Interpreter(model_path=str(files.fixed))
    interpreter.resize_tensor_input(0, (3, *SHAPE))
    with pytest.raises(RuntimeError):
        interpreter.allocate_tensors()
        interpreter.invoke()
    source = LiteRTSource(files.fixed, value_range=(0, 255))
    images = random_images(3)
    np.testing.assert_allclose(scores_of(source, images), network_scores(files, images), atol=1e-5)
    assert source.queries_used == 3


def test_a_file_of_a_fixed_batch_is_asked_in_such_batches(network_file, files):
    path = network_file("four", batch=4)
    source = LiteRTSource(path, value_range=(0, 255))
    for count in (1, 3, 4, 9):
        images = random_images(count)
        np.testing.assert_allclose(
            scores_of(source, images), network_scores(files, images), atol=1e-5
        )
    # What fills a batch up is no query.
    assert source.queries_used == 1 + 3 + 4 + 9


def test_a_file_of_any_size_asks_for_one(tmp_path):
    def share(image):
        mean = tf.reduce_mean(image[..., 0], axis=(1, 2)) / 255
        return tf.stack([mean, 1 - mean], axis=1)

    path = tflite(tmp_path / "any.tflite", share, (None, None, None, 3))
    with pytest.raises(ValueError, match=r"any size.*Pass `image_size=224` \(--source-size 224\)"):
        LiteRTSource(path, value_range=(0, 255))
    source = LiteRTSource(path, value_range=(0, 255), image_size=(12, 16))
    assert source.source_shape == (12, 16, 3)
    images = random_images(3, (12, 16, 3))
    np.testing.assert_allclose(
        scores_of(source, images)[:, 0], images[..., 0].mean(axis=(1, 2)) / 255, atol=1e-5
    )
    again = LiteRTSource.from_config(source.get_config())
    assert again.fingerprint == source.fingerprint
    other = LiteRTSource(path, value_range=(0, 255), image_size=16)
    assert other.fingerprint != source.fingerprint


def test_a_file_of_channels_first_answers_as_its_network(network_file, files):
    path = network_file("first", channels_first=True)
    with pytest.raises(ValueError, match=r"channels first.*--data-format channels_first"):
        LiteRTSource(path, value_range=(0, 255))
    source = LiteRTSource(path, value_range=(0, 255), data_format="channels_first")
    assert source.source_shape == SHAPE
    images = random_images(5)
    np.testing.assert_allclose(scores_of(source, images), network_scores(files, images), atol=1e-5)


@pytest.mark.parametrize("dtype", [tf.uint8, tf.int8])
@pytest.mark.parametrize("brightest", [255, 130])
def test_codes_are_the_files_own(dtype, brightest, network_file, files):
    """Calibrated on dark images, code 255 is no pixel 255."""
    pixels = random_images(50, seed=3) * brightest / 255
    path = network_file("calibrated", quantised=dtype, pixels=pixels)
    images = random_images(40, seed=9) * brightest / 255
    expected = network_scores(files, images)
    scores = scores_of(LiteRTSource(path, value_range=(0, 255)), images)
    assert np.abs(scores - expected).mean() < 0.01
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.95


def test_codes_that_changed_are_another_source(network_file, files):
    pixels = random_images(50, seed=3) / 2
    path = network_file("dark", quantised=tf.uint8, pixels=pixels)
    assert LiteRTSource(path).fingerprint.endswith(":own codes")
    # As it has always been, where pixels are codes.
    assert (
        LiteRTSource(files.uint8).fingerprint == f"{LiteRTSource(files.uint8).sha256}:(0.0, 255.0)"
    )


def test_threads_get_the_same_answers(files):
    source = LiteRTSource(files.float, value_range=(0, 255), num_threads=1)
    batches = [random_images(1 + seed % 3, seed=seed) for seed in range(24)]
    expected = [scores_of(source, batch) for batch in batches]
    asked = source.queries_used
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda batch: scores_of(source, batch), batches * 4))
    for answer, wanted in zip(found, expected * 4, strict=True):
        np.testing.assert_array_equal(answer, wanted)
    assert source.queries_used == asked * 5


def test_interpreters_of_many_batch_sizes_do_not_pile_up(files, monkeypatch):
    alive = weakref.WeakSet()

    class Watched(litert_source.Interpreter):
        def __init__(self, **options):
            super().__init__(**options)
            alive.add(self)

    monkeypatch.setattr(litert_source, "Interpreter", Watched)
    source = LiteRTSource(files.float, value_range=(0, 255))
    for count in range(1, 11):
        source(random_images(count))
    gc.collect()
    assert 1 <= len(alive) <= 4
    opened = len(alive)
    source(random_images(10))
    assert len(alive) == opened, "a batch size that was asked just now is opened again"


def test_hash_and_place_are_part_of_the_config(files, tmp_path):
    path = tmp_path / "model.tflite"
    shutil.copy(files.float, path)
    config = LiteRTSource(path, value_range=(0, 255)).get_config()
    path.write_bytes(files.uint8.read_bytes())
    with pytest.raises(ValueError, match="is not the one expected. Expected sha256"):
        LiteRTSource.from_config(config)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no source model at .*model\.tflite"):
        LiteRTSource.from_config(config)


def test_float_file_needs_to_be_told_its_range(files):
    with pytest.raises(ValueError, match="a file cannot tell in which range"):
        LiteRTSource(files.float)


def test_a_file_that_is_no_tflite_is_refused(tmp_path):
    path = tmp_path / "text.tflite"
    path.write_text("nothing of the kind")
    with pytest.raises(ValueError, match="is not a readable LiteRT"):
        LiteRTSource(path, value_range=(0, 1))


OTHER_FILES = [
    (
        lambda x: tf.reduce_sum(x, axis=1),
        (1, 7),
        tf.float32,
        r"must take one image, \(n, H, W, C\)",
    ),
    (lambda x: (x[:, 0, 0], x[:, 1, 1]), (1, *SHAPE), tf.float32, "must have one output. Rec.*2"),
    (
        lambda x: tf.argmax(x[:, 0, 0], axis=1),
        (1, *SHAPE),
        tf.float32,
        "must answer with scores. Received: int64",
    ),
    (
        lambda x: tf.cast(x[:, 0, 0], tf.float32),
        (1, *SHAPE),
        tf.int32,
        "must take float or 8-bit pixels. Received: int32",
    ),
]


@pytest.mark.parametrize(("function", "shape", "dtype", "message"), OTHER_FILES)
def test_a_file_of_something_else_is_refused(function, shape, dtype, message, tmp_path):
    path = tflite(tmp_path / "other.tflite", function, shape, dtype)
    with pytest.raises(ValueError, match=message):
        LiteRTSource(path, value_range=(0, 1))
