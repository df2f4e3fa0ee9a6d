"""SavedModelSource: signatures, hashes, and folders that hold something else."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from checks.check_source import scores_of
from checks.tiny_models import SHAPE, random_images

from keras_reprogram import SavedModelSource


def write(path, function, *specs):
    module = tf.Module()
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


OTHERS = [
    (lambda x: tf.reduce_sum(x), (tf.TensorSpec((None, 7)),), "must take one image input"),
    (
        lambda x, y: halves(x) + halves(y),
        (IMAGES, tf.TensorSpec((None, *SHAPE), name="other")),
        "must take one image input",
    ),
    (lambda x: halves(x), (tf.TensorSpec((8, *SHAPE)),), "in batches of any size"),
    (
        lambda x: halves(tf.cast(x, tf.float32)),
        (tf.TensorSpec((None, *SHAPE), tf.uint8),),
        "must take float images",
    ),
    (lambda x: 2 * halves(x), (IMAGES,), "a row that sums to 2"),
    (lambda x: halves(x)[0], (IMAGES,), r"scores of shape \(1, 2\). Received: shape \(2,\)"),
]


@pytest.mark.parametrize(("function", "specs", "message"), OTHERS)
def test_a_model_of_something_else_is_refused(function, specs, message, tmp_path):
    path = write(tmp_path / "other", function, *specs)
    with pytest.raises(ValueError, match=message):
        SavedModelSource(path, value_range=(0, 255))
