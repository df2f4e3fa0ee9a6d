"""CIFAR-100: photographs of 32x32 in a hundred classes."""

from pathlib import Path

import keras
import numpy as np

from keras_reprogram.datasets.data_folder import download
from keras_reprogram.datasets.target_data import TargetData
from keras_reprogram.datasets.tfds_target import load_prepared_tfds

# The fine labels, in the order of the published files.
CLASS_NAMES = tuple(Path(__file__).with_name("cifar100_classes.txt").read_text().split())


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
    (train_images, train_labels), (test_images, test_labels) = download(
        "cifar100", keras.datasets.cifar100.load_data, None
    )
    return TargetData(
        "cifar100",
        train_images,
        train_labels.ravel().astype(np.int64),
        test_images,
        test_labels.ravel().astype(np.int64),
        class_names=CLASS_NAMES,
        origin="CIFAR-100 through keras.datasets.cifar100.",
    )
