"""Loads an image folder with one subfolder per class as a target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_reprogram.arguments import image_size_or_none
from keras_reprogram.datasets.image_files import (
    DICOM_ADVICE,
    PICTURE_RANGE,
    decode_image,
    highest_level,
    image_facts,
    is_dicom,
)
from keras_reprogram.datasets.target_data import TargetData, split_train_test

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
# What the signature `image_bytes` of an export decodes.
SERVED_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png"))
# Bits that instruments use of 16.
DEPTHS = (8, 10, 12, 14, 16)
TEST_FOLDERS = ("test", "validation", "val")
TEST_FRACTION = 0.2

LabelledFiles = list[tuple[Path, int]]


def load_image_folder(
    folder: str | Path,
    *,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    target_range: tuple[float, float] | None = None,
) -> TargetData:
    """Loads a folder of class folders.

    Either `folder/<class>/*.jpg`, split 80/20 by class, or `folder/train/<class>/*.jpg` with a
    `test`, `validation` or `val` folder beside `train` (the first of these that is there is the
    test part). Images in folders inside a class folder count too; hidden files and files that are
    not images are left out. Images stay grey if all are grey. Images of one size keep it.

    Files of 16 bits (X-rays, microscopes) hold 10, 12, 14 or 16, which their highest level over the
    whole folder tells: with d bits the images are float32 in `target_range` (0, 2^d - 1), and a
    note says so. Programs, exports and `predict` keep that range.

    Args:
        folder: The folder.
        image_size: Side or `(height, width)` for images that come in several sizes; without it they
            get the median size, at most 224.
        seed: Decides the split where there is no test folder.
        target_range: `(low, high)` that the pixels are read in, as a model's program wants them;
            `None` for (0, 255), or the levels of 16-bit files.

    Returns:
        A `TargetData` with uint8 images, float32 in other ranges than (0, 255).

    Raises:
        ValueError: If the folder is missing, has fewer than two class folders, an empty class
            folder, a test class without training folder, an image that cannot be read, or
            files of 8 bits beside those of 16 that use more.

    Example:
        ```python
        import pathlib, tempfile
        from PIL import Image
        from keras_reprogram.datasets import load_image_folder

        folder = pathlib.Path(tempfile.mkdtemp())
        for name in ("cat", "dog"):
            (folder / name).mkdir()
            for number in range(5):
                Image.new("L", (8, 8), 40 * number).save(folder / name / f"{number}.png")
        target = load_image_folder(folder)
        print(target.train_images.shape, target.class_names)  # (8, 8, 8, 1) ('cat', 'dog')
        ```
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        packed = root.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")
        advice = "Unpack it, and pass the folder." if packed else "Check the path."
        raise ValueError(
            f"Expected a folder of class folders. Received: {str(folder)!r}, which is "
            f"{'not a folder' if root.exists() else 'missing'}. {advice}"
        )
    train_root, test_root, notes = _part_folders(root)
    class_names, train_files, ignored = _list_part(train_root)
    test_files: LabelledFiles = []
    if test_root is not None:
        _, test_files, ignored_too = _list_part(test_root, class_names)
        ignored += ignored_too
    if ignored:
        dicom = len(_dicom_files(root))
        of_them = f", {dicom} of them DICOM" if dicom else ""
        notes += (f"{ignored} file(s) that are not images were left out{of_them}.",)
    paths = [path for path, _ in train_files + test_files]
    images, target_range, decoding_notes = _decode(paths, image_size, target_range)
    labels = np.array([label for _, label in train_files + test_files], np.int64)
    if test_root is None:
        parts = split_train_test(images, labels, TEST_FRACTION, seed)
        notes += (f"No test folder: split 80/20 by class, seed {seed}.",)
    else:
        n = len(train_files)
        parts = (images[:n], labels[:n], images[n:], labels[n:])
    return TargetData(
        root.resolve().name,
        *parts,
        class_names=class_names,
        origin=f"{len(images):,} image files in the folder {root}.",
        notes=notes + decoding_notes,
        target_range=target_range,
    )


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _part_folders(root: Path) -> tuple[Path, Path | None, tuple[str, ...]]:
    folders = {path.name for path in _visible(root) if path.is_dir()}
    train = root / "train"
    if "train" not in folders or not any(path.is_dir() for path in _visible(train)):
        return root, None, ()
    test = next((name for name in TEST_FOLDERS if name in folders), None)
    others = sorted(folders - {"train", test})
    if test is None:
        # With other folders beside it and no test part, "train" is a class: the vehicle.
        return (root, None, ()) if others else (train, None, ())
    return train, root / test, tuple(f"The folder {name}/ was not used." for name in others)


def _image_files(folder: Path) -> tuple[list[Path], int]:
    files = [path for path in _visible(folder) if path.is_file()]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    return images, len(files) - len(images)


