"""What `ProgramImages` writes, read back from TensorBoard's event file."""

import io
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from small_models import (
    SOURCE_SHAPE,
    TARGET_SHAPE,
    directions,
    images_and_labels,
    opaque_source,
    program_for,
    small_model,
)
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

from keras_reprogram.report import ProgramImages


def written(folder):
    """Tag -> step -> pictures `(n, H, W, channels)` in 0 to 255."""
    events = EventAccumulator(str(folder / "program"), size_guidance={TENSORS: 0})
    events.Reload()
    return {
        tag: {event.step: pictures(event.tensor_proto.string_val) for event in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
    }


def pictures(values):
    """The first two values are width and height."""
    shown = [np.asarray(Image.open(io.BytesIO(png))) for png in values[2:]]
    return np.stack([image.reshape(*image.shape[:2], -1) for image in shown])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An opaque source, two views that share a program, four epochs, pictures of every second."""
    folder = tmp_path_factory.mktemp("logs")
    record = []
    source = opaque_source(record=record)
    program = program_for(source, 2, grid=3, masked=False)
    model = small_model(source, program=program, estimator=directions(), learning_rate=0.1)
    images, labels = images_and_labels(12)
    record.clear()
    callback = ProgramImages(folder, images[:3], every=2)
    model.fit(images, labels, epochs=4, batch_size=6, callbacks=[callback], verbose=0)
    return model, images, written(folder), sum(record)


@pytest.mark.slow
def test_every_second_epoch_and_the_last_one_are_there(trained):
    tags = trained[2]
    assert set(tags) == {
        "program",
        "source images, view 1",
        "source images, view 2",
        "target images",
    }
    for tag in ("program", "source images, view 1", "source images, view 2"):
        assert list(tags[tag]) == [0, 2, 3]
    assert list(tags["target images"]) == [0]


def test_the_last_pictures_are_those_of_the_trained_program(trained):
    model, images, tags, _ = trained
    assert tags["program"][3].shape == (1, *SOURCE_SHAPE)
    expected = 127.5 + 127.5 * model.program.program_images()[:1]
    np.testing.assert_allclose(tags["program"][3], expected, atol=1)
    assert np.abs(tags["program"][3].astype(int) - tags["program"][0]).max() > 1
    made = keras.ops.convert_to_numpy(model.program(images[:3]))
    for view in range(2):
        shown = tags[f"source images, view {view + 1}"][3]
        np.testing.assert_allclose(shown, made[:, view], atol=1)


def test_targets_are_shown_in_the_range_of_the_program(trained):
    _, images, tags, _ = trained
    assert tags["target images"][0].shape == (3, *TARGET_SHAPE)
    np.testing.assert_allclose(tags["target images"][0], images[:3], atol=1)


def test_pictures_ask_nothing(trained):
    # A clean pass and one direction, 12 images, two views, four epochs.
    assert trained[3] == 2 * 12 * 2 * 4


def test_programs_of_their_own_are_written_one_a_view(tmp_path):
    program = program_for(opaque_source(), 2, masked=False, per_view=True)
    program.program_weights.assign(np.stack([np.full(SOURCE_SHAPE, 9), np.full(SOURCE_SHAPE, -9)]))
    callback = ProgramImages(tmp_path)
    callback.set_model(small_model(opaque_source(), program=program, estimator=directions()))
    callback.write(7)

    first, second = written(tmp_path)["program"][7]
    assert (first.min(), second.max()) == (255, 0)


def test_without_tensorboard_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-reprogram\[tensorboard\]'"):
        ProgramImages(tmp_path)


def test_wrong_samples_and_steps_are_named(tmp_path):
    with pytest.raises(ValueError, match="every=0"):
        ProgramImages(tmp_path, every=0)
    callback = ProgramImages(tmp_path, np.zeros((2, 5, 4, 1)))
    callback.set_model(small_model(opaque_source(), estimator=directions(), fitted=False))
    with pytest.raises(ValueError, match=r"\(n, 4, 4, 1\).*\(2, 5, 4, 1\)"):
        callback.on_train_begin()
    assert list(tmp_path.iterdir()) == []


def test_a_program_without_pictures_needs_samples(tmp_path):
    class Plain(keras.layers.Layer):
        target_shape, target_range = SOURCE_SHAPE, None

        def call(self, images):
            return images[:, None]

    model = small_model(opaque_source(), program=Plain(), estimator=directions(), fitted=False)
    callback = ProgramImages(tmp_path)
    callback.set_model(model)
    with pytest.raises(ValueError, match="Received: Plain without `sample_images`"):
        callback.on_train_begin()
    images = np.full((2, *SOURCE_SHAPE), 255.0)
    callback = ProgramImages(tmp_path, images)
    callback.set_model(model)
    callback.write(0)
    assert set(written(tmp_path)) == {"source images, view 1", "target images"}
