"""The data sets with a name: from files that these tests write, or through Keras."""

import gzip
import io
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_reprogram.datasets import (
    KNOWN_TARGETS,
    load_cifar10,
    load_digits,
    load_gtsrb,
    load_gtsrb_tracks,
    load_mnist,
    load_target,
    split_validation,
)
from keras_reprogram.datasets.cifar import CLASS_NAMES

LABELS = np.arange(40) % 10


def write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


def write_mnist(folder: Path, prefix: str, labels: np.ndarray) -> None:
    images = np.broadcast_to(labels[:, None, None] * 20, (len(labels), 28, 28))
    write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
    write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", labels)


def write_cifar10(path: Path, train_copies: int = 2) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README", "not an image")
        for part, copies in (("train", train_copies), ("test", 1)):
            for label, name in enumerate(CLASS_NAMES):
                for copy in range(copies):
                    file = io.BytesIO()
                    Image.new("RGB", (32, 32), (label * 20, copy, 0)).save(file, "JPEG")
                    archive.writestr(f"{part}/{name}/{copy:04}.jpg", file.getvalue())


def gtsrb_arrays() -> dict[str, np.ndarray]:
    labels = np.repeat(np.arange(43), 4)
    return {
        "train_image": np.zeros((172, 32, 32, 3), np.uint8),
        "train_label": labels.astype(np.uint8),
        "train_track": np.tile([0, 0, 1, 1], 43).astype(np.uint16),
        "test_image": np.zeros((43, 32, 32, 3), np.uint8),
        "test_label": np.arange(43, dtype=np.uint8),
    }


def no_network(*_: object) -> None:
    raise Exception("URL fetch failure")


def test_digits_have_a_fixed_stratified_split() -> None:
    digits = load_digits()
    assert digits.train_images.shape == (1257, 8, 8, 1)
    assert digits.test_images.shape == (540, 8, 8, 1)
    assert digits.train_images.dtype == np.uint8
    assert digits.train_images.max() == 255
    assert np.ptp(np.bincount(digits.test_labels)) <= 3
    assert np.array_equal(digits.test_images, load_digits().test_images)
    assert digits.test_labels[:12].tolist() == load_digits().test_labels[:12].tolist()


def test_mnist_test_files_alone_are_split_and_noted(data_folder: Path) -> None:
    write_mnist(data_folder, "t10k", LABELS)
    target = load_mnist()
    assert target.train_images.shape == (32, 28, 28, 1)
    assert target.test_images.shape == (8, 28, 28, 1)
    assert np.array_equal(target.train_images[:, 0, 0, 0], target.train_labels * 20)
    assert "32 / 8" in target.notes[0]
    assert str(data_folder / "t10k-images-idx3-ubyte.gz") in target.origin


def test_four_mnist_files_give_the_official_split(data_folder: Path) -> None:
    write_mnist(data_folder, "t10k", LABELS)
    write_mnist(data_folder, "train", np.arange(60) % 10)
    target = load_mnist()
    assert (len(target.train_images), len(target.test_images)) == (60, 40)
    assert target.notes == ()


def test_mnist_train_files_alone_are_refused(data_folder: Path) -> None:
    write_mnist(data_folder, "train", LABELS)
    with pytest.raises(ValueError, match="Put the t10k files into the same folder"):
        load_mnist()


def test_mnist_images_without_labels_are_refused(data_folder: Path) -> None:
    write_mnist(data_folder, "t10k", LABELS)
    (data_folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match="no t10k-labels-idx1-ubyte.gz"):
        load_mnist()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-20], "complete gzip file"),
        (lambda content: b"plain text", "complete gzip file"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-5]), "as its header says"),
        (lambda content: gzip.compress(b"plain text"), "IDX file"),
        (lambda content: gzip.compress(b""), "IDX file"),
    ],
)
def test_corrupt_mnist_file_is_named(data_folder: Path, damage: object, message: str) -> None:
    write_mnist(data_folder, "t10k", LABELS)
    path = data_folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        load_mnist()
    assert str(path) in str(caught.value)


def test_mnist_files_of_different_lengths_are_refused(data_folder: Path) -> None:
    write_mnist(data_folder, "t10k", LABELS)
    write_idx(data_folder / "t10k-labels-idx1-ubyte.gz", LABELS[:30])
    with pytest.raises(ValueError, match="40 images and 30 labels"):
        load_mnist()


def test_cifar10_zip_is_read_and_called_lossy(data_folder: Path) -> None:
    write_cifar10(data_folder / "cifar10_jpg.zip")
    target = load_cifar10()
    assert target.train_images.shape == (20, 32, 32, 3)
    assert target.test_labels.tolist() == list(range(10))
    assert np.allclose(target.test_images[:, 5, 5, 0], np.arange(10) * 20, atol=2)
    assert "Lossy JPEG" in target.notes[0]
    assert "cifar10_jpg.zip" in target.origin


def test_truncated_zip_is_named(data_folder: Path) -> None:
    path = data_folder / "cifar10_jpg.zip"
    write_cifar10(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match="cifar10_jpg.zip to be a complete zip file"):
        load_cifar10()


