"""Fashion-MNIST: clothes of 28x28."""

import keras
import numpy as np

from keras_reprogram.datasets.data_folder import VARIABLE, data_file, download
from keras_reprogram.datasets.idx_file import read_idx
from keras_reprogram.datasets.target_data import TargetData
from keras_reprogram.datasets.tfds_target import load_prepared_tfds

CLASS_NAMES = (
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
        return load_prepared_tfds("fashion_mnist") or _from_keras()
    missing = [name for name in FILE_NAMES if not (folder / name).exists()]
    if missing:
        raise ValueError(
            f"Expected {folder} to hold {', '.join(FILE_NAMES)}. Received: no "
            f"{', '.join(missing)}. Put them there too."
        )
    arrays = [read_idx(folder / name, rank=3 if "idx3" in name else 1) for name in FILE_NAMES]
    train_images, train_labels, test_images, test_labels = arrays
    return _target(train_images, train_labels, test_images, test_labels, f"The files in {folder}.")


def _from_keras() -> TargetData:
    (train_images, train_labels), (test_images, test_labels) = download(
        "fashion_mnist",
        keras.datasets.fashion_mnist.load_data,
        f"the folder {FOLDER} with {', '.join(FILE_NAMES)}",
    )
    origin = f"Fashion-MNIST through keras.datasets.fashion_mnist (no files in {VARIABLE})."
    return _target(train_images, train_labels, test_images, test_labels, origin)


def _target(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    origin: str,
) -> TargetData:
    return TargetData(
        "fashion_mnist",
        train_images[..., None],
        train_labels.astype(np.int64),
        test_images[..., None],
        test_labels.astype(np.int64),
        class_names=CLASS_NAMES,
        origin=origin,
    )
