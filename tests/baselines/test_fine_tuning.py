"""Full fine-tuning: everything is trained, but in a copy."""

from typing import Any

import keras
import numpy as np
import pytest

from keras_reprogram import NewHead, ProgramLayer, ReprogrammedModel
from keras_reprogram.baselines import (
    fine_tuning,
    fit_fine_tuned,
    fit_linear_head,
    fit_linear_pixels,
    fit_no_source,
)
from keras_reprogram.baselines.fine_tuning import FineTunedNetwork
from keras_reprogram.baselines.training_loop import AS_THEY_ARE, Augmentation
from keras_reprogram.datasets import load_target
from keras_reprogram.report import ResultRow
from keras_reprogram.source import FrozenSource

SHAPE = (6, 6, 1)


def source(**options: Any) -> FrozenSource:
    """A nested network with BatchNorm, whose statistics are not its batches'."""
    draw = keras.initializers.RandomNormal(stddev=0.4, seed=3)
    body = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(6, 3, activation="tanh", kernel_initializer=draw),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.AveragePooling2D(3),
        ]
    )
    body.layers[1].moving_mean.assign(np.linspace(-0.1, 0.1, 6))
    layers = [
        keras.Input((8, 8, 3)),
        body,
        keras.layers.Flatten(),
        keras.layers.Dense(5, activation="softmax", kernel_initializer=draw),
    ]
    facts = {"value_range": (0, 255), "preprocessing": (1 / 127.5, -1.0)} | options
    return FrozenSource(keras.Sequential(layers, name="stripes"), **facts)


