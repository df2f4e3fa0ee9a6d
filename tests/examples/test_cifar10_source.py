"""The CIFAR-10 source of the benchmark: the file, its card, and what trains it."""

import hashlib
import runpy
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples" / "benchmark" / "cifar10_source.keras"


def test_file_is_the_one_on_its_card() -> None:
    card = FILE.with_suffix(".md").read_text()
    content = FILE.read_bytes()
    assert hashlib.sha256(content).hexdigest() in card
    assert f"{len(content):,} bytes" in card
    assert len(content) < 1_500_000


def test_file_holds_a_classifier_and_no_optimizer() -> None:
    with zipfile.ZipFile(FILE) as archive:
        assert b"optimizer" not in archive.read("model.weights.h5")
    model = keras.saving.load_model(FILE)
    assert model.count_params() <= 300_000
    assert model.input_shape == (None, 32, 32, 3)
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    scores = keras.ops.convert_to_numpy(model(images))
    assert scores.shape == (3, 10)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_batches_are_shifted_and_flipped_copies() -> None:
    script = runpy.run_path(str(ROOT / "examples" / "train_cifar10.py"))
    images = np.broadcast_to(np.arange(128, dtype=np.uint8)[:, None, None, None], (128, 32, 32, 3))
    gradient = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None], (128, 32, 32, 3))
    labels = np.arange(128)

    batches = script["ShiftedImages"](images, labels, seed=0)
    assert len(batches) == 2
    seen = np.concatenate([batches[0][1], batches[1][1]])
    assert sorted(seen) == list(labels)
    assert np.array_equal(batches[0][0][:, 5, 7, 1], batches[0][1])

    moved, _ = script["ShiftedImages"](gradient, labels, seed=0)[0]
    steps = np.diff(moved[:, 0, 8:24, 0], axis=1)
    directions = set(np.unique(steps))
    assert directions == {-1.0, 1.0}
    assert len(np.unique(moved[:, 0, 16, 0])) > 8


@pytest.mark.slow
def test_accuracy_on_its_card(reprogram_data: Path) -> None:
    if not (reprogram_data / "cifar10_jpg.zip").is_file():
        pytest.skip(f"put cifar10_jpg.zip into {reprogram_data} (KERAS_REPROGRAM_DATA)")
    from keras_reprogram.datasets import load_cifar10

    data = load_cifar10()
    model = keras.saving.load_model(FILE)
    scores = model.predict(data.test_images.astype("float32"), batch_size=256, verbose=0)
    accuracy = (scores.argmax(axis=1) == data.test_labels).mean()
    assert f"**{100 * accuracy:.1f} %**" in FILE.with_suffix(".md").read_text()
