"""Folders of class folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_reprogram.datasets import load_image_folder


def write_image(path: Path, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 90 if mode in ("L", "I;16") else (10, 20, 200)).save(path)


def write_classes(root: Path, copies: int = 5, **arguments: object) -> None:
    for name in ("cat", "dog"):
        for copy in range(copies):
            write_image(root / name / f"{copy}.png", **arguments)


def test_class_folders_are_split_stratified_and_seeded(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets", copies=10)
    target = load_image_folder(tmp_path / "pets", seed=3)
    assert target.name == "pets"
    assert target.class_names == ("cat", "dog")
    assert target.train_images.shape == (16, 4, 6, 3)
    assert np.bincount(target.test_labels).tolist() == [2, 2]
    assert target.train_images[0, 0, 0].tolist() == [10, 20, 200]
    assert target.notes == ("No test folder: split 80/20 by class, seed 3.",)
    assert str(tmp_path / "pets") in target.origin


@pytest.mark.parametrize("test_name", ["test", "validation", "val"])
def test_train_and_test_folders_are_kept_apart(tmp_path: Path, test_name: str) -> None:
    write_classes(tmp_path / "train", copies=3)
    write_classes(tmp_path / test_name, copies=2)
    target = load_image_folder(tmp_path)
    assert target.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert target.test_labels.tolist() == [0, 0, 1, 1]
    assert target.notes == ()


def test_test_labels_are_those_of_the_training_classes(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_image(tmp_path / "test" / "dog" / "0.png")
    assert load_image_folder(tmp_path).test_labels.tolist() == [1]


def test_folders_beside_train_and_test_are_noted(tmp_path: Path) -> None:
    for part in ("train", "test", "val"):
        write_classes(tmp_path / part)
    assert load_image_folder(tmp_path).notes == ("The folder val/ was not used.",)


def test_train_folder_alone_is_split(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    target = load_image_folder(tmp_path)
    assert target.class_names == ("cat", "dog")
    assert len(target.test_images) == 2


def test_class_called_train(tmp_path: Path) -> None:
    for copy in range(5):
        write_image(tmp_path / "bus" / f"{copy}.png")
        write_image(tmp_path / "train" / f"{copy}.png")
    assert load_image_folder(tmp_path).class_names == ("bus", "train")


def test_grey_stays_grey_and_one_colour_image_makes_all_colour(tmp_path: Path) -> None:
    write_classes(tmp_path, mode="L")
    assert load_image_folder(tmp_path).target_shape == (4, 6, 1)
    write_image(tmp_path / "cat" / "colour.png")
    assert load_image_folder(tmp_path).target_shape == (4, 6, 3)


def test_sizes_that_agree_are_kept(tmp_path: Path) -> None:
    write_classes(tmp_path, size=(300, 2))
    assert load_image_folder(tmp_path, image_size=8).target_shape == (2, 300, 3)


@pytest.mark.parametrize(
    ("image_size", "shape"), [(None, (4, 6, 3)), (8, (8, 8, 3)), ((5, 7), (5, 7, 3))]
)
def test_sizes_that_differ_become_one(tmp_path: Path, image_size: object, shape: object) -> None:
    write_classes(tmp_path)
    write_image(tmp_path / "cat" / "big.png", size=(60, 40))
    target = load_image_folder(tmp_path, image_size=image_size)
    assert target.target_shape == shape
    assert any("heights 4 to 40, widths 6 to 60" in note for note in target.notes)


def test_median_size_is_capped(tmp_path: Path) -> None:
    write_classes(tmp_path, size=(448, 100))
    write_image(tmp_path / "cat" / "small.png", size=(10, 10))
    assert load_image_folder(tmp_path).target_shape == (50, 224, 3)


@pytest.mark.parametrize("image_size", [0, (3,), (3, 0), 2.5, "8"])
def test_bad_image_size_is_refused(tmp_path: Path, image_size: object) -> None:
    write_classes(tmp_path)
    with pytest.raises(ValueError, match="positive integer or"):
        load_image_folder(tmp_path, image_size=image_size)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("cat", "dog"):
        for copy in range(3):
            path = tmp_path / name / f"{copy}.jpg"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (6, 4)).save(path, exif=exif)
    assert load_image_folder(tmp_path).target_shape == (6, 4, 3)


def test_sixteen_bit_images_are_scaled(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for copy in range(3):
            path = tmp_path / name / f"{copy}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.full((4, 6), 128 * 256, np.uint16)).save(path)
    target = load_image_folder(tmp_path)
    assert target.target_shape == (4, 6, 1)
    assert np.unique(target.train_images).tolist() == [128]


def test_images_without_a_fixed_range_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path)
    Image.fromarray(np.ones((4, 6), np.float32)).save(tmp_path / "cat" / "float.tif")
    with pytest.raises(ValueError, match="float.tif.*save it with 8 bits"):
        load_image_folder(tmp_path)


def test_hidden_and_foreign_files_are_left_out(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cat" / "._0.png").write_bytes(b"x")
    (tmp_path / "cat" / "notes.txt").write_text("x")
    write_image(tmp_path / "dog" / "more" / "deep.png")
    target = load_image_folder(tmp_path)
    assert len(target.train_images) + len(target.test_images) == 11
    assert "1 file(s) that are not images were left out." in target.notes


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_corrupt_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    write_classes(tmp_path, size=(60, 40))
    path = tmp_path / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    with pytest.raises(ValueError, match="3.png to be a readable image"):
        load_image_folder(tmp_path)


def test_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "fish").mkdir()
    with pytest.raises(ValueError, match="class folder .*fish. Received: none"):
        load_image_folder(tmp_path)


def test_test_class_that_is_not_trained_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_image(tmp_path / "test" / "fish" / "0.png")
    with pytest.raises(ValueError, match=r"Received: \['fish'\]"):
        load_image_folder(tmp_path)


def test_folder_without_classes_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "0.png")
    with pytest.raises(ValueError, match="two or more classes. Received: 0"):
        load_image_folder(tmp_path)


def test_single_images_leave_nothing_to_test(tmp_path: Path) -> None:
    write_classes(tmp_path, copies=1)
    with pytest.raises(ValueError, match="at least two images"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize(("name", "what"), [("nowhere", "missing"), ("file", "not a folder")])
def test_missing_folder_is_named(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=f"{name}', which is {what}"):
        load_image_folder(tmp_path / name)
