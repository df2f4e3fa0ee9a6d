"""MNIST: handwritten digits of 28x28."""

from pathlib import Path

import keras
import numpy as np

from keras_reprogram.datasets.data_folder import VARIABLE, data_file, download
from keras_reprogram.datasets.idx_file import read_idx
from keras_reprogram.datasets.split import split_train_test
from keras_reprogram.datasets.target_data import TargetData
from keras_reprogram.datasets.tfds_target import load_prepared_tfds

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
            f"named by {VARIABLE}. "
            "Received: the train files alone. Put the t10k files beside them."
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
            f"Expected {images_path} and {labels_path} to have one label an image. "
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
    (train_images, train_labels), (test_images, test_labels) = download(
        "mnist",
        keras.datasets.mnist.load_data,
        "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz (and, for the official split, "
        "train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz)",
    )
    return TargetData(
        "mnist",
        train_images[..., None],
        train_labels.astype(np.int64),
        test_images[..., None],
        test_labels.astype(np.int64),
        class_names=CLASS_NAMES,
        origin="MNIST through keras.datasets.mnist (60,000 training and 10,000 test images).",
    )
