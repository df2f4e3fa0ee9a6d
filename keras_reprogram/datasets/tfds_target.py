"""Any image classification data set of TensorFlow Datasets as a target."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from keras_reprogram.datasets.common_size import choose_size
from keras_reprogram.datasets.image_decoding import resize_image
from keras_reprogram.datasets.split import split_train_test
from keras_reprogram.datasets.target_data import TargetData

TEST_FRACTION = 0.2
INSTALL = 'pip install "keras-reprogram[datasets]"'


class UnknownTfdsNameError(ValueError):
    """Raised where TensorFlow Datasets lacks the data set, configuration or version.

    Example:
        ```python
        from keras_reprogram.datasets.tfds_target import UnknownTfdsNameError

        print(issubclass(UnknownTfdsNameError, ValueError))  # True
        ```
    """


def load_tfds(
    name: str, *, image_size: int | tuple[int, int] | None = None, seed: int = 0
) -> TargetData:
    """Loads a data set of images and class labels through tensorflow-datasets.

    The files are those in `TFDS_DATA_DIR` (or `~/tensorflow_datasets`), downloaded and prepared at
    the first use. The test part is the split `test`, else `validation`; without either, `train` is
    split 80/20.

    Args:
        name: A name in TensorFlow Datasets, for example `"beans"` or `"imagenet_resized/32x32"`.
        image_size: Side or `(height, width)` for images that come in several sizes; without it they
            get the median size, at most 224.
        seed: Decides the split where there is no test part.

    Returns:
        A `TargetData` with uint8 images.

    Raises:
        ImportError: If tensorflow-datasets (or a package that it needs) is not installed.
        ValueError: If there is no such data set, or if it does not consist of images and class
            labels.
        ConnectionError: If it is not prepared yet and cannot be downloaded.

    Example:
        ```python
        from keras_reprogram.datasets import load_tfds

        try:
            load_tfds("no_such_data_set")  # load_tfds("beans") would download 170 MB once
        except (ImportError, ValueError) as error:
            print(type(error).__name__)
        ```
    """
    builder = _prepared(name)
    image_key, label_key = _supervised_keys(name, builder)
    splits = builder.info.splits
    if "train" not in splits:
        raise ValueError(
            f"Expected the TFDS data set {name!r} to have a split 'train'. Received: "
            f"{sorted(splits)}."
        )
    test_split = next((split for split in ("test", "validation") if split in splits), None)
    wanted = ["train"] if test_split is None else ["train", test_split]
    size, notes = _size(builder, wanted, image_key, image_size)
    parts = [_read(builder, split, size) for split in wanted]
    if test_split is None:
        parts_of_train = split_train_test(*parts[0], TEST_FRACTION, seed)
        parts = [parts_of_train[:2], parts_of_train[2:]]
        notes += (f"No test split: 'train' was split 80/20 by class, seed {seed}.",)
    elif test_split == "validation":
        notes += ("No test split: the split 'validation' is the test part.",)
    return TargetData(
        name,
        *parts[0],
        *parts[1],
        class_names=tuple(builder.info.features[label_key].names),
        origin=f"TensorFlow Datasets {builder.info.full_name} in {builder.data_dir}.",
        notes=notes,
    )


def _import_tfds() -> Any:
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise ImportError(
            f"Expected the package tensorflow-datasets. Received: {error}. Run: {INSTALL}"
        ) from error


def _builder(name: str) -> Any:
    tfds = _import_tfds()
    try:
        return tfds.builder(name)
    except ImportError as error:
        raise _missing_package(name, error) from error
    except (ValueError, AssertionError) as error:  # TFDS asserts that it knows the version.
        # The first line says what is wrong; the rest may list every data set there is.
        reason = str(error).strip().splitlines()[0]
        raise UnknownTfdsNameError(
            f"Expected the name of a data set in TensorFlow Datasets. Received: {name!r}. {reason}"
        ) from error


def _prepared(name: str) -> Any:
    builder = _builder(name)
    try:
        # TFDS prints its progress to stdout, which belongs to the data of the command line.
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    except ImportError as error:
        raise _missing_package(name, error) from error
    except (
        Exception
    ) as error:  # TFDS passes on whatever its download or the data set's own code raises.
        raise ConnectionError(
            f"Expected to find or download the TFDS data set {name!r}. Received: {error}. Without "
            "a network, "
            "prepare it elsewhere and set TFDS_DATA_DIR to its folder (looked for in "
            f"{builder.data_dir})."
        ) from error
    return builder


def _missing_package(name: str, error: ImportError) -> ImportError:
    return ImportError(
        f"Expected the packages that the TFDS data set {name!r} needs. Received: {error}. "
        f"Run: {INSTALL}, or install that package."
    )


def _supervised_keys(name: str, builder: Any) -> tuple[str, str]:
    keys, features = builder.info.supervised_keys, builder.info.features
    is_pair = keys is not None and len(keys) == 2 and all(isinstance(key, str) for key in keys)
    kinds = [type(features[key]).__name__ for key in keys] if is_pair else []
    if kinds != ["Image", "ClassLabel"] or features[keys[0]].np_dtype != np.uint8:
        raise ValueError(
            f"Expected the TFDS data set {name!r} to consist of 8-bit images and class labels. "
            f"Received: supervised_keys={keys}, features {sorted(features)}."
        )
    return keys[0], keys[1]


def _rows(builder: Any, split: str) -> Iterator[tuple[np.ndarray, np.int64]]:
    dataset = builder.as_dataset(split=split, as_supervised=True, shuffle_files=False)
    yield from dataset.as_numpy_iterator()


def _size(
    builder: Any, splits: list[str], image_key: str, image_size: int | tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[str, ...]]:
    height, width, _ = builder.info.features[image_key].shape
    if height is not None and width is not None:
        return choose_size([(height, width)], image_size)
    # A first pass for the sizes alone, so that full-size photographs never pile up in memory.
    sizes = [image.shape[:2] for split in splits for image, _ in _rows(builder, split)]
    return choose_size(sizes, image_size)


def _read(builder: Any, split: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for image, label in _rows(builder, split):
        images.append(_resized(image, size))
        labels.append(label)
    return np.stack(images), np.array(labels, np.int64)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == size:
        return image
    channels = image.shape[2]
    flat = image[..., 0] if channels == 1 else image
    return np.asarray(resize_image(Image.fromarray(flat), size)).reshape(*size, channels)
