"""CIFAR-10 and CIFAR-100: photographs of 32x32."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from keras_reprogram.datasets.image_files import decode_image
from keras_reprogram.datasets.original_files import data_file, download
from keras_reprogram.datasets.target_data import TargetData, published_target
from keras_reprogram.datasets.tfds import load_prepared_tfds

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
FILE_NAME = "cifar10_jpg.zip"
IMAGE_SIZE = (32, 32)


def load_cifar10() -> TargetData:
    """Loads CIFAR-10: `cifar10_jpg.zip` in `KERAS_REPROGRAM_DATA`, a TFDS set, or through Keras.

    The zip holds `train/<class>/*.jpg` and `test/<class>/*.jpg`. Those images are lossy JPEG copies
    and may be fewer than the original 60,000; a note says so.

    Returns:
        A `TargetData` of shape (32, 32, 3).

    Raises:
        ValueError: If the zip or one of its images is corrupt, or if a class is missing.
        ConnectionError: If there is no zip and the download fails.

    Example:
        ```python
        import os
        from keras_reprogram.datasets import load_cifar10

        if "KERAS_REPROGRAM_DATA" in os.environ:
            print(load_cifar10().notes)
        ```
    """
    path = data_file(FILE_NAME)
    if path is None:
        return load_prepared_tfds("cifar10") or _from_keras()
    try:
        with zipfile.ZipFile(path) as archive:
            parts = (*_read_part(archive, path, "train"), *_read_part(archive, path, "test"))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(
            f"Expected {path} to be a complete zip file. Received: {error}. Fetch it again."
        ) from error
    return TargetData(
        "cifar10",
        *parts,
        class_names=CLASS_NAMES,
        origin=f"JPEG copies of CIFAR-10 images in {path}.",
        notes=(
            f"Lossy JPEG copies: {len(parts[0]):,} training and {len(parts[2]):,} test images, "
            "not comparable bit for bit with the original CIFAR-10.",
        ),
    )


def _read_part(archive: zipfile.ZipFile, path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for name in sorted(archive.namelist()):
        folders = PurePosixPath(name).parts
        if len(folders) != 3 or folders[0] != part or not name.lower().endswith(".jpg"):
            continue
        labels.append(_label(path, folders[1]))
        content = io.BytesIO(archive.read(name))
        images.append(decode_image(content, f"{path}/{name}", grey=False, size=IMAGE_SIZE))
    missing = [CLASS_NAMES[k] for k in sorted(set(range(len(CLASS_NAMES))) - set(labels))]
    if missing:
        raise ValueError(
            f"Expected {path} to hold {part}/<class>/*.jpg for the ten CIFAR-10 classes. "
            f"Received: no image for {', '.join(missing)}. Fetch it again."
        )
    return np.stack(images), np.array(labels, np.int64)


def _label(path: Path, folder: str) -> int:
    if folder not in CLASS_NAMES:
        raise ValueError(
            f"Expected the class folders of {path} to be {', '.join(CLASS_NAMES)}. "
            f"Received: {folder!r}."
        )
    return CLASS_NAMES.index(folder)


def _from_keras() -> TargetData:
    return published_target(
        "cifar10",
        download("cifar10", FILE_NAME),
        CLASS_NAMES,
        "CIFAR-10 through keras.datasets.cifar10 (50,000 training and 10,000 test images).",
    )


# The fine labels, in the order of the published files.
CIFAR100_CLASSES = tuple(Path(__file__).with_name("cifar100_classes.txt").read_text().split())


def load_cifar100() -> TargetData:
    """Loads CIFAR-100 from a prepared TFDS set, or through Keras.

    Returns:
        A `TargetData` of shape (32, 32, 3): 50,000 training and 10,000 test images.

    Raises:
        ConnectionError: If there is no prepared set and the download fails.

    Example:
        ```python
        from keras_reprogram.datasets import load_cifar100

        try:
            print(len(load_cifar100().class_names))  # 100
        except ConnectionError as error:
            print(error)
        ```

    References:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    prepared = load_prepared_tfds("cifar100")
    if prepared is not None:
        return prepared
    return published_target(
        "cifar100",
        download("cifar100", None),
        CIFAR100_CLASSES,
        "CIFAR-100 through keras.datasets.cifar100.",
    )
