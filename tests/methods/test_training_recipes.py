"""Learning rates and the focal loss against transcriptions of the papers."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import TARGET_SHAPE, frozen_source, images_and_labels

from keras_reprogram.methods import build_method
from keras_reprogram.methods.bar_2020 import FocalLoss
from keras_reprogram.methods.rate_schedule import (
    RateSchedule,
    constant,
    cosine,
    milestones,
    staircase,
    warm_cosine,
)
from keras_reprogram.output_map import assign_labels


def test_milestones_of_200_epochs():
    rate = milestones(0.01)
    for epoch, expected in ((0, 0.01), (99, 0.01), (100, 1e-3), (143, 1e-3), (144, 1e-4)):
        assert rate(epoch, 200) == pytest.approx(expected)
    assert rate(0, 1) == 0.01, "a single epoch is not one at a hundredth"


def test_staircase():
    rate = staircase(0.05)
    assert [rate(epoch, 83) for epoch in (0, 1.9, 2, 5, 82)] == pytest.approx(
        [0.05, 0.05, 0.05 * 0.96, 0.05 * 0.96**2, 0.05 * 0.96**41]
    )


@pytest.mark.parametrize("epochs", [1, 8, 83, 500])
def test_staircase_ends_where_the_papers_does_however_many_epochs(epochs):
    rate = staircase(0.05)
    assert rate(epochs * 0.999, epochs) == pytest.approx(0.05 * 0.96**41)
    assert rate(epochs / 2, epochs) == pytest.approx(0.05 * 0.96**20)


@pytest.mark.parametrize("step", [0, 1, 999, 1000, 200_000, 390_999])
def test_warm_cosine_is_the_published_one(step):
    """Bahng et al.: 391,000 steps, 1,000 of them warm-up, linear from nothing."""
    if step < 1000:
        expected = 40 * max(step, 1) / 1000
    else:
        expected = 20 * (1 + math.cos(math.pi * (step - 1000) / 390_000))
    assert warm_cosine(40.0)(step / 391, 1000) == pytest.approx(expected, rel=1e-6)


def test_cosine_falls_from_the_first_step():
    rate = cosine(0.02)
    found = [rate(epoch, 20) for epoch in (0, 5, 10, 20)]
    assert found == pytest.approx([0.02, 0.01 * (1 + math.sqrt(0.5)), 0.01, 0.0])


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


def small_regression():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(9.0), "mse")
    return model


def test_rate_is_set_before_each_step():
    recorder = Recorder()
    schedule = RateSchedule(lambda epoch, epochs: 1e-3 * (epoch + epochs))
    small_regression().fit(
        np.zeros((4, 2)),
        np.zeros((4, 1)),
        batch_size=2,
        epochs=2,
        callbacks=[schedule, recorder],
        verbose=0,
    )
    np.testing.assert_allclose(recorder.rates, [0.002, 0.0025, 0.003, 0.0035], rtol=1e-5)


@pytest.mark.slow
def test_methods_run_through_their_rates_in_the_epochs_they_are_given():
    recorder = Recorder()
    images, labels = images_and_labels(6)
    method = build_method("ilm_vp_2023", frozen_source(), TARGET_SHAPE, 3)
    method.fit(images, labels, epochs=4, batch_size=3, callbacks=[recorder], verbose=0)
    np.testing.assert_allclose(recorder.rates, [0.01] * 4 + [1e-4] * 4, rtol=1e-5)


def test_constant():
    assert constant(0.3)(7, 9) == 0.3


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_loss_is_the_papers(gamma):
    random = np.random.default_rng(0)
    probabilities, labels = random.dirichlet(np.ones(4), 9), random.integers(0, 4, 9)
    true = probabilities[np.arange(9), labels]
    expected = np.mean(-((1 - true) ** gamma) * np.log(true))
    for shape in ((9,), (9, 1)):
        found = FocalLoss(gamma)(labels.reshape(shape), probabilities)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_focal_loss_learns_from_what_is_surely_wrong():
    """There it is cross-entropy, whose gradient is `p - y`."""
    logits = tf.Variable([[-21.0, 0.0, -25.0]])
    for loss in (FocalLoss(2.0), keras.losses.SparseCategoricalCrossentropy()):
        with tf.GradientTape() as tape:
            value = loss(np.array([0]), keras.ops.softmax(logits))
        np.testing.assert_allclose(tape.gradient(value, logits), [[-1, 1, 0]], atol=1e-6)
        np.testing.assert_allclose(value, 21, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_has_a_gradient_where_nothing_is_left_to_learn(gamma):
    logits = tf.Variable([[200.0, 0.0]])
    with tf.GradientTape() as tape:
        value = FocalLoss(gamma)(np.array([0]), keras.ops.softmax(logits))
    np.testing.assert_allclose(tape.gradient(value, logits), [[0, 0]], atol=1e-6)


def test_focal_loss_config():
    again = keras.losses.deserialize(keras.losses.serialize(FocalLoss(3.0)))
    assert again.gamma == 3.0
    with pytest.raises(ValueError, match="`gamma` must be at least 0. Received: gamma=-1"):
        FocalLoss(-1)


def test_bar_weighs_classes_by_one_over_their_images():
    """omega_j = 1 / n_j, scaled to a mean of 1."""
    method = build_method("bar_2020_white_box", frozen_source(), TARGET_SHAPE, 3)
    images, _ = images_and_labels(8)
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    asked = {}
    method.model.fit = lambda *data, **options: asked.update(options)
    method.fit(images, labels, verbose=0)
    weights = np.array([asked["class_weight"][label] for label in range(3)])
    np.testing.assert_allclose(weights * [4, 2, 2], 8 / 3)
    np.testing.assert_allclose(weights[labels].mean(), 1)
    assert (asked["epochs"], asked["batch_size"]) == (9, 20)


def test_bars_frequency_map_is_not_the_largest_class_first():
    """Labels are found by shares of a class, not by how many images it has."""
    method = build_method("bar_2020_white_box", frozen_source(), TARGET_SHAPE, 2)
    method.model.fit = lambda *data, **options: None
    images, _ = images_and_labels(12)
    labels = np.array([0] * 9 + [1] * 3)
    method.fit(images, labels, verbose=0)
    scores = method.model.collect_scores(images, verbose=0)
    options = {"num_classes": 2, "num_source_labels": scores.shape[-1]}
    options |= {"labels_per_class": method.model.output_map.labels_per_class, "scores": scores}
    weight = np.where(labels == 0, 12 / 18, 12 / 6)
    expected, plain = (
        assign_labels("frequency", labels=labels, sample_weight=each, **options)
        for each in (weight, None)
    )
    used = method.model.output_map.label_weights.numpy() > 0
    for table, same in ((expected, True), (plain, False)):
        wanted = np.zeros_like(used)
        wanted[table.T, np.arange(2)] = True
        assert np.array_equal(used, wanted) == same


def test_published_settings():
    published = {
        "elsayed_2019": (83, 50),
        "kloberdanz_2020": (10, 128),
        "ilm_vp_2023": (200, 128),
        "smm_2024": (200, 256),
        "blm_2024": (200, 256),
        "blmp_2024": (200, 256),
        "lor_vp_2025": (20, 256),
    }
    features = ("kloberdanz_2020", "lor_vp_2025")
    for name, expected in published.items():
        source = frozen_source(output="features" if name in features else "scores")
        method = build_method(name, source, TARGET_SHAPE, 3)
        assert (method.epochs, method.batch_size) == expected
    program = build_method("elsayed_2019", frozen_source(), TARGET_SHAPE, 3).model.program
    # Kloberdanz: .005 * tf.nn.l2_loss(W), half of the squared norm.
    assert float(program.regularizer(np.ones(10))) == pytest.approx(0.025)
