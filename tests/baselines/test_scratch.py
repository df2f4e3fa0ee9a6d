"""The network from scratch: it learns, stops where validation says, and repeats itself."""

from typing import Any

import numpy as np
import pytest

from keras_reprogram.baselines import fit_no_source, fit_scratch
from keras_reprogram.baselines import scratch as scratch_module
from keras_reprogram.baselines.scratch import LEARNING_RATE, SmallNetwork
from keras_reprogram.baselines.training_loop import Augmentation

FEW_STEPS = 100


def slanted(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright or dark stroke somewhere on grey, rising or falling: no single pixel tells which."""
    random = np.random.default_rng(seed)
    labels = np.arange(num) % 2
    images = random.integers(100, 140, (num, 16, 16, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        (top, left), value = random.integers(1, 10, 2), random.choice([0, 240])
        for step in range(5):
            image[top + step, left + (step if label else 4 - step)] = value
    return images, labels


def rows_of(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same as rows of about unit variance."""
    images, labels = slanted(num, seed)
    return (images.reshape(num, -1) - 120.0) / 30.0, labels


@pytest.mark.slow
def test_it_learns_shapes_that_a_model_of_single_pixels_cannot() -> None:
    images, labels = slanted(100, seed=0)
    new_images, new_labels = slanted(200, seed=1)
    network = fit_scratch(images, labels, num_classes=2, most_steps=FEW_STEPS)
    pixels = fit_no_source(images, labels, num_classes=2)
    reached = network.evaluate(new_images, new_labels)
    assert reached > 0.9
    assert reached > pixels.evaluate(new_images, new_labels) + 0.05
    assert network.name == "network from scratch"
    assert network.note.endswith("; images shifted")
    assert network.num_train == 100
    assert network.predict(new_images).dtype == np.int64
    assert network.predict(new_images[:0]).shape == (0,)


@pytest.mark.slow
def test_mirrored_training_images_confuse_what_is_told_apart_by_its_side() -> None:
    network = SmallNetwork((16, 16, 1), 2, augmentation=Augmentation(0.1, mirror=True))
    network.train(*rows_of(100, seed=0), steps=FEW_STEPS)
    rows, labels = rows_of(200, seed=1)
    assert np.mean(network.predict(rows) == labels) < 0.7


@pytest.mark.slow
def test_one_seed_gives_one_network_also_when_training_is_interrupted() -> None:
    rows, labels = rows_of(40, seed=0)
    moved = Augmentation(0.1)
    networks = [SmallNetwork((16, 16, 1), 2, augmentation=moved, seed=seed) for seed in (3, 3, 4)]
    for network, steps in zip(networks, [(5,), (2, 3), (5,)], strict=True):
        for count in steps:
            network.train(rows, labels, count)
    whole, halves, other = (network.predict_probabilities(rows) for network in networks)
    np.testing.assert_allclose(whole, halves, atol=1e-3)
    assert np.abs(whole - other).max() > 1e-2


class Scripted:
    """A network whose validation accuracy after each round is given."""

    made: list["Scripted"] = []
    script: tuple[float, ...] = ()
    num_weights = 1

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.steps_taken = 0
        self.options = options
        self.made.append(self)

    def train(self, rows: np.ndarray, labels: np.ndarray, steps: int) -> None:
        self.steps_taken += steps
        self.num_rows = len(rows)

    def predict_probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Right (label 0) for a share of the rows."""
        right = np.arange(len(rows)) < self.script[self.steps_taken // 10 - 1] * len(rows)
        return np.stack([right, ~right], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("script", "steps", "seen", "converged"),
    [
        ((0.5, 0.75, 0.5, 0.25, 1.0, 1.0), 20, 40, True),
        ((0.5, 0.75, 0.5, 1.0), 40, 40, False),
        ((0.5, 0.5, 0.5), 10, 30, True),
    ],
)
def test_the_steps_that_were_best_on_validation_are_taken_again_on_all_images(
    monkeypatch: pytest.MonkeyPatch,
    script: tuple[float, ...],
    steps: int,
    seen: int,
    converged: bool,
) -> None:
    monkeypatch.setattr(scratch_module, "SmallNetwork", Scripted)
    monkeypatch.setattr(scratch_module, "ROUND_STEPS", 10)
    monkeypatch.setattr(scratch_module, "PATIENCE", 2)
    monkeypatch.setattr(Scripted, "made", [])
    monkeypatch.setattr(Scripted, "script", script)
    monkeypatch.setattr(
        scratch_module,
        "split_validation",
        lambda images, labels, *_: (np.arange(4, 20), np.arange(4)),
    )
    labels = np.repeat([0, 1], [4, 16])
    baseline = fit_scratch(
        np.zeros((20, 4, 4, 1)), labels, num_classes=2, most_steps=10 * len(script)
    )
    first, last = Scripted.made
    assert (first.steps_taken, first.num_rows) == (seen, 16)
    assert (last.steps_taken, last.num_rows) == (steps, 20)
    # The rate falls alike in both.
    assert first.options["most_steps"] == last.options["most_steps"] == 10 * len(script)
    assert baseline.validation_accuracy == max(script[: seen // 10])
    assert baseline.converged is converged


@pytest.mark.slow
def test_the_rate_falls_to_nothing() -> None:
    network = SmallNetwork((8, 8, 1), 2, most_steps=4)
    rows, labels = np.zeros((4, 64)), np.array([0, 1, 0, 1])
    rates = []
    for _ in range(5):
        rates.append(float(network._model.optimizer.learning_rate))
        network.train(rows, labels, 1)
    np.testing.assert_allclose(rates, LEARNING_RATE * np.array([1, 0.75, 0.5, 0.25, 0]), atol=1e-8)


def test_images_above_the_largest_side_are_halved_first() -> None:
    large = SmallNetwork((64, 64, 3), 2)._model.count_params()
    assert large == SmallNetwork((32, 32, 3), 2)._model.count_params()
    assert 40_000 < large < 60_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((4, 16))}, "Expected images of shape"),
        ({"train_images": np.full((4, 4, 4, 1), np.nan)}, "Expected finite inputs"),
        ({"train_labels": np.eye(4)}, "one integer label per"),
        ({"train_labels": np.array([0, 1, 2, 3])}, "Expected labels of two or more classes in 0"),
        ({"train_labels": np.zeros(4, int)}, "Received: 1 classes"),
        ({"most_steps": 0}, "Received: most_steps=0"),
    ],
)
def test_bad_input_is_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "train_images": np.zeros((4, 4, 4, 1)),
        "train_labels": np.array([0, 0, 1, 1]),
        "num_classes": 2,
    }
    with pytest.raises(ValueError, match=message):
        fit_scratch(**(arguments | changes))


@pytest.mark.parametrize(("num_images", "rounds"), [(10, 16), (4266, 16), (4267, 17), (8500, 32)])
def test_many_images_are_waited_for_three_epochs(num_images: int, rounds: int) -> None:
    """25 steps of 32 images are a round."""
    assert scratch_module._patience(num_images) == rounds
