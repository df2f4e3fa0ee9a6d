"""What is put around Keras's `fit`, as MLflow's autolog does, sees the arguments of the caller."""

import contextlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import head_model, images_and_labels, trained_values

IMAGES, LABELS = images_and_labels(20)


@contextlib.contextmanager
def no_word_of_shuffling():
    """Keras warns where it leaves the order of batches alone; here that is no news."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert not [one for one in caught if "shuffle" in str(one.message)]


@pytest.fixture
def seen(monkeypatch):
    """The keyword arguments that reach `keras.Model.fit`."""
    arguments = {}
    original = keras.Model.fit

    def fit(self, **options):
        arguments.update(options)
        return original(self, **options)

    monkeypatch.setattr(keras.Model, "fit", fit)
    return arguments


def test_arrays_are_seen_with_the_callers_arguments(seen) -> None:
    model = head_model(built=True)
    with no_word_of_shuffling():
        model.fit(IMAGES, LABELS, batch_size=8, validation_split=0.25, verbose=0)
    assert (seen["batch_size"], seen["shuffle"], seen["validation_split"]) == (8, True, 0.25)
    assert [len(part) for part in seen["validation_data"]] == [5, 5]
    # What nobody gave is not named, so that others may find it out themselves.
    assert not {"y", "class_weight", "sample_weight", "steps_per_epoch"} & seen.keys()


@pytest.mark.slow
def test_what_nobody_gave_is_what_fit_takes(seen) -> None:
    head_model(built=True).fit(IMAGES, LABELS, shuffle=False, verbose=0)
    assert (seen["batch_size"], seen["shuffle"], seen["validation_split"]) == (32, False, 0.0)


@pytest.mark.slow
def test_a_data_set_keeps_its_batch_size_to_itself(seen) -> None:
    model = head_model(built=True)
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(8)
    with no_word_of_shuffling():
        model.fit(dataset, verbose=0)
    assert seen["x"] is dataset
    assert "batch_size" not in seen and "validation_data" not in seen


@pytest.mark.slow
def test_looking_at_the_data_first_changes_no_weight(monkeypatch) -> None:
    plain = head_model()
    plain.fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0)
    original = keras.Model.fit

    def fit(self, **options):
        looked = [np.shape(images) for images, _ in options["x"].as_numpy_iterator()]
        assert [shape[0] for shape in looked] == [8, 8, 4]
        return original(self, **options)

    monkeypatch.setattr(keras.Model, "fit", fit)
    model = head_model()
    model.fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0)
    for one, other in zip(trained_values(model), trained_values(plain), strict=True):
        np.testing.assert_array_equal(one, other)
