"""MedMNIST archives, re-created in the layout of the files on Zenodo (they are not on PyPI)."""

import sys
from pathlib import Path

import numpy as np
import pytest

from keras_reprogram.datasets import load_medmnist, load_target
from keras_reprogram.datasets.target_data import Draw

COUNTS = {"train": 20, "val": 6, "test": 8}
# As the package's info.py: strings of numbers, not in the order of the numbers.
INFO = """
import os
raise RuntimeError("read, not imported")
INFO = {
    "pneumoniamnist": {"task": "binary-class", "label": {"1": "pneumonia", "0": "normal"}},
    "tissuemnist": {"task": "multi-class", "label": {"0": "a", "1": "b", "2": "c"}},
}
"""


def write_archive(path: Path, side: int = 28, findings: int = 1, colour: bool = False) -> Path:
    """Images whose pixels are seven times their number, training first."""
    arrays: dict[str, np.ndarray] = {}
    for start, (part, count) in zip((0, 20, 26), COUNTS.items(), strict=True):
        numbers = np.arange(start, start + count, dtype=np.uint8)
        images = np.tile(7 * numbers[:, None, None], (1, side, side))
        arrays[f"{part}_images"] = images[..., None].repeat(3, 3) if colour else images
        bits = [numbers % (2 + bit) == 0 for bit in range(findings)]
        arrays[f"{part}_labels"] = np.stack(bits, axis=1).astype(np.uint8)
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("side", [28, 64])
@pytest.mark.parametrize("colour", [False, True])
def test_an_archive_of_classes(tmp_path: Path, side: int, colour: bool) -> None:
    path = write_archive(tmp_path / f"breastmnist_{side}.npz", side, colour=colour)
    target = load_target(str(path))
    assert target.target_shape == (side, side, 3 if colour else 1)
    assert (target.name, target.class_names) == (f"breastmnist_{side}", ("0", "1"))
    assert target.train_images[:, 0, 0, 0].tolist() == list(range(0, 182, 7))
    assert target.train_labels.tolist() == [1, 0] * 13
    assert target.validation_rows.tolist() == [False] * 20 + [True] * 6
    assert target.test_images[:, 3, 2, 0].tolist() == list(range(182, 238, 7))
    assert target.origin == f"34 images in {path}."


def test_several_columns_are_findings(tmp_path: Path) -> None:
    target = load_medmnist(write_archive(tmp_path / "chestmnist.npz", findings=14))
    assert target.is_multi_label
    assert (target.train_labels.shape, target.test_labels.shape) == ((26, 14), (8, 14))
    assert target.train_labels[6, :4].tolist() == [1, 1, 0, 0]
    assert len(target.class_names) == 14


def test_a_draw_is_that_of_the_whole(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "breastmnist.npz")
    whole, drawn = load_medmnist(path).draw(9, 4, seed=2), load_medmnist(path, draw=Draw(9, 4, 2))
    np.testing.assert_array_equal(drawn.train_images, whole.train_images)
    np.testing.assert_array_equal(drawn.test_labels, whole.test_labels)
    np.testing.assert_array_equal(drawn.validation_rows, whole.validation_rows)
    assert (
        drawn.notes
        == whole.notes
        == (
            "9 of 26 training images drawn, seed 2.",
            "4 of 8 test images drawn, seed 2.",
        )
    )


def test_names_are_the_packages_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "medmnist").mkdir()
    (tmp_path / "medmnist" / "__init__.py").write_text("raise RuntimeError('needs torch')")
    (tmp_path / "medmnist" / "info.py").write_text(INFO)
    monkeypatch.syspath_prepend(str(tmp_path))
    names = load_medmnist(write_archive(tmp_path / "pneumoniamnist_224.npz", 8)).class_names
    assert names == ("normal", "pneumonia")
    # Three names for two classes: another set of that name.
    assert load_medmnist(write_archive(tmp_path / "tissuemnist.npz")).class_names == ("0", "1")
    assert "medmnist" not in sys.modules


def test_other_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(ValueError, match=r"x.npz, no such file.*zenodo"):
        load_medmnist(path)
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"x.npz to be a complete .npz file"):
        load_medmnist(path)
    np.savez(path, images=np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match="no train_labels, val_labels, test_labels"):
        load_target(str(path))
    labels = {f"{part}_labels": np.zeros((3, 1), np.uint8) for part in COUNTS}
    volumes = {f"{part}_images": np.zeros((3, 28, 28, 28), np.uint8) for part in COUNTS}
    np.savez(path, **labels, **volumes)
    with pytest.raises(ValueError, match=r"volumes, shape \(3, 28, 28, 28\).*slices"):
        load_medmnist(path)
    np.savez(path, **labels, **{name: array[:2, 0] for name, array in volumes.items()})
    with pytest.raises(ValueError, match=r"n = 3 as in `train_labels`. Received: uint8 of shape"):
        load_medmnist(path)
    np.savez(path, **{name: array.astype(float) for name, array in labels.items()}, **volumes)
    with pytest.raises(ValueError, match=r"integers .* Received: float64 of shape \(3, 1\)"):
        load_medmnist(path)


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.npz", 64)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="x.npz to be a complete"):
        load_medmnist(path)


@pytest.mark.slow
@pytest.mark.parametrize("size", [28, 64])
@pytest.mark.parametrize(("flag", "findings"), [("PneumoniaMNIST", 1), ("ChestMNIST", 14)])
def test_the_package_itself_reads_such_archives(
    tmp_path: Path, flag: str, findings: int, size: int
) -> None:
    reason = "pip install torch pandas medmnist --no-deps"
    pytest.importorskip("torch", reason=reason)
    package = pytest.importorskip("medmnist", reason=reason)
    name = flag.lower() + ("" if size == 28 else f"_{size}")
    target = load_medmnist(write_archive(tmp_path / f"{name}.npz", size, findings=findings))
    read = getattr(package, flag)
    parts = [read(split=part, root=str(tmp_path), size=size) for part in COUNTS]
    ours = np.concatenate([target.train_images, target.test_images])[..., 0]
    np.testing.assert_array_equal(ours, np.concatenate([part.imgs for part in parts]))
    labels = np.concatenate([part.labels for part in parts])
    found = np.concatenate([target.train_labels, target.test_labels])
    np.testing.assert_array_equal(found.reshape(labels.shape), labels)
    assert target.validation_rows.sum() == len(parts[1])
    own = parts[0].info["label"]
    assert target.class_names == tuple(own[str(number)] for number in range(len(own)))