def stripes(num: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright lines anywhere that lie or stand: no linear model of the pixels tells which."""
    random = np.random.default_rng(seed)
    labels = np.arange(num) % 2
    images = random.integers(100, 140, (num, *SHAPE), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        line = image if label else image.transpose(1, 0, 2)
        line[random.integers(0, 6)] = 170
    return images, labels


def weights(model: keras.Model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.variables]


def all_equal(one: list[np.ndarray], other: list[np.ndarray]) -> list[bool]:
    return [np.array_equal(left, right) for left, right in zip(one, other, strict=True)]


@pytest.fixture(scope="module")
def tuned() -> Any:
    """A source before and after, and what was fitted."""
    frozen = source()
    before, fingerprint = weights(frozen.model), frozen.fingerprint
    baseline = fit_fine_tuned(frozen, *stripes(160), num_classes=2, learning_rates=(1e-6, 1e-2))
    return frozen, before, fingerprint, baseline


@pytest.mark.slow
def test_the_users_model_stays_as_it_is_bit_for_bit(tuned: Any) -> None:
    frozen, before, fingerprint, _ = tuned
    assert len(before) > 6
    assert all(all_equal(weights(frozen.model), before))
    assert frozen.fingerprint == fingerprint
    assert not frozen.model.trainable and not frozen.model.trainable_variables


def test_every_layer_of_the_copy_learns_but_the_statistics_of_batch_norm(tuned: Any) -> None:
    frozen, _, _, baseline = tuned
    network = baseline.classifier
    copied = {v.name: v.numpy() for v in network._features.layers[-1].weights}
    original = {v.name: v.numpy() for v in frozen.model.layers[0].weights}
    assert set(copied) == set(original)
    still = {name for name, value in copied.items() if np.array_equal(value, original[name])}
    assert still == {"moving_mean", "moving_variance"}


def test_validation_chooses_the_rate_and_the_row_says_what_was_done(tuned: Any) -> None:
    images, labels = stripes(200, seed=1)
    baseline = tuned[-1]
    reached = baseline.evaluate(images, labels)
    assert reached > 0.8
    assert reached > fit_linear_pixels(*stripes(160), num_classes=2).evaluate(images, labels) + 0.1
    row = ResultRow(baseline.name, (reached,), note=baseline.note)
    assert row.method == "full fine-tuning"
    for words in ("copy of stripes", "BatchNorm in inference mode", "Adam at 0.01", "shifted"):
        assert words in row.note
    assert baseline.num_train == 160


def test_the_start_is_the_linear_head_and_each_rate_begins_there() -> None:
    images, labels = stripes(40)
    network = FineTunedNetwork(source(), SHAPE, 2, (0, 255), AS_THEY_ARE)
    network.start_at_linear_head(images, labels)
    start = network.predict_probabilities(images)
    assert np.mean(start.argmax(axis=1) == labels) > 0.6
    results = []
    for rate in (1e-2, 1e-3, 1e-2):
        network.learn_at(rate)
        np.testing.assert_array_equal(network.predict_probabilities(images), start)
        network.train(images, labels, steps=3)
        results.append(network.predict_probabilities(images))
    assert np.abs(results[0] - start).max() > np.abs(results[1] - start).max() > 1e-4
    np.testing.assert_allclose(results[0], results[2], atol=1e-5)


@pytest.mark.slow
def test_images_of_one_group_stay_together_when_the_head_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fit, seen = fine_tuning.fit_logistic_regression, []

    def spy(features: np.ndarray, labels: np.ndarray, **options: Any) -> Any:
        seen.append((labels, options["groups"]))
        return fit(features, labels, **options)

    monkeypatch.setattr(fine_tuning, "fit_logistic_regression", spy)
    images, labels = stripes(40)
    groups = np.arange(40) // 2
    options = {"learning_rates": (1e-4,), "most_epochs": 1, "groups": groups}
    fit_fine_tuned(source(), images, labels, num_classes=2, **options)
    (chosen_labels, chosen), (all_labels, everything) = seen
    np.testing.assert_array_equal(everything, groups)
    np.testing.assert_array_equal(all_labels, labels)
    # The training part keeps whole pairs, each with an image of either class.
    assert len(chosen) == len(chosen_labels) < 40
    assert set(np.unique(chosen, return_counts=True)[1]) == {2}


def test_the_copy_sees_what_the_source_sees() -> None:
    frozen = source(output="features", channel_order="bgr")
    network = FineTunedNetwork(frozen, (8, 8, 3), 2, (0, 255), AS_THEY_ARE)
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(
        network._features.predict_on_batch(images), np.asarray(frozen(images)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rates": ()}, "one to 3 `learning_rates`"),
        ({"learning_rates": (1, 2, 3, 4)}, "one to 3 `learning_rates`"),
        ({"learning_rates": (0.0,)}, "above 0"),
        ({"most_epochs": 0}, "`most_epochs` of at least 1"),
        ({"train_images": np.zeros((4, 36))}, "Expected images of shape"),
        ({"source": "a file"}, "Only a `FrozenSource`.*Received: str"),
    ],
)
def test_bad_input_is_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "source": object.__new__(FrozenSource),
        "train_images": np.zeros((4, *SHAPE)),
        "train_labels": np.array([0, 0, 1, 1]),
        "num_classes": 2,
    }
    with pytest.raises(ValueError, match=message):
        fit_fine_tuned(**(arguments | changes))


def test_augmentation_says_what_it_does() -> None:
    images = np.arange(2 * 4 * 4).reshape(2, 4, 4, 1)
    random = np.random.default_rng(0)
    np.testing.assert_array_equal(AS_THEY_ARE.apply(images, random), images)
    mirrored = [Augmentation(mirror=True).apply(images, random)[0, 0, 0, 0] for _ in range(20)]
    assert set(mirrored) == {0, 3}
    assert str(AS_THEY_ARE) == "images as they are, no augmentation"
    assert str(Augmentation(0.1, mirror=True)) == "images shifted and mirrored"


def test_a_linear_model_of_pixels_is_a_row_of_its_own() -> None:
    images, labels = stripes(60)
    linear = fit_linear_pixels(images, labels, num_classes=2)
    assert linear.name == "logistic regression on pixels"
    assert fit_no_source(images, labels, num_classes=2).validation_accuracy >= (
        linear.validation_accuracy
    )


@pytest.mark.slow
def test_fine_tuning_a_real_network_keeps_up_with_its_linear_head(
    keras_home, reprogram_data
) -> None:
    data = load_target("cifar10").draw(1500, 1000, seed=0)
    frozen = FrozenSource.from_application("MobileNet", alpha=0.25, input_shape=(128, 128, 3))
    before = weights(frozen.model)
    tuned = fit_fine_tuned(
        frozen, data.train_images, data.train_labels, num_classes=10, mirror=True, most_epochs=6
    )
    assert all(all_equal(weights(frozen.model), before))
    features = FrozenSource(
        frozen.model, value_range=(0, 255), preprocessing=frozen.preprocessing, output="features"
    )
    program = ProgramLayer((32, 32, 3), (128, 128, 3), source_range=(0, 255), placement="full")
    model = ReprogrammedModel(program, features, NewHead(10))
    train, test = (
        model.collect_scores(part, verbose=0)[:, 0]
        for part in (data.train_images, data.test_images)
    )
    head = fit_linear_head(train, data.train_labels, num_classes=10)
    reached = tuned.evaluate(data.test_images, data.test_labels)
    linear = head.evaluate(test, data.test_labels)
    print(f"full fine-tuning {reached:.3f} ({tuned.note}), linear head {linear:.3f}")
    # Two standard errors of 1,000 test images.
    assert reached > linear - 0.03


def test_images_on_another_scale_than_said_are_refused() -> None:
    images, labels = stripes(20)
    with pytest.raises(ValueError, match="one 8-bit step"):
        fit_fine_tuned(source(), images / np.float32(255), labels, num_classes=2)