def test_corrupt_image_in_a_zip_is_named(data_folder: Path) -> None:
    path = data_folder / "cifar10_jpg.zip"
    write_cifar10(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train/cat/9999.jpg", b"not a picture")
    with pytest.raises(ValueError, match="cifar10_jpg.zip/train/cat/9999.jpg.*readable image"):
        load_cifar10()


def test_zip_with_a_foreign_class_is_refused(data_folder: Path) -> None:
    path = data_folder / "cifar10_jpg.zip"
    write_cifar10(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train/unicorn/0000.jpg", b"")
    with pytest.raises(ValueError, match="Received: 'unicorn'"):
        load_cifar10()


def test_zip_without_a_part_is_refused(data_folder: Path) -> None:
    write_cifar10(data_folder / "cifar10_jpg.zip", train_copies=0)
    with pytest.raises(ValueError, match="no image for airplane, automobile"):
        load_cifar10()


def test_gtsrb_tracks_are_numbered_across_classes(data_folder: Path) -> None:
    np.savez(data_folder / "gtsrb_32_sub.npz", **gtsrb_arrays())
    target, tracks = load_gtsrb(), load_gtsrb_tracks()
    assert len(target.class_names) == 43
    assert len(np.unique(tracks)) == 86
    assert np.array_equal(tracks, target.train_groups)
    train, validation = split_validation(target.train_images, target.train_labels, groups=tracks)
    assert not set(tracks[train]) & set(tracks[validation])
    assert set(target.train_labels[train]) == set(range(43))


def test_gtsrb_without_an_array_is_refused(data_folder: Path) -> None:
    arrays = gtsrb_arrays()
    del arrays["train_track"]
    np.savez(data_folder / "gtsrb_32_sub.npz", **arrays)
    with pytest.raises(ValueError, match="gtsrb_32_sub.npz.*Received: no train_track"):
        load_gtsrb()


@pytest.mark.parametrize("damage", [lambda content: content[:-100], lambda content: b"text"])
def test_corrupt_npz_is_named(data_folder: Path, damage: object) -> None:
    path = data_folder / "gtsrb_32_sub.npz"
    np.savez(path, **gtsrb_arrays())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="gtsrb_32_sub.npz to be a complete .npz file"):
        load_gtsrb()


def test_npy_in_place_of_npz_is_named(data_folder: Path) -> None:
    np.save(data_folder / "x.npy", np.zeros(3))
    (data_folder / "x.npy").rename(data_folder / "gtsrb_32_sub.npz")
    with pytest.raises(ValueError, match="gtsrb_32_sub.npz to be a complete .npz file"):
        load_gtsrb()


def test_gtsrb_has_no_download(data_folder: Path) -> None:
    with pytest.raises(ValueError, match="gtsrb_32_sub.npz.*KERAS_REPROGRAM_DATA"):
        load_gtsrb()


@pytest.mark.parametrize(
    ("name", "file", "shape"),
    [("mnist", "t10k-images-idx3-ubyte.gz", (28, 28)), ("cifar10", "cifar10_jpg.zip", (32, 32, 3))],
)
def test_keras_is_asked_without_a_file(
    name: str,
    file: str,
    shape: tuple[int, ...],
    data_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images, labels = np.zeros((40, *shape), np.uint8), LABELS.reshape(40, *[1] * (len(shape) - 2))

    def from_keras() -> object:
        print("Downloading")
        return (images, labels), (images[:10], labels[:10])

    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", from_keras)
    target = load_target(name)
    assert target.target_shape == (*shape, 1)[:3]
    assert target.train_labels.tolist() == LABELS.tolist()
    assert f"keras.datasets.{name}" in target.origin
    assert capsys.readouterr() == ("", "Downloading\n")

    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", no_network)
    with pytest.raises(ConnectionError, match="URL fetch failure.*KERAS_REPROGRAM_DATA") as caught:
        load_target(name)
    assert file in str(caught.value)


def test_variable_that_is_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_REPROGRAM_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="KERAS_REPROGRAM_DATA to name a folder"):
        load_mnist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "train", "test", "shape"),
    [
        ("mnist", 8000, 2000, (28, 28, 1)),
        ("cifar10", 10000, 10000, (32, 32, 3)),
        ("gtsrb", 9803, 4210, (32, 32, 3)),
    ],
)
def test_real_files(
    name: str, train: int, test: int, shape: tuple[int, ...], reprogram_data: Path
) -> None:
    target = KNOWN_TARGETS[name]()
    assert str(reprogram_data) in target.origin
    assert (len(target.train_images), len(target.test_images)) == (train, test)
    assert target.target_shape == shape
    assert len(np.unique(target.test_labels)) == len(target.class_names)


@pytest.mark.slow
def test_real_tracks(reprogram_data: Path) -> None:
    tracks = load_gtsrb_tracks()
    assert len(np.unique(tracks)) == 1307
    labels = load_gtsrb().train_labels
    assert all(len(np.unique(labels[tracks == track])) == 1 for track in range(1307))
