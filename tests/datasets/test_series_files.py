"""Series from .ts, .txt, .tsv and .npz: splits, classes, refusals, and the real files."""

import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from keras_reprogram.datasets import TargetData, load_aeon_series, load_series, load_target
from keras_reprogram.datasets.series_files import is_series_file
from keras_reprogram.datasets.target_data import Draw

HEADER = "# a “comment”\n@problemName Waves\n@classLabel true -1 1\n@data\n"
ROWS = "1,2,3:1\n3,2,1:-1\n0,2,3:1\n"


def write(folder: Path, name: str, text: str = HEADER + ROWS, other: str | None = None) -> Path:
    """Both parts; the one for training has `text`."""
    for part, content in (("TRAIN", text), ("TEST", text if other is None else other)):
        (folder / name.replace("TRAIN", part)).write_text(content, encoding="utf-8")
    return folder / name


def test_a_ts_file(tmp_path):
    target = load_series(write(tmp_path, "Waves_TRAIN.ts", other=HEADER + "9,9,9:-1\n"))
    assert (target.name, target.target_shape, target.target_range) == ("Waves", (3,), None)
    # -1 % 2 is 1: a loader that wraps labels makes one class of these two.
    assert target.class_names == ("-1", "1") and target.train_labels.tolist() == [1, 0, 1]
    assert target.train_images.tolist() == [[1, 2, 3], [3, 2, 1], [0, 2, 3]]
    assert target.train_images.dtype == np.float32
    assert target.test_images.tolist() == [[9, 9, 9]] and target.test_labels.tolist() == [0]
    again = load_target(str(tmp_path / "Waves_TEST.ts"), draw=Draw(2, None, 0))
    assert len(again.train_images) == 2 and again.notes


def test_several_channels(tmp_path):
    target = load_series(write(tmp_path, "Two_TRAIN.ts", HEADER + "1,2,3:4,5,6:1\n0,0,0:1,1,1:-1"))
    assert target.target_shape == (3, 2)
    assert target.train_images[0].tolist() == [[1, 4], [2, 5], [3, 6]]


@pytest.mark.parametrize("name", ["Waves_TRAIN.txt", "Waves_TRAIN.tsv"])
@pytest.mark.parametrize("gap", ["  ", "\t", ","])
def test_columns_with_the_label_first(tmp_path, name, gap):
    lines = [gap.join(row) for row in (("1.0000000e+01", "1", "2"), ("2", "0", "-.5"))]
    target = load_series(write(tmp_path, name, "\n".join(lines) + "\n"))
    assert target.class_names == ("2", "10") and target.train_labels.tolist() == [1, 0]
    assert target.train_images.tolist() == [[1, 2], [0, -0.5]]


def archive(path, labels, shape=(4, 5)):
    series = np.arange(np.prod(shape), dtype=float).reshape(shape)
    np.savez(path, X_train=series, y_train=labels, X_test=series, y_test=labels)
    return path


@pytest.mark.parametrize("kind", [int, float, str])
def test_an_archive(tmp_path, kind):
    path = archive(tmp_path / "a.npz", np.array([1, 2, 1, 3]).astype(kind), (4, 5, 1))
    target = load_target(str(path))
    assert target.class_names == ("1", "2", "3") and target.target_shape == (5,)


def test_what_is_a_series(tmp_path):
    assert is_series_file("a.ts") and is_series_file("A_TRAIN.txt") and is_series_file("a_test.tsv")
    assert not is_series_file("a.txt") and not is_series_file("table.tsv")
    assert not is_series_file(tmp_path / "none.npz")
    np.savez(tmp_path / "medical.npz", train_images=np.zeros(3))
    assert not is_series_file(tmp_path / "medical.npz")


