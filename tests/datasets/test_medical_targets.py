"""HAM10000 and ABIDE, read from files that these tests write."""

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_reprogram.datasets import load_abide, load_ham10000, load_target
from keras_reprogram.datasets.abide import correlation_images
from keras_reprogram.datasets.ham10000 import DIAGNOSES

HAM10000 = "ham10000_64.zip"
ABIDE = "abide_cc200_corr_1035.npz"


def ham10000_rows() -> list[tuple[str, str, str]]:
    """Five lesions a class; the first of each was photographed twice."""
    rows = []
    for code in DIAGNOSES:
        for number in range(6):
            rows.append((f"{code}{number}", f"{code}-lesion{max(number, 1)}", code))
    return rows


def write_ham10000(path: Path, rows: list[tuple[str, str, str]], skip: str = "") -> None:
    codes = list(DIAGNOSES)
    with zipfile.ZipFile(path, "w") as archive:
        table = ["image_id,lesion_id,dx", *(",".join(row) for row in rows)]
        archive.writestr("labels.csv", "\n".join(table))
        for image_id, _, code in rows:
            if image_id == skip:
                continue
            file = io.BytesIO()
            level = 30 * (codes.index(code) + 1) if code in codes else 0
            Image.new("RGB", (64, 64), (level, 0, 0)).save(file, "JPEG")
            archive.writestr(f"images/{image_id}.jpg", file.getvalue())


def abide_arrays(regions: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "triu": rng.uniform(-1, 1, (20, regions * (regions - 1) // 2)).astype(np.float16),
        "label": (np.arange(20) % 2).astype(np.uint8),
        "site": np.array(["NYU", "CMU", "YALE", "CMU"] * 5),
        "subject": np.arange(20),
    }


def test_ham10000_is_split_by_lesion(data_folder: Path) -> None:
    write_ham10000(data_folder / HAM10000, ham10000_rows())
    target = load_target("ham10000")
    assert target.target_shape == (64, 64, 3)
    assert target.class_names[4:6] == ("melanoma", "melanocytic nevus")
    for images, labels in (
        (target.train_images, target.train_labels),
        (target.test_images, target.test_labels),
    ):
        assert np.allclose(images[:, 9, 9, 0], 30 * (labels + 1), atol=3)
    assert set(target.train_labels) == set(range(7))
    # 42 pictures of 35 lesions: those photographed twice are on one side.
    assert len(target.train_labels) + len(target.test_labels) == 42
    groups = target.train_groups
    assert groups is not None
    assert len(groups) == len(target.train_labels)
    pairs = np.unique(groups, return_counts=True)[1]
    assert len(target.train_labels) - len(pairs) == (pairs == 2).sum()
    assert len(pairs) == 28
    assert "balanced accuracy" in target.notes[1]


def test_ham10000_missing_file_says_where_it_comes_from(data_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"ham10000_64\.zip.*KERAS_REPROGRAM_DATA.*doi\.org"):
        load_ham10000()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("x", "y", "wart"), *ham10000_rows()], r"unknown \['wart'\]"),
        (ham10000_rows()[6:], r"absent \['akiec'\]"),
    ],
)
def test_ham10000_with_other_classes_is_refused(
    rows: list[tuple[str, str, str]], message: str, data_folder: Path
) -> None:
    write_ham10000(data_folder / HAM10000, rows)
    with pytest.raises(ValueError, match=message):
        load_ham10000()


def test_ham10000_without_a_picture_is_refused(data_folder: Path) -> None:
    write_ham10000(data_folder / HAM10000, ham10000_rows(), skip="mel3")
    with pytest.raises(ValueError, match=r"no images/mel3\.jpg"):
        load_ham10000()


def test_ham10000_without_labels_or_columns_is_refused(data_folder: Path) -> None:
    with zipfile.ZipFile(data_folder / HAM10000, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(ValueError, match=r"to hold labels\.csv"):
        load_ham10000()
    with zipfile.ZipFile(data_folder / HAM10000, "w") as archive:
        archive.writestr("labels.csv", "image_id,dx\na,nv\n")
    with pytest.raises(ValueError, match="Received: no lesion_id"):
        load_ham10000()


def test_truncated_ham10000_is_named(data_folder: Path) -> None:
    path = data_folder / HAM10000
    write_ham10000(path, ham10000_rows())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"ham10000_64\.zip to be a complete zip file"):
        load_ham10000()


def test_correlations_become_symmetric_images() -> None:
    image = correlation_images(np.array([[0.1, 0.2, 0.3]], np.float16))[0, :, :, 0]
    expected = np.array([[1, 0.1, 0.2], [0.1, 1, 0.3], [0.2, 0.3, 1]])
    assert image.dtype == np.float32
    assert np.allclose(image, expected, atol=1e-3)
    with pytest.raises(ValueError, match=r"Received: shape \(1, 4\)"):
        correlation_images(np.zeros((1, 4)))


def test_abide_keeps_raw_correlations_and_sites(data_folder: Path) -> None:
    arrays = abide_arrays()
    np.savez(data_folder / ABIDE, **arrays)
    target = load_target("abide")
    assert target.target_shape == (5, 5, 1)
    assert target.target_range == (-1.0, 1.0)
    assert target.class_names == ("control", "ASD")
    assert (len(target.train_labels), len(target.test_labels)) == (16, 4)
    assert target.test_labels.sum() == 2
    assert target.train_groups is not None
    by_subject = {row[0]: i for i, row in enumerate(arrays["triu"].astype(np.float32))}
    for image, label, site in zip(
        target.train_images, target.train_labels, target.train_groups, strict=True
    ):
        subject = by_subject[image[0, 1, 0]]
        assert arrays["label"][subject] == label
        assert ["CMU", "NYU", "YALE"][site] == arrays["site"][subject]
    assert target.draw(6, None, seed=0).target_range == (-1.0, 1.0)


def test_abide_missing_file_says_where_it_comes_from(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)
    with pytest.raises(ValueError, match=r"abide_cc200.*KERAS_REPROGRAM_DATA.*connectomes"):
        load_abide()


def test_abide_without_an_array_is_refused(data_folder: Path) -> None:
    arrays = abide_arrays()
    del arrays["site"]
    np.savez(data_folder / ABIDE, **arrays)
    with pytest.raises(ValueError, match="triu, label, site. Received: no site"):
        load_abide()
    np.savez(data_folder / ABIDE, **(abide_arrays() | {"label": np.zeros(3, np.uint8)}))
    with pytest.raises(ValueError, match=r"'label': \(3,\)"):
        load_abide()


@pytest.mark.parametrize("damage", [lambda content: content[:-100], lambda content: b"text"])
def test_corrupt_abide_is_named(data_folder: Path, damage: Any) -> None:
    path = data_folder / ABIDE
    np.savez(path, **abide_arrays())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"complete \.npz file"):
        load_abide()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "train", "test", "shape", "groups"),
    [
        ("ham10000", 4787, 1197, (64, 64, 3), 4787),
        ("abide", 828, 207, (200, 200, 1), 20),
    ],
)
def test_real_files_of_medicine(
    name: str,
    train: int,
    test: int,
    shape: tuple[int, ...],
    groups: int,
    reprogram_data: Path,
) -> None:
    target = load_target(name)
    assert str(reprogram_data) in target.origin
    assert (len(target.train_images), len(target.test_images)) == (train, test)
    assert target.target_shape == shape
    assert len(np.unique(target.train_groups)) == groups
