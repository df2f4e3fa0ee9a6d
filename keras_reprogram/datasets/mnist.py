"""MNIST and Fashion-MNIST: grey images of 28x28."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from keras_reprogram.datasets.original_files import VARIABLE, data_file, download
from keras_reprogram.datasets.target_data import TargetData, published_target, split_train_test
from keras_reprogram.datasets.tfds import load_prepared_tfds

CLASS_NAMES = tuple(str(digit) for digit in range(10))
TEST_FRACTION = 0.2
SPLIT_SEED = 0


def load_mnist() -> TargetData:
    """Loads MNIST from IDX files in `KERAS_REPROGRAM_DATA`, a prepared TFDS set, or through Keras.

    With the four published files the official parts are used. With the `t10k` files alone, their
    10,000 images are split 8,000 / 2,000, always in the same way, and a note says so. With none of
    them, what TensorFlow Datasets prepared before is used, else `keras.datasets.mnist` finds or
    downloads the data.

    Returns:
        A `TargetData` of shape (28, 28, 1).

    Raises:
        ValueError: If a file is corrupt, or if only one of a pair of files is there.
        ConnectionError: If there are no files and the download fails.

    Example:
        ```python
        import os
        from keras_reprogram.datasets import load_mnist

        if "KERAS_REPROGRAM_DATA" in os.environ:
            print(load_mnist().origin)
        ```
    """
    train, test = _pair("train"), _pair("t10k")
    if test is None and train is None:
        return load_prepared_tfds("mnist") or _from_keras()
    if test is None:
        raise ValueError(
            "Expected t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz in the folder "
            f"named by {VARIABLE}. Received: only the train files. Put the t10k files into the "
            f"same folder."
        )
    if train is None:
        return _from_test_files(*test)
    return TargetData(
        "mnist",
        *_read_pair(*train),
        *_read_pair(*test),
        class_names=CLASS_NAMES,
        origin=f"The MNIST files {train[0]} and {test[0]} with their label files.",
    )


def _pair(prefix: str) -> tuple[Path, Path] | None:
    names = (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    images, labels = (data_file(name) for name in names)
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        missing = names[0] if images is None else names[1]
        raise ValueError(
            f"Expected images and labels of MNIST in the folder named by {VARIABLE}. "
            f"Received: no {missing}. Put it there too."
        )
    return images, labels


def _read_pair(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read_idx(images_path, rank=3), read_idx(labels_path, rank=1)
    if len(images) != len(labels):
        raise ValueError(
            f"Expected {images_path} and {labels_path} to have one label per image. "
            f"Received: {len(images)} images and {len(labels)} labels. Fetch both again."
        )
    return images[..., None], labels.astype(np.int64)


def _from_test_files(images_path: Path, labels_path: Path) -> TargetData:
    images, labels = _read_pair(images_path, labels_path)
    parts = split_train_test(images, labels, TEST_FRACTION, SPLIT_SEED)
    return TargetData(
        "mnist",
        *parts,
        class_names=CLASS_NAMES,
        origin=f"The MNIST test file {images_path}, divided into a training and a test part.",
        notes=(
            f"Not the official split: the {len(images):,} images of the MNIST test file, "
            f"split {len(parts[0]):,} / {len(parts[2]):,}; the MNIST train files were not found.",
        ),
    )


def _from_keras() -> TargetData:
    files = (
        "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz (and, for the official split, "
        "train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz)"
    )
    return published_target(
        "mnist",
        download("mnist", files),
        CLASS_NAMES,
        "MNIST through keras.datasets.mnist (60,000 training and 10,000 test images).",
    )


FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# The files have the names of MNIST's, so that they need a folder of their own.
FOLDER = "fashion_mnist"
FILE_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def load_fashion_mnist() -> TargetData:
    """Loads Fashion-MNIST: its four files, a prepared TFDS set, or through Keras.

    The files (`train-images-idx3-ubyte.gz` and so on) are looked for in the folder `fashion_mnist`
    in `KERAS_REPROGRAM_DATA`.

    Returns:
        A `TargetData` of shape (28, 28, 1): 60,000 training and 10,000 test images.

    Raises:
        ValueError: If one of the files is missing or corrupt.
        ConnectionError: If there are none and the download fails.

    Example:
        ```python
        from keras_reprogram.datasets import load_fashion_mnist

        try:
            print(load_fashion_mnist().class_names[9])  # Ankle boot
        except ConnectionError as error:
            print(error)
        ```

    References:
        Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
        Learning Algorithms", 2017.
    """
    folder = data_file(FOLDER)
    if folder is None:
        return load_prepared_tfds("fashion_mnist") or _fashion_from_keras()
    missing = [name for name in FILE_NAMES if not (folder / name).exists()]
    if missing:
        raise ValueError(
            f"Expected {folder} to hold {', '.join(FILE_NAMES)}. Received: no "
            f"{', '.join(missing)}. Put them there too."
        )
    arrays = [read_idx(folder / name, rank=3 if "idx3" in name else 1) for name in FILE_NAMES]
    parts = (arrays[:2], arrays[2:])
    return published_target(FOLDER, parts, FASHION_CLASSES, f"The files in {folder}.")


def _fashion_from_keras() -> TargetData:
    expected = f"the folder {FOLDER} with {', '.join(FILE_NAMES)}"
    return published_target(
        FOLDER,
        download(FOLDER, expected),
        FASHION_CLASSES,
        f"Fashion-MNIST through keras.datasets.fashion_mnist (no files in {VARIABLE}).",
    )


def read_idx(path: Path, rank: int) -> np.ndarray:
    """Reads a gzipped IDX file of unsigned bytes with `rank` axes."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"Expected {path} to be a complete gzip file. Received: {error}. Fetch it again."
        ) from error
    magic, header_size = bytes([0, 0, 8, rank]), 4 + 4 * rank
    if content[:4] != magic or len(content) < header_size:
        raise ValueError(
            f"Expected {path} to be an IDX file of unsigned bytes with {rank} axes (first bytes "
            f"{magic!r}). Received: {content[:4]!r}. Check that images and labels are not swapped."
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", count=rank, offset=4))
    values = np.frombuffer(content, np.uint8, offset=header_size)
    if values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(
            f"Expected {path} to hold {shape} values, as its header says. "
            f"Received: {values.size} bytes. Fetch it again."
        )
    return values.reshape(shape).copy()