DATA = "@classLabel true 1 2\n@data\n"
BAD = {
    "missing": (DATA + "1,?,3:1\n1,2,3:2\n", "no missing values in .*first in line 3"),
    "nan": (
        DATA + "1,2,3:1\nNaN,2,NaN:2\n",
        "Received: 2 of them in 1 series, the first in line 4",
    ),
    "lengths": (DATA + "1,2,3:1\n1,2:2\n", "one length in .*3 values in line 3, 2 in line 4"),
    "channels": (DATA + "1,2:1,2,3:1\n", r"channels of one length in line 3 .*\[2, 3\]"),
    "one class": (DATA + "1,2:1\n3,4:1\n", "two classes in the training.*Received: 1 alone"),
    "no classes": ("@classLabel false\n@data\n1,2,3\n", "Received: none, as in files for reg"),
    "time stamps": ("@timeStamps true\n" + DATA + "(0,1),(1,2):1\n", "Resample them first"),
    "no label": (DATA + "1,2,3\n", "values, a colon and the label in line 3"),
    "words": (DATA + "1,two,3:1\n", "numbers in line 3 .*'two'"),
    "nothing": (DATA, "Expected series in .*Received: none"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused(tmp_path, case):
    text, said = BAD[case]
    with pytest.raises(ValueError, match=said):
        load_series(write(tmp_path, "Bad_TRAIN.ts", text))


def test_files_that_do_not_belong_together(tmp_path):
    path = write(tmp_path, "Waves_TRAIN.ts", other=HEADER + "1,2:1\n")
    with pytest.raises(ValueError, match=r"one shape. Received: \(3,\) and \(2,\)"):
        load_series(path)
    (tmp_path / "Waves_TEST.ts").unlink()
    with pytest.raises(ValueError, match="there is no file .*Waves_TEST.ts"):
        load_series(path)
    with pytest.raises(ValueError, match="Expected NAME_TRAIN.ts beside NAME_TEST.ts"):
        load_target(str(tmp_path / "Waves.ts"))
    with pytest.raises(ValueError, match=r"X_train .n, length.*float64 .3,. and .4,"):
        load_series(archive(tmp_path / "flat.npz", np.arange(4), (3,)))
    series = np.full((4, 5), np.nan)
    np.savez(tmp_path / "nan.npz", X_train=series, y_train=[1, 2, 1, 2], X_test=[], y_test=[])
    with pytest.raises(ValueError, match="20 of them in 4 series, the first in series 0"):
        load_series(tmp_path / "nan.npz")


def test_images_need_a_range():
    images, labels = np.zeros((2, 8, 8, 1), "uint8"), np.arange(2)
    with pytest.raises(ValueError, match="Pass `target_range` for images"):
        TargetData("toy", images, labels, images, labels, ("a", "b"), "", target_range=None)


def test_aeon_is_asked_for_both_parts(monkeypatch):
    """In the form of aeon's loader: (n, channels, length), labels as strings."""
    asked = []

    def load_classification(name, split):
        asked.append((name, split))
        return np.ones((4, 1, 6)), np.array(["b", "a", "b", "a"])

    package, datasets = types.ModuleType("aeon"), types.ModuleType("aeon.datasets")
    datasets.load_classification = load_classification
    monkeypatch.setitem(sys.modules, "aeon", package)
    monkeypatch.setitem(sys.modules, "aeon.datasets", datasets)
    target = load_target("aeon:Waves")
    assert asked == [("Waves", "train"), ("Waves", "test")]
    assert target.target_shape == (6,) and target.class_names == ("a", "b")
    datasets.load_classification = lambda name, split: (
        [np.ones((1, 4)), np.ones((1, 9))],
        np.array(["a", "b"]),
    )
    with pytest.raises(ValueError, match="one length in Waves. Received: 4 to 9 values"):
        load_aeon_series("Waves")


def test_without_aeon_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "aeon", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-reprogram\[series\]'"):
        load_target("aeon:GunPoint")


# Counts of the archive's page: training, test, length, classes.
REAL = {
    "Coffee_TRAIN.txt": (28, 28, 286, 2),
    "ECG200_TRAIN.ts": (100, 100, 96, 2),
    "Earthquakes_TRAIN.ts": (322, 139, 512, 2),
    "GunPoint_TRAIN.ts": (50, 150, 150, 2),
    "ItalyPowerDemand_TRAIN.ts": (67, 1029, 24, 2),
    "Trace.npz": (100, 100, 275, 4),
    "Worms_TRAIN.ts": (181, 77, 900, 5),
}


def real_file(name):
    path = Path(os.environ.get("KERAS_REPROGRAM_DATA", "no folder")) / "series" / name
    if not path.is_file():
        pytest.skip(f"KERAS_REPROGRAM_DATA has no series/{name}")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_files(name):
    target = load_series(real_file(name))
    assert (len(target.train_images), len(target.test_images)) == REAL[name][:2]
    assert (*target.target_shape, len(target.class_names)) == REAL[name][2:]
    assert set(target.train_labels.tolist()) == set(range(len(target.class_names)))


@pytest.mark.slow
def test_aeon_itself_gives_what_the_files_hold():
    """GunPoint is in aeon's wheel, and beside the other files of KERAS_REPROGRAM_DATA."""
    pytest.importorskip("aeon", reason="pip install 'keras-reprogram[series]'")
    found, expected = load_aeon_series("GunPoint"), load_series(real_file("GunPoint_TRAIN.ts"))
    np.testing.assert_array_equal(found.train_images, expected.train_images)
    np.testing.assert_array_equal(found.test_labels, expected.test_labels)
    assert found.class_names == expected.class_names == ("1", "2")
