"""A prepared TensorFlow Datasets builder as a target."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_reprogram.datasets.common_size import choose_size
from keras_reprogram.datasets.image_decoding import resize_levels
from keras_reprogram.datasets.split import split_validation
from keras_reprogram.datasets.target_data import TargetData

TEST_FRACTION = 0.2
PICTURE_RANGE = (0.0, 255.0)
# What the builders of this package say in their metadata.
GROUP, RANGE = "group", "target_range"


class Part(NamedTuple):
    """Rows of one split in memory: images, labels, and the group of each row or `None`."""

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None


def read_target(
    name: str,
    builder: Any,
    *,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    train_split: str = "train",
) -> TargetData:
    """Reads a prepared builder into memory.

    The metadata of a data set may name the feature whose values keep rows together (`group`), which
    becomes `train_groups`, and the range of float images (`target_range`).

    Args:
        name: What the target is called.
        builder: A `tfds.core.DatasetBuilder` whose files are there.
        image_size: As in `load_tfds`.
        seed: As in `load_tfds`.
        train_split: As in `load_tfds`.

    Returns:
        A `TargetData`; uint8 images, or float32 where the data set states a range.

    Raises:
        ValueError: If the data set has no images and class labels, or lacks a split.
    """
    features = _image_and_label(name, builder)
    test_split = _test_split(name, builder, train_split)
    wanted = [split for split in (train_split, test_split) if split is not None]
    size, notes = _size(builder, wanted, features[0], image_size)
    parts = [_read(builder, split, size, features) for split in wanted]
    if test_split is None:
        parts = _halves(parts[0], seed)
        kept = "class" if parts[0].groups is None else "group"
        notes += (f"No test split: {train_split!r} was split 80/20 by {kept}, seed {seed}.",)
    elif test_split == "validation":
        notes += ("No test split: the split 'validation' is the test part.",)
    train, test = parts
    return TargetData(
        name,
        *train[:2],
        *test[:2],
        class_names=tuple(builder.info.features[features[1]].names),
        origin=f"TensorFlow Datasets {builder.info.full_name} in {builder.data_dir}.",
        notes=notes,
        train_groups=_numbered(train.groups),
        target_range=_target_range(builder),
    )


def _metadata(builder: Any) -> Mapping[str, Any]:
    return builder.info.metadata or {}


def _target_range(builder: Any) -> tuple[float, float]:
    low, high = _metadata(builder).get(RANGE, PICTURE_RANGE)
    return float(low), float(high)


def _image_and_label(name: str, builder: Any) -> tuple[str, str]:
    keys, features = builder.info.supervised_keys, builder.info.features
    is_pair = keys is not None and len(keys) == 2 and all(isinstance(key, str) for key in keys)
    kinds = [type(features[key]).__name__ for key in keys] if is_pair else []
    types = [np.uint8, np.float32] if RANGE in _metadata(builder) else [np.uint8]
    if kinds != ["Image", "ClassLabel"] or features[keys[0]].np_dtype not in types:
        raise ValueError(
            f"Expected the TFDS data set {name!r} to consist of 8-bit images and class labels. "
            f"Received: supervised_keys={keys}, features {sorted(features)}."
        )
    return keys[0], keys[1]


def _test_split(name: str, builder: Any, train_split: str) -> str | None:
    splits = builder.info.splits
    absent = [split for split in train_split.split("+") if split not in splits]
    if absent:
        raise ValueError(
            f"Expected the TFDS data set {name!r} to have a split {absent[0]!r}. Received: "
            f"{sorted(splits)}."
        )
    others = (split for split in ("test", "validation") if split not in train_split.split("+"))
    return next((split for split in others if split in splits), None)


def _rows(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    yield from builder.as_dataset(split=split, shuffle_files=False).as_numpy_iterator()


def _size(
    builder: Any, splits: list[str], image_key: str, image_size: int | tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[str, ...]]:
    height, width, _ = builder.info.features[image_key].shape
    if height is not None and width is not None:
        return choose_size([(height, width)], image_size)
    # A first pass for the sizes alone, so that full-size photographs never pile up in memory.
    sizes = [row[image_key].shape[:2] for split in splits for row in _rows(builder, split)]
    return choose_size(sizes, image_size)


def _read(builder: Any, split: str, size: tuple[int, int], features: tuple[str, str]) -> Part:
    image_key, label_key = features
    group_key = _metadata(builder).get(GROUP)
    images, labels, groups = [], [], []
    for row in _rows(builder, split):
        images.append(resize_levels(row[image_key], size))
        labels.append(row[label_key])
        groups.append(None if group_key is None else row[group_key])
    grouped = None if group_key is None else np.array(groups)
    return Part(np.stack(images), np.array(labels, np.int64), grouped)


def _halves(part: Part, seed: int) -> list[Part]:
    train, test = split_validation(part.images, part.labels, TEST_FRACTION, seed, part.groups)
    groups = part.groups
    return [
        Part(part.images[kept], part.labels[kept], None if groups is None else groups[kept])
        for kept in (train, test)
    ]


def _numbered(groups: np.ndarray | None) -> np.ndarray | None:
    return None if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
