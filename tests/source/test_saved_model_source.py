"""SavedModelSource: signatures, hashes, and folders that hold something else."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from checks.check_source import scores_of
from checks.tiny_models import SHAPE, random_images

from keras_reprogram import SavedModelSource


def write(path, function, *specs, network=None):
    module = tf.Module()
    module.network = network
    serve = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return path


IMAGES = tf.TensorSpec((None, *SHAPE), tf.float32, name="image")


def halves(image):
    share = tf.reduce_mean(image, axis=(1, 2, 3)) / 255
    return tf.stack([share, 1 - share], axis=1)


@pytest.mark.parametrize("opaque", [False, True])
def test_answers_as_the_network(opaque, files):
    source = SavedModelSource(files.saved, value_range=(0, 255), opaque=opaque)
    images = random_images(5)
    expected = np.asarray(files.network(images, training=False))
    np.testing.assert_allclose(scores_of(source, images), expected, atol=1e-6)


def test_output_must_be_named_where_there_are_several(tmp_path):
    path = write(
        tmp_path / "two", lambda image: {"a": halves(image), "b": 1 - halves(image)}, IMAGES
    )
    source = SavedModelSource(path, value_range=(0, 255), output="b")
    np.testing.assert_allclose(scores_of(source, np.zeros((1, *SHAPE))), [[1, 0]])
    for output in (None, "c"):
        with pytest.raises(ValueError, match=r"It has: \['a', 'b'\]. Received: output="):
            SavedModelSource(path, value_range=(0, 255), output=output)


def test_unknown_signature_lists_what_there_is(files):
    with pytest.raises(ValueError, match="no signature 'classify'. It has:.*'serving_default'"):
        SavedModelSource(files.saved, value_range=(0, 255), signature="classify")


def test_hash_and_place_are_part_of_the_config(files, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(files.saved, path)
    source = SavedModelSource(path, value_range=(0, 255))
    assert source.sha256 == SavedModelSource(files.saved, value_range=(0, 255)).sha256
    config = source.get_config()
    (path / "assets" / "names.txt").write_text("changed")
    with pytest.raises(ValueError, match="is not the one expected. Expected sha256"):
        SavedModelSource.from_config(config)
    shutil.rmtree(path)
    with pytest.raises(FileNotFoundError, match="no source model at .*copy"):
        SavedModelSource.from_config(config)


def test_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(ValueError, match="is not a readable SavedModel folder"):
        SavedModelSource(tmp_path, value_range=(0, 255))


def test_a_signature_of_a_fixed_batch_is_called_in_such_batches(files, tmp_path):
    def serve(image):
        # A reshape that holds the batch, as converters from other frameworks write it.
        return files.network(tf.reshape(image, (4, *SHAPE)), training=False)

    path = write(tmp_path / "four", serve, tf.TensorSpec((4, *SHAPE)), network=files.network)
    source = SavedModelSource(path, value_range=(0, 255))
    images = random_images(9)
    expected = np.asarray(files.network(images, training=False))
    for count in (1, 4, 9):
        np.testing.assert_allclose(scores_of(source, images[:count]), expected[:count], atol=1e-6)
    in_graph = tf.function(source, input_signature=[tf.TensorSpec((None, *SHAPE))])
    np.testing.assert_allclose(in_graph(images), expected, atol=1e-6)
    with tf.GradientTape() as tape:
        pixels = tf.constant(images[:3])
        tape.watch(pixels)
        loss = tf.reduce_sum(source(pixels)[:, 0])
    with tf.GradientTape() as exact:
        exact.watch(pixels)
        wanted = tf.reduce_sum(files.network(pixels, training=False)[:, 0])
    np.testing.assert_allclose(
        tape.gradient(loss, pixels), exact.gradient(wanted, pixels), atol=1e-7
    )


@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
def test_a_signature_of_other_floats_gets_them(dtype, tmp_path):
    path = write(tmp_path / "other", halves, tf.TensorSpec((None, *SHAPE), dtype))
    source = SavedModelSource(path, value_range=(0, 255))
    images = np.full((2, *SHAPE), 51.0, np.float32)
    np.testing.assert_allclose(scores_of(source, images), [[0.2, 0.8]] * 2, atol=1e-3)


def test_a_signature_of_bytes_gets_rounded_pixels_and_has_no_gradient(tmp_path):
    path = write(
        tmp_path / "bytes",
        lambda image: halves(tf.cast(image, tf.float32)),
        tf.TensorSpec((None, *SHAPE), tf.uint8),
    )
    source = SavedModelSource(path, value_range=(0, 255))
    assert not source.differentiable
    images = np.full((1, *SHAPE), 50.7, np.float32)
    np.testing.assert_allclose(scores_of(source, images), [[0.2, 0.8]], atol=1e-6)
    for value_range in ((0, 1), (-1, 1), (0, 65535)):
        with pytest.raises(ValueError, match=r"whole numbers, uint8.*--value-range 0,255"):
            SavedModelSource(path, value_range=value_range)
    # Not wrapped round.
    np.testing.assert_allclose(scores_of(source, images + 230), [[1.0, 0.0]], atol=1e-6)


def test_a_signature_of_channels_first(files, tmp_path):
    def serve(image):
        return files.network(tf.transpose(image, (0, 2, 3, 1)), training=False)

    images = tf.TensorSpec((None, 3, *SHAPE[:2]))
    path = write(tmp_path / "first", serve, images, network=files.network)
    with pytest.raises(ValueError, match=r"channels first.*--data-format channels_first"):
        SavedModelSource(path, value_range=(0, 255))
    source = SavedModelSource(path, value_range=(0, 255), data_format="channels_first")
    images = random_images(5)
    expected = np.asarray(files.network(images, training=False))
    np.testing.assert_allclose(scores_of(source, images), expected, atol=1e-6)
    again = SavedModelSource.from_config(source.get_config())
    assert again.fingerprint == source.fingerprint and again.source_shape == SHAPE


def test_a_signature_of_any_size_asks_for_one(tmp_path):
    path = write(tmp_path / "any", halves, tf.TensorSpec((None, None, None, 3)))
    with pytest.raises(ValueError, match=r"any size.*--source-size"):
        SavedModelSource(path, value_range=(0, 255))
    source = SavedModelSource(path, value_range=(0, 255), image_size=20)
    assert source.source_shape == (20, 20, 3)
    np.testing.assert_allclose(
        scores_of(source, np.full((1, 20, 20, 3), 51.0)), [[0.2, 0.8]], atol=1e-6
    )


OTHERS = [
    (lambda x: tf.reduce_sum(x), (tf.TensorSpec((None, 7)),), "must take one image, "),
    (
        lambda x, y: halves(x) + halves(y),
        (IMAGES, tf.TensorSpec((None, *SHAPE), name="other")),
        "must take one image input",
    ),
    (
        lambda x: halves(tf.strings.to_number(x)),
        (tf.TensorSpec((None, *SHAPE), tf.string),),
        "of numbers or of encoded files. Received: string",
    ),
    (lambda x: 2 * halves(x), (IMAGES,), "a row that sums to 2"),
    (lambda x: halves(x)[0], (IMAGES,), r"scores of shape \(5, 2\). Received: shape \(2,\)"),
]


@pytest.mark.parametrize(("function", "specs", "message"), OTHERS)
def test_a_model_of_something_else_is_refused(function, specs, message, tmp_path):
    path = write(tmp_path / "other", function, *specs)
    with pytest.raises(ValueError, match=message):
        SavedModelSource(path, value_range=(0, 255))
