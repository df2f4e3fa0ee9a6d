"""The steps on machines that users have: under XLA, and under strategies of several devices."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    NUM_CLASSES,
    SOURCE_SHAPE,
    directions,
    images_and_labels,
    small_model,
    trained_values,
)

from keras_reprogram import MultiLabelMap, Source

IMAGES, LABELS = images_and_labels(16)


def fit(model, **how):
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], **how)
    history = model.fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0).history
    return history, trained_values(model)


def observing():
    return small_model(output_map=MultiLabelMap(NUM_CLASSES, assignment="iterative"))


def cacheable():
    model = small_model()
    model.program.trainable = False
    return model


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    "build", [small_model, observing, pytest.param(cacheable, marks=pytest.mark.slow)]
)
def test_xla_trains_as_eager_steps_do(build) -> None:
    """Variables of optimizer and metrics are made in the first step, as they are for users."""
    model = build()
    history, values = fit(model, jit_compile=True)
    assert model.jit_compile
    expected, expected_values = fit(build(), run_eagerly=True)
    assert history["queries_used"] == expected["queries_used"]
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-4)
    assert history["accuracy"] == expected["accuracy"]
    for value, other in zip(values, expected_values, strict=True):
        np.testing.assert_allclose(value, other, atol=1e-4)


@pytest.mark.slow
def test_estimated_steps_say_that_xla_cannot_compile_them() -> None:
    model = small_model(estimator=directions(1))
    assert not model.supports_jit
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        history, _ = fit(model, jit_compile=True)
    assert np.isfinite(history["loss"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "compiled"),
    [(None, True), pytest.param(directions(1), False, marks=pytest.mark.slow)],
)
def test_where_tensorflow_sees_a_gpu(monkeypatch, estimator, compiled) -> None:
    """There Keras takes XLA unless it is told otherwise."""
    devices = [*tf.config.list_physical_devices(), tf.config.PhysicalDevice("GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: devices)
    model = small_model(estimator=estimator)
    assert model.jit_compile == compiled
    loss = model.fit(IMAGES, LABELS, batch_size=8, verbose=0).history["loss"]
    assert 0 < loss[0] < 1


@pytest.mark.slow
def test_data_that_end_unannounced_take_no_step_under_xla() -> None:
    def batches():
        for start in (0, 8):
            yield IMAGES[start : start + 8], LABELS[start : start + 8]

    signature = (tf.TensorSpec((8, *IMAGES.shape[1:])), tf.TensorSpec((8,), tf.int64))
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    model = small_model()
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", jit_compile=True)
    model.fit(data, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 4


class RoundedSource(Source):
    """Somebody's own, which claims a gradient that it does not have."""

    differentiable = True

    def answer(self, images):
        grey = keras.ops.mean(keras.ops.round(images / 255), axis=(1, 2, 3))
        return keras.ops.stack([grey, 1 - grey], axis=1)

    @property
    def fingerprint(self):
        return "rounded 1"


def test_a_program_that_no_gradient_reaches_is_refused() -> None:
    source = RoundedSource(SOURCE_SHAPE, 2, value_range=(0, 255))
    model = small_model(source)
    with pytest.raises(ValueError, match="a RoundedSource with a step that has none, such as"):
        model.fit(IMAGES, LABELS, verbose=0)
    estimated = small_model(source, estimator=directions(1))
    estimated.run_eagerly = True
    assert np.isfinite(estimated.fit(IMAGES, LABELS, verbose=0).history["loss"]).all()


ASKED = {
    "fit": lambda model: model.fit(IMAGES, LABELS, verbose=0),
    "evaluate": lambda model: model.evaluate(IMAGES, LABELS, verbose=0),
    "predict": lambda model: model.predict(IMAGES, verbose=0),
    "predict_on_batch": lambda model: model.predict_on_batch(IMAGES),
    "fit_output_map": lambda model: model.fit_output_map(IMAGES, LABELS, verbose=0),
    "select_views": lambda model: model.select_views(IMAGES, LABELS, pool_size=2, pilot_images=12),
}


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_several_replicas_are_refused(monkeypatch, ask) -> None:
    model = small_model()
    asked = model.queries_used
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    two = property(lambda self: 2)
    monkeypatch.setattr(tf.distribute.OneDeviceStrategy, "num_replicas_in_sync", two)
    with strategy.scope(), pytest.raises(ValueError, match="OneDeviceStrategy of 2 replicas"):
        ask(model)
    assert model.queries_used == asked


@pytest.mark.slow
@pytest.mark.parametrize("build", [small_model, cacheable])
def test_a_strategy_of_one_device_trains_as_without(build) -> None:
    def figures():
        model = build()
        history = model.fit(IMAGES, LABELS, epochs=2, verbose=0).history
        del history["queries_used"]  # Cached answers are for those without a strategy.
        opaque = small_model(estimator=directions(1))
        fitted = opaque.fit_opaque(IMAGES, LABELS, query_budget=200, verbose=0)
        return [*history.values(), [stage.validation_loss for stage in fitted.stages]]

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        found = figures()
    for one, other in zip(found, figures(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3)
