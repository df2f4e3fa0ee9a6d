"""SavedModels that take encoded images: `image_bytes`, and AutoML's `key` beside them."""

import numpy as np
import pytest
import tensorflow as tf

from keras_reprogram import SavedModelSource

FILES = tf.TensorSpec((None,), tf.string, name="image_bytes")
KEYS = tf.TensorSpec((None,), tf.string, name="key")


def shares(encoded):
    """Of red, green and blue in each image; any kind of file, of any size."""

    def share(content):
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
        sums = tf.reduce_sum(tf.cast(image, tf.float32), axis=(0, 1))
        return sums / tf.reduce_sum(sums)

    return tf.map_fn(share, encoded, fn_output_signature=tf.TensorSpec((3,), tf.float32))


def write(path, function, *specs):
    module = tf.Module()
    serve = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    return path


def expected_shares(images):
    sums = np.clip(np.round(images), 0, 255).sum(axis=(1, 2))
    return sums / sums.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 255, (5, 6, 9, 3)).astype("float32")


def test_images_are_sent_as_files(tmp_path, images):
    path = write(tmp_path / "net", lambda image_bytes: {"scores": shares(image_bytes)}, FILES)
    source = SavedModelSource(path, value_range=(0, 255), image_size=(6, 9))
    assert source.source_shape == (6, 9, 3) and not source.differentiable
    np.testing.assert_allclose(source(images), expected_shares(images), atol=1e-6)
    again = SavedModelSource.from_config(source.get_config())
    assert again.fingerprint == source.fingerprint
    np.testing.assert_allclose(tf.function(again)(images), source(images), atol=1e-6)
    for wrong, said in (
        ({"value_range": (0, 255)}, "images of any size"),
        ({"value_range": (0, 1), "image_size": 8}, "takes whole numbers, uint8"),
    ):
        with pytest.raises(ValueError, match=said):
            SavedModelSource(path, **wrong)


def test_a_key_beside_each_image(tmp_path, images):
    def serve(image_bytes, key):
        names = tf.repeat([["red", "green", "blue"]], tf.shape(key)[0], axis=0)
        return {"scores": shares(image_bytes), "labels": names, "key": key}

    path = write(tmp_path / "net", serve, FILES, KEYS)
    source = SavedModelSource(path, value_range=(0, 255), image_size=(6, 9))
    assert source.output_name == "scores"
    np.testing.assert_allclose(source(images), expected_shares(images), atol=1e-6)


def test_files_one_at_a_time(tmp_path, images):
    one = tf.TensorSpec((1,), tf.string, name="image_bytes")
    path = write(tmp_path / "net", lambda image_bytes: {"scores": shares(image_bytes)}, one)
    source = SavedModelSource(path, value_range=(0, 255), image_size=(6, 9))
    np.testing.assert_allclose(source(images), expected_shares(images), atol=1e-6)


def test_two_texts_are_not_an_image(tmp_path):
    other = tf.TensorSpec((None,), tf.string, name="question")
    path = write(tmp_path / "net", lambda image_bytes, question: shares(image_bytes), FILES, other)
    with pytest.raises(ValueError, match=r"inputs \['image_bytes', 'question'\]"):
        SavedModelSource(path, value_range=(0, 255), image_size=8)
