"""Loads an image folder with one subfolder per class as a target."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_reprogram.asking.image_reading import ImageReading
from keras_reprogram.datasets.image_files import IMAGE_SUFFIXES, is_image_file
from keras_reprogram.datasets.image_groups import groups_of_files
from keras_reprogram.datasets.listed_images import ListedImages, with_groups
from keras_reprogram.datasets.parts import Part
from keras_reprogram.datasets.target_data import Draw, TargetData

TEST_FOLDERS = ("test", "validation", "val")

LabelledFiles = list[tuple[Path, int]]


def load_image_folder(
    folder: str | Path,
    *,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    target_range: tuple[float, float] | None = None,
    groups: str | Path | None = None,
    draw: Draw | None = None,
    fit: str = "stretch",
    reading: ImageReading | None = None,
) -> TargetData:
    """Loads a folder of class folders.

    Either `folder/<class>/*.jpg`, split 80/20 by class, or `folder/train/<class>/*.jpg` with a
    `test`, `validation` or `val` folder beside `train`: the first of these that is there is the
    test part, and `validation` or `val` beside `test` is held out to choose by. Images in folders
    inside a class folder count too; hidden files and files that are not images are left out. Images
    stay grey if all are grey. Images of one size keep it.

    Files of 16 bits (X-rays, microscopes) hold 10, 12, 14 or 16, which their highest level over the
    whole folder tells: with d bits the images are float32 in `target_range` (0, 2^d - 1). Where the
    training images fill less than half of that, each but for 0.5 % of its pixels at either end,
    it is the window that they fill. A note says so. Programs, exports and `predict` keep it.

    DICOM files (extra `dicom`) are rescaled, shown in the window that they state, or, if some state
    none, in the window that the training images fill, and MONOCHROME1 is inverted: they are
    pictures of 8 bits then. Without `groups` the images of one PatientID, of which a hash is
    taken, are a group.

    Of NIfTI files (extra `nifti`) it is a file's only slice, or the middle axial one of a volume,
    in the window `cal_min` to `cal_max` that it states; the rest is as with DICOM. A patient is
    not named in them: pass `groups` if several are of one.

    Args:
        folder: The folder.
        image_size: Side or `(height, width)` for images that come in several sizes; without it they
            get the median size, at most 224.
        seed: Decides the split where there is no test folder.
        target_range: `(low, high)` that the pixels are read in, as a model's program wants them;
            `None` for (0, 255), or the levels of 16-bit files.
        groups: A CSV file with the columns `path` (from `folder` on) and `group`: images of one
            group, such as a patient's, stay in one part. Every image must be in it.
        draw: How many images are wanted, as `TargetData.draw` draws them; only these are opened.
        fit: `"stretch"`, `"crop"` or `"pad"`: what becomes of images whose aspect ratio is not the
            target's. A warning says how many were stretched.
        reading: The `image_reading` of a target or a model, to read other files like its own;
            `fit` and all that is found over a folder is in it.

    Returns:
        A `TargetData` with uint8 images, float32 in other ranges than (0, 255).

    Raises:
        ValueError: If the folder is missing, has fewer than two class folders, an empty class
            folder, a test class without training folder, an image that cannot be read, files of 8
            bits beside those of 16 that use more, an image without a group, or a group in two
            parts.

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
    listed = _listed(root)
    if groups is not None:
        listed = with_groups(listed, groups_of_files(Path(groups), root, listed.paths))
    return listed.read(
        image_size=image_size,
        seed=seed,
        target_range=target_range,
        draw=draw,
        fit=fit,
        reading=reading,
    )


def _listed(root: Path) -> ListedImages:
    """The files of a folder with their classes and parts."""
    folders, notes = _part_folders(root)
    class_names, files, ignored = _list_part(folders[Part.TRAIN])
    parts = [Part.TRAIN] * len(files)
    for part in (Part.VALIDATION, Part.TEST):
        if part in folders:
            _, more, left_out = _list_part(folders[part], class_names)
            files, ignored, parts = files + more, ignored + left_out, parts + [part] * len(more)
    if ignored:
        notes += (f"{ignored} file(s) that are not images were left out.",)
    return ListedImages(
        root.resolve().name,
        tuple(path for path, _ in files),
        np.array([label for _, label in files], np.int64),
        class_names,
        origin=f"{len(files):,} image files in the folder {root}.",
        parts=tuple(parts) if len(folders) > 1 else None,
        notes=notes,
    )


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _part_folders(root: Path) -> tuple[dict[Part, Path], tuple[str, ...]]:
    """The folder of each part, the training part always, and notes."""
    folders = {path.name for path in _visible(root) if path.is_dir()}
    train = root / "train"
    if "train" not in folders or not any(path.is_dir() for path in _visible(train)):
        return {Part.TRAIN: root}, ()
    found = [name for name in TEST_FOLDERS if name in folders]
    others = sorted(folders - {"train", *found[:2]})
    if not found:
        # With other folders beside it and no test part, "train" is a class: the vehicle.
        return {Part.TRAIN: root if others else train}, ()
    parts = {Part.TRAIN: train, Part.TEST: root / found[0]}
    if len(found) > 1 and found[0] == Part.TEST:
        parts[Part.VALIDATION] = root / found[1]
    else:
        others = sorted(folders - {"train", found[0]})
    notes = tuple(f"The folder {name}/ was not used." for name in others)
    if found[0] != Part.TEST:
        notes += (f"No test folder: {found[0]}/ is the test part.",)
    return parts, notes


def _image_files(folder: Path) -> tuple[list[Path], int]:
    files = [path for path in _visible(folder) if path.is_file()]
    images = [path for path in files if is_image_file(path)]
    return images, len(files) - len(images)


def _image_tree(folder: Path) -> tuple[list[Path], int]:
    images, ignored = _image_files(folder)
    for inner in _visible(folder):
        if inner.is_dir():
            more_images, more_ignored = _image_tree(inner)
            images, ignored = images + more_images, ignored + more_ignored
    return images, ignored


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
        if not images:
            raise ValueError(
                f"Expected images in the class folder {root / name}. Received: none "
                f"({', '.join(sorted(IMAGE_SUFFIXES))}, DICOM, NIfTI). Add images or remove the "
                "folder."
            )
        files += [(path, (known or class_names).index(name)) for path in images]
        ignored += left_out
    return class_names, files, ignored
