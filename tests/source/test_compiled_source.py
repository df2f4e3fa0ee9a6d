"""A source has no metrics, no losses and no optimizer, whatever its network was compiled with."""

import keras
import numpy as np
import pytest
from small_models import (
    NUM_CLASSES,
    SOURCE_SHAPE,
    TARGET_SHAPE,
    frozen_source,
    images_and_labels,
    network,
    small_model,
    trained_values,
)

from keras_reprogram import DecoderProgram, FrozenSource, join_sources
from keras_reprogram.baselines.fine_tuning import FineTunedNetwork
from keras_reprogram.baselines.training_loop import Augmentation

IMAGES, LABELS = images_and_labels(16)
RANDOM = np.random.default_rng(0)


def custom_loss(labels, scores):
    return keras.ops.mean(scores)


def compiled(model=None, loss="sparse_categorical_crossentropy", trained=False):
    """The same network as `network()`, as `load_model` gives it."""
    model = model or network()
    # Of batches of scores like these it would add some hundreds to a training loss.
    model.layers[1].activity_regularizer = keras.regularizers.L2(10.0)
    model.compile("adam", loss, metrics=["accuracy"])
    if trained:
        weights = model.get_weights()
        model.fit(RANDOM.uniform(0, 255, (4, *SOURCE_SHAPE)), np.arange(4), verbose=0)
        model.set_weights(weights)
    return model


def source_of(model):
    return FrozenSource(model, value_range=(0, 255))


def nested(trained):
    outer = keras.Sequential([keras.Input(SOURCE_SHAPE), compiled(trained=trained)])
    outer.compile("sgd", "mse", metrics=["mae"])
    return source_of(outer)


def joined(trained):
    return join_sources([source_of(compiled(trained=trained)), frozen_source()])


SOURCES = {
    "compiled": lambda trained: source_of(compiled(trained=trained)),
    "nested": nested,
    "joined": joined,
}
PLAIN = {"joined": lambda: join_sources([frozen_source(), frozen_source()])}


def trained_with(source, **options):
    model = small_model(source, **options)
    model.run_eagerly = True
    history = model.fit(IMAGES, LABELS, verbose=0).history
    return history, model.evaluate(IMAGES, LABELS, verbose=0), trained_values(model), model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "trained"),
    [
        ("compiled", True),
        pytest.param("compiled", False, marks=pytest.mark.slow),
        pytest.param("nested", True, marks=pytest.mark.slow),
        pytest.param("joined", True, marks=pytest.mark.slow),
    ],
)
def test_training_is_that_of_the_uncompiled_network(kind, trained) -> None:
    history, figures, values, model = trained_with(SOURCES[kind](trained))
    plain = PLAIN.get(kind, frozen_source)()
    expected, expected_figures, expected_values, _ = trained_with(plain)
    assert history["loss"][0] > 0
    assert history.keys() == expected.keys()
    for key in expected:
        np.testing.assert_allclose(history[key], expected[key], rtol=1e-4)
    np.testing.assert_allclose(figures, expected_figures, rtol=1e-4)
    for value, other in zip(values, expected_values, strict=True):
        np.testing.assert_allclose(value, other, atol=1e-5)
    assert model.source.metrics == [] and model.losses == []


def test_a_plain_keras_model_around_a_source_has_its_own_losses_alone() -> None:
    source = source_of(compiled(trained=True))
    image = keras.Input(SOURCE_SHAPE)
    model = keras.Model(image, keras.layers.Dense(2)(source(image)))
    model(RANDOM.uniform(0, 255, (2, *SOURCE_SHAPE)))
    assert model.losses == [] and model.metrics == []


@pytest.mark.slow
def test_a_loss_of_somebodys_own_is_not_needed_to_load_the_model(tmp_path) -> None:
    model = small_model(source_of(compiled(loss=custom_loss, trained=True)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    model.run_eagerly = loaded.run_eagerly = True
    assert loaded.source.model.compiled is False
    assert loaded.source.fingerprint == model.source.fingerprint
    expected = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(loaded.predict(IMAGES, verbose=0), expected, atol=1e-6)


@pytest.mark.slow
def test_fine_tuning_starts_from_a_compiled_network() -> None:
    def tuned(source):
        keras.utils.set_random_seed(0)
        tuned = FineTunedNetwork(source, TARGET_SHAPE, NUM_CLASSES, (0, 255), Augmentation())
        tuned.start_at_linear_head(IMAGES, LABELS)
        tuned.learn_at(1e-3)
        tuned.train(IMAGES, LABELS, steps=2)
        return tuned.predict_probabilities(IMAGES)

    expected = tuned(frozen_source())
    found = tuned(source_of(compiled(loss=custom_loss, trained=True)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_a_decoder_that_was_compiled() -> None:
    def trained(compiled):
        keras.utils.set_random_seed(3)
        dense = keras.layers.Dense(48, activity_regularizer="l2" if compiled else None)
        decoder = keras.Sequential(
            [keras.Input((4,)), dense, keras.layers.Reshape((4, 4, 3))], name="decoder"
        )
        if compiled:
            decoder.compile("adam", custom_loss, metrics=["mae"])
            weights = decoder.get_weights()
            decoder.fit(np.zeros((2, 4)), np.zeros((2, 4, 4, 3)), verbose=0)
            decoder.set_weights(weights)
        program = DecoderProgram(TARGET_SHAPE, SOURCE_SHAPE, decoder, source_range=(0, 255))
        return trained_with(frozen_source(), program=program)[0]

    assert trained(True) == trained(False)
