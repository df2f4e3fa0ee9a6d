"""Files that TensorFlow 2.15 itself wrote, beside the scores that it computed.

`KERAS_REPROGRAM_TF215` is the Python of an environment of its own:
`python3.11 -m venv tf215 && tf215/bin/pip install tensorflow==2.15.1`.
"""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from checks.check_source import scores_of

from keras_reprogram import FrozenSource, LiteRTSource, SavedModelSource

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent.parent / "tensorflow_2_15" / "write_files.py"
WEIGHTS = "models/mobilenet_2_5_128_tf.h5"
RANGE = (-1.0, 1.0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """`folder`, `photos` from -1 to 1, and `scores` by file."""
    python = os.environ.get("KERAS_REPROGRAM_TF215")
    if not python:
        pytest.skip(
            "set KERAS_REPROGRAM_TF215 to the Python of an environment with tensorflow==2.15.1"
        )
    home = Path(os.environ.get("KERAS_HOME", ""))
    if not (home / WEIGHTS).is_file() or not os.environ.get("KERAS_REPROGRAM_DATA"):
        pytest.skip("set KERAS_HOME and KERAS_REPROGRAM_DATA")
    from keras_reprogram.datasets import load_target

    folder = tmp_path_factory.mktemp("tensorflow_2_15")
    photos = load_target("cifar10").test_images[::200][:50].repeat(4, axis=1).repeat(4, axis=2)
    photos = photos.astype(np.float32) / np.float32(127.5) - 1
    np.save(folder / "photos.npy", photos)
    # Not this process's packages.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = [python, str(SCRIPT), str(folder), str(home / WEIGHTS)]
    ended = subprocess.run(arguments, capture_output=True, text=True, env=clean, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    with np.load(folder / "scores.npz") as scores:
        return SimpleNamespace(folder=folder, photos=photos, scores=dict(scores))


# Normalisation layers are folded, and another version of XNNPACK multiplies otherwise.
ROUNDING = 1e-5
# 8-bit files answer on another runtime, whose kernels round layers otherwise.
LEAST_SAME, MOST_APART = 0.9, 0.06


def check(name, found, expected, tolerance=ROUNDING):
    difference = float(np.abs(found - expected).max())
    print(f"TensorFlow 2.15, {name}: 50 photos, largest difference {difference:.2g}")
    assert found.shape == expected.shape == (50, 1000)
    assert np.ptp(expected, axis=0).max() > 0.1
    assert difference <= tolerance


@pytest.mark.parametrize("ending", ["h5", "keras"])
def test_keras_2_files(ending, written):
    source = FrozenSource.from_file(written.folder / f"network.{ending}", value_range=RANGE)
    check(f".{ending}", scores_of(source, written.photos), written.scores["network"])


@pytest.mark.parametrize("name", ["keras_saved", "exported"])
def test_saved_models(name, written):
    source = SavedModelSource(written.folder / name, value_range=RANGE)
    assert source.differentiable
    check(name, scores_of(source, written.photos), written.scores["network"])


@pytest.mark.parametrize("name", ["float", "dynamic", "uint8", "int8"])
def test_litert_files(name, written):
    source = LiteRTSource(written.folder / f"{name}.tflite", value_range=RANGE)
    assert (source.score_step > 0) == name.endswith("int8")
    found, expected = scores_of(source, written.photos), written.scores[name]
    check(f"{name}.tflite", found, expected, ROUNDING if name == "float" else MOST_APART)
    same = np.mean(found.argmax(axis=1) == expected.argmax(axis=1))
    print(f"TensorFlow 2.15, {name}.tflite: the same label for {same:.0%}")
    assert same >= (1 if name == "float" else LEAST_SAME)