def _image_tree(folder: Path) -> tuple[list[Path], int]:
    images, ignored = _image_files(folder)
    for inner in _visible(folder):
        if inner.is_dir():
            more_images, more_ignored = _image_tree(inner)
            images, ignored = images + more_images, ignored + more_ignored
    return images, ignored


def _dicom_files(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES and is_dicom(path)
    ]


def _list_part(
    root: Path, known: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], LabelledFiles, int]:
    class_names = tuple(path.name for path in _visible(root) if path.is_dir())
    if len(class_names) < (2 if known is None else 1):
        raise ValueError(
            f"Expected {root} to hold a folder for each of two or more classes. "
            f"Received: {len(class_names)} folder(s). Put the images of each class in a folder of "
            "its own."
        )
    if known is not None and not set(class_names) <= set(known):
        raise ValueError(
            f"Expected the class folders of {root} to be among the training classes, "
            f"{list(known)}. "
            f"Received: {sorted(set(class_names) - set(known))}. Rename or remove them."
        )
    files: LabelledFiles = []
    ignored = 0
    for name in class_names:
        images, left_out = _image_tree(root / name)
        if not images and _dicom_files(root / name):
            raise ValueError(
                f"Expected image files in the class folder {root / name}. {DICOM_ADVICE}"
            )
        if not images:
            raise ValueError(
                f"Expected images in the class folder {root / name}. Received: none "
                f"({', '.join(sorted(IMAGE_SUFFIXES))}). Add images or remove the folder."
            )
        files += [(path, (known or class_names).index(name)) for path in images]
        ignored += left_out
    return class_names, files, ignored


class _Decoded(NamedTuple):
    images: np.ndarray
    target_range: tuple[float, float]
    notes: tuple[str, ...]


def _decode(
    paths: list[Path],
    image_size: int | tuple[int, int] | None,
    target_range: tuple[float, float] | None,
) -> _Decoded:
    facts = [image_facts(path) for path in paths]
    size, notes = choose_size([fact.size for fact in facts], image_size)
    if target_range is None:
        deep = [path for path, fact in zip(paths, facts, strict=True) if fact.is_deep]
        shallow = [path for path, fact in zip(paths, facts, strict=True) if not fact.is_deep]
        target_range, depth_notes = _range_of_levels(deep, shallow)
        notes += depth_notes
    grey = all(fact.is_grey for fact in facts)
    dtype = np.uint8 if target_range == PICTURE_RANGE else np.float32
    images = np.empty((len(paths), *size, 1 if grey else 3), dtype)
    for row, path in enumerate(paths):
        images[row] = decode_image(path, str(path), grey=grey, size=size, target_range=target_range)
    return _Decoded(images, target_range, notes + _not_served(paths))


def _range_of_levels(
    deep: list[Path], shallow: list[Path]
) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Value range of 16-bit files, from the bits that their highest level uses."""
    if not deep:
        return PICTURE_RANGE, ()
    highest = sorted(map(highest_level, deep))
    depth = next(depth for depth in DEPTHS if highest[-1] < 2**depth)
    if depth > 8 and shallow:
        raise ValueError(
            "Expected all files of a folder to have 8 bits, or all 16. Received: "
            f"{len(deep):,} of 16 bits with levels up to {highest[-1]:,}, such as {deep[0]}, and "
            f"{len(shallow):,} of 8 bits, such as {shallow[0]}. Their brightness cannot be "
            f"compared: save all of them with the same number of bits."
        )
    return (0.0, 2.0**depth - 1), (
        f"{len(deep):,} files of 16 bits were read as {depth} bits, 0..{2**depth - 1:,}: the "
        f"highest level is {highest[-1]:,}, half of the files reach "
        f"{highest[len(highest) // 2]:,}.",
    )


def _not_served(paths: list[Path]) -> tuple[str, ...]:
    kinds = sorted({path.suffix.lower() for path in paths} - SERVED_SUFFIXES)
    if not kinds:
        return ()
    return (
        f"An exported model takes JPEG, PNG and plain BMP files, not {', '.join(kinds)}: save the "
        "images that it will classify as PNG.",
    )


LARGEST_SIDE = 224


def choose_size(
    sizes: Sequence[tuple[int, int]], image_size: int | tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """The common `(height, width)` of images, and notes about the resizing."""
    # Images of equal size keep it. Others get `image_size`, or by default the median height and
    # width, both scaled down by one factor if the longer one exceeds 224.
    asked = image_size_or_none(image_size)
    if len(set(sizes)) == 1:
        return sizes[0], ()
    chosen = asked or _median(sizes)
    low, high = np.min(sizes, axis=0), np.max(sizes, axis=0)
    return chosen, (
        f"Images of different sizes (heights {low[0]} to {high[0]}, widths {low[1]} to {high[1]}) "
        f"were resized to {chosen[0]}x{chosen[1]}.",
    )


def _median(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    height, width = np.median(sizes, axis=0)
    shrink = min(1.0, LARGEST_SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))
