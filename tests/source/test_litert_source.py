"""LiteRTSource: quantised files, batch sizes, threads, and files that are something else."""

import gc
import os
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from checks.check_source import scores_of
from checks.tiny_models import NUM_LABELS, SHAPE, random_images

from keras_reprogram import LiteRTSource
from keras_reprogram.source import litert_interpreters, shared_work
from keras_reprogram.threads import allowed_threads


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
    interpreter = litert_interpreters.Interpreter(model_path=str(files.fixed))
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

    class Watched(litert_interpreters.Interpreter):
        def __init__(self, **options):
            super().__init__(**options)
            alive.add(self)

    monkeypatch.setattr(litert_interpreters, "Interpreter", Watched)
    source = LiteRTSource(files.float, value_range=(0, 255), num_threads=1)
    for count in range(1, 11):
        source(random_images(count))
    gc.collect()
    assert 1 <= len(alive) <= 4
    opened = len(alive)
    source(random_images(10))
    assert len(alive) == opened, "a batch size that was asked just now is opened again"


@pytest.fixture
def parts_of_three(monkeypatch):
    """Parts of three images at most, of which one alone is worth a thread."""
    values = np.prod(SHAPE)
    monkeypatch.setattr(shared_work, "_MOST_VALUES", 3 * values)
    monkeypatch.setattr(shared_work, "_LEAST_VALUES", values)


@pytest.mark.parametrize("name", ["float", "uint8", "int8", "fixed"])
def test_scores_do_not_depend_on_the_number_of_threads(name, files, parts_of_three):
    images = random_images(40)
    path = getattr(files, name)
    one, *others = (LiteRTSource(path, value_range=(0, 255), num_threads=n) for n in (1, 2, 3))
    expected = np.concatenate([scores_of(one, image[None]) for image in images])
    assert len(np.unique(expected, axis=0)) > 10, "the order of the answers would not show"
    for source in (one, *others):
        for count in (2, 7, 40):
            np.testing.assert_array_equal(scores_of(source, images[:count]), expected[:count])


def test_several_threads_answer_one_call(files, parts_of_three, monkeypatch):
    source = LiteRTSource(files.float, value_range=(0, 255), num_threads=2)
    invoke, together = source._invoke, threading.Barrier(2)

    def meet(codes, num_threads):
        # Passes only if two threads are here at the same time.
        together.wait(timeout=10)
        return invoke(codes, num_threads)

    monkeypatch.setattr(source, "_invoke", meet)
    assert scores_of(source, random_images(12)).shape == (12, NUM_LABELS)


@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_an_error_of_one_part_comes_out_and_the_source_stays_usable(
    num_threads, files, parts_of_three, monkeypatch
):
    source = LiteRTSource(files.float, value_range=(0, 255), num_threads=num_threads)
    images = random_images(20)
    expected = scores_of(source, images)
    invoke = source._invoke

    def fail_for_black(codes, threads):
        if (codes == 0).all(axis=(1, 2, 3)).any():
            raise MemoryError("no arena for this part")
        return invoke(codes, threads)

    monkeypatch.setattr(source, "_invoke", fail_for_black)
    black = images.copy()
    black[10] = 0
    with pytest.raises(MemoryError, match="no arena for this part"):
        source(black)
    np.testing.assert_array_equal(scores_of(source, images), expected)


def test_interpreters_are_bounded_by_the_threads(files, parts_of_three, monkeypatch):
    alive = weakref.WeakSet()

    class Watched(litert_interpreters.Interpreter):
        def __init__(self, **options):
            super().__init__(**options)
            alive.add(self)

    monkeypatch.setattr(litert_interpreters, "Interpreter", Watched)
    source = LiteRTSource(files.float, value_range=(0, 255), num_threads=2)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda count: source(random_images(count)), [*range(1, 13)] * 3))
    gc.collect()
    # Four callers and one helper, and three for other batch sizes.
    assert 1 <= len(alive) <= 4 + 1 + 3


@pytest.mark.parametrize(("cores", "limits", "expected"), [
    (4, {}, 4),
    (4, {"TF_NUM_INTRAOP_THREADS": "2"}, 2),
    (4, {"OMP_NUM_THREADS": "3", "TF_NUM_INTRAOP_THREADS": "0"}, 3),
    (2, {"OMP_NUM_THREADS": "8"}, 2),
    (2, {"OMP_NUM_THREADS": "4,2"}, 2),
])  # fmt: skip
def test_threads_that_the_user_allows(cores, limits, expected, files, monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert allowed_threads() == expected
    source = LiteRTSource(files.uint8)
    assert source.num_threads is None and source.get_config()["num_threads"] is None


@pytest.mark.parametrize("name", ["uint8", "int8", "float"])
@pytest.mark.parametrize("value_range", [(0, 255), (-1, 1), (0, 100)])
def test_bytes_are_asked_as_their_floats(name, value_range, files):
    pixels = random_images(9).astype(np.uint8)
    source = LiteRTSource(getattr(files, name), value_range=value_range)
    np.testing.assert_array_equal(
        scores_of(source, pixels), scores_of(source, pixels.astype(np.float32))
    )


def test_bytes_enter_an_8_bit_file_without_a_copy(files):
    pixels = random_images(3).astype(np.uint8)
    seen = []

    class Watched(LiteRTSource):
        def _encode(self, images):
            codes = super()._encode(images)
            seen.append((images.dtype, codes is images))
            return codes

    source = Watched(files.uint8)
    seen.clear()
    source(pixels)
    assert source.pixel_codes.is_as_spread and seen == [(np.uint8, True)]


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
        r"must answer with a row of scores for each series, \(n, labels\). Received: an output of",
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
