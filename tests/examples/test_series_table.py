"""The script that measures series: its map and its program on a small source, and its rows."""

import importlib
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_reprogram import FrozenSource
from keras_reprogram.datasets import TargetData

FOLDER = Path(__file__).parents[2] / "examples" / "benchmark"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module("series")
    sys.path.remove(str(FOLDER))


@pytest.fixture
def small(script, monkeypatch, tmp_path):
    """A source of 240 samples in the place of AttRNN, and files of its own."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((240,)),
            layers.Reshape((240, 1)),
            layers.Conv1D(8, 5, strides=4, activation="tanh"),
            layers.Flatten(),
            layers.Dense(9, activation="softmax"),
        ]
    )
    source = FrozenSource(network, value_range=(-1, 1))
    monkeypatch.setattr(script, "_source", lambda: source)
    monkeypatch.setattr(script, "ANSWERS", tmp_path / "answers")
    monkeypatch.setattr(script, "ROWS", tmp_path / "series.csv")
    return script


def waves():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    series = np.sin(np.arange(20) * np.where(labels, 0.3, 1.4)[:, None])
    series = (series + random.normal(0, 0.2, series.shape)).astype("float32")
    return TargetData(
        "Waves",
        series[:40],
        labels[:40],
        series[40:],
        labels[40:],
        ("a", "b"),
        "",
        target_range=None,
    )


def test_rows_of_maps_are_measured_once(small, capsys):
    target = waves()
    for method in (small.MAP_1, small.MAP_8, small.JOINT):
        small._row(target, method, 0, lambda method=method: small._map(target, method, 0))
        small._row(target, method, 0, lambda: pytest.fail("it is there"))
    rows = small._stored()
    assert [row.method for row in rows] == [small.MAP_1, small.MAP_8, small.JOINT]
    assert all(row.accuracy > 0.8 and row.majority == 0.5 for row in rows)
    assert rows[2].choices.startswith("parts [") and not rows[0].choices
    assert np.load(small.ANSWERS / "Waves_train_0.npy").shape == (40, 8, 9)


def test_the_program_keeps_its_best_epoch(small):
    accuracy, choices = small._program(waves(), 0, passes=96)
    assert 0 <= accuracy <= 1 and choices.endswith("of 3")


def test_the_table_has_every_set(script, capsys):
    script.table()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"| | {' | '.join(script.SETS)} | mean |"
    assert lines[3].startswith("| Voice2Series, published | 100.0 | 87.0 | 78.4 |")
    assert {line.count("|") for line in lines} == {len(script.SETS) + 3}
