"""A prepared TensorFlow Datasets builder as a target."""

import importlib
import io
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_reprogram.datasets.common_size import choose_size
from keras_reprogram.datasets.image_decoding import resize_levels
from keras_reprogram.datasets.split import split_validation
from keras_reprogram.datasets.target_data import Draw, TargetData, draw_part, drawn_notes

TEST_FRACTION = 0.2
PICTURE_RANGE = (0.0, 255.0)
# What the builders of this package say in their metadata.
GROUP, RANGE = "group", "target_range"


class Rows(NamedTuple):
    """Rows of one split that are known by their labels; their images are still in files.

    Args:
        split: where they are.
        positions: `(n,)`, which of it.
        labels: `(n,)`.
        groups: the group of each row, or `None`.
    """

    split: str
    positions: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None

    def take(self, rows: np.ndarray) -> "Rows":
        """The given ones of these rows."""
        groups = None if self.groups is None else self.groups[rows]
        return Rows(self.split, self.positions[rows], self.labels[rows], groups)


def read_target(
    name: str,
    builder: Any,
    *,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
    train_split: str = "train",
    draw: Draw | None = None,
) -> TargetData:
    """Reads a prepared builder into memory, no more of its images than are drawn.

    A first pass reads labels (and sizes, where they differ), a second one images. The metadata of a
    data set may name the feature whose values keep rows together (`group`), which becomes
    `train_groups`, and the range of float images (`target_range`).

    Args:
        name: What the target is called.
        builder: A `tfds.core.DatasetBuilder` whose files are there.
        image_size: As in `load_tfds`.
        seed: As in `load_tfds`.
        train_split: As in `load_tfds`.
        draw: As in `load_tfds`.

    Returns:
        A `TargetData`; uint8 images, or float32 where the data set states a range.

    Raises:
        ValueError: If the data set has no images and class labels, or lacks a split.
    """
    features = _image_and_label(name, builder)
    test_split = _test_split(name, builder, train_split)
    wanted = [split for split in (train_split, test_split) if split is not None]
    indexed, sizes = zip(*(_index(builder, split, features) for split in wanted), strict=True)
    size, notes = choose_size([size for part in sizes for size in part], image_size)
    parts = list(indexed)
    if test_split is None:
        parts = _halves(parts[0], seed)
        kept = "class" if parts[0].groups is None else "group"
        notes += (f"No test split: {train_split!r} was split 80/20 by {kept}, seed {seed}.",)
    elif test_split == "validation":
        notes += ("No test split: the split 'validation' is the test part.",)
    # Before a draw, which leaves some out.
    parts[0] = parts[0]._replace(groups=_numbered(parts[0].groups))
    if draw is not None:
        parts, drawn = _drawn(name, parts, draw)
        notes += drawn
    train, test = parts
    return TargetData(
        name,
        _images(builder, train, size, features[0]),
        train.labels,
        _images(builder, test, size, features[0]),
        test.labels,
        class_names=tuple(builder.info.features[features[1]].names),
        origin=f"TensorFlow Datasets {builder.info.full_name} in {builder.data_dir}.",
        notes=notes,
        train_groups=train.groups,
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
    # Mock data, which have no files, have no splits either, and give rows of any.
    splits = builder.info.splits or ("train", "test")
    absent = [split for split in train_split.split("+") if split not in splits]
    if absent:
        raise ValueError(
            f"Expected the TFDS data set {name!r} to have a split {absent[0]!r}. Received: "
            f"{sorted(splits)}."
        )
    others = (split for split in ("test", "validation") if split not in train_split.split("+"))
    return next((split for split in others if split in splits), None)


def _rows(builder: Any, split: str, features: set[str], encoded: str | None) -> Iterator[dict]:
    """Some features of each row; images as the bytes of their files."""
    decode = importlib.import_module("tensorflow_datasets").decode
    skip = None if encoded is None else {encoded: decode.SkipDecoding()}
    decoders = decode.PartialDecoding(features, decoders=skip)
    dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders)
    yield from dataset.as_numpy_iterator()


def _index(
    builder: Any, split: str, features: tuple[str, str]
) -> tuple[Rows, list[tuple[int, int]]]:
    """All rows of a split, and the sizes of their images."""
    image_key, label_key = features
    group_key = _metadata(builder).get(GROUP)
    height, width, _ = builder.info.features[image_key].shape
    is_fixed = height is not None and width is not None
    wanted = {label_key, *([group_key] if group_key else []), *([] if is_fixed else [image_key])}
    labels, groups, sizes = [], [], [(height, width)] if is_fixed else []
    for row in _rows(builder, split, wanted, None if is_fixed else image_key):
        labels.append(row[label_key])
        groups.append(None if group_key is None else row[group_key])
        if not is_fixed:
            with Image.open(io.BytesIO(row[image_key])) as image:
                sizes.append((image.height, image.width))
    grouped = None if group_key is None else np.array(groups)
    return Rows(split, np.arange(len(labels)), np.array(labels, np.int64), grouped), sizes


def _halves(rows: Rows, seed: int) -> list[Rows]:
    halves = split_validation(rows.positions, rows.labels, TEST_FRACTION, seed, rows.groups)
    return [rows.take(half) for half in halves]


def _drawn(name: str, parts: list[Rows], draw: Draw) -> tuple[list[Rows], tuple[str, ...]]:
    drawn: list[Rows] = []
    notes: tuple[str, ...] = ()
    counts = (draw.train_images, draw.test_images)
    for part, rows, count in zip(("training", "test"), parts, counts, strict=True):
        kept = draw_part(name, part, rows.labels, count, draw.seed)
        drawn.append(rows.take(kept))
        notes += drawn_notes(part, kept, rows.labels, draw.seed)
    return drawn, notes


def _images(builder: Any, rows: Rows, size: tuple[int, int], image_key: str) -> np.ndarray:
    """The images of some rows, decoded one by one: the others never are."""
    feature = builder.info.features[image_key]
    places = {int(position): place for place, position in enumerate(rows.positions)}
    images = np.empty((len(places), *size, feature.shape[-1]), feature.np_dtype)
    for position, row in enumerate(_rows(builder, rows.split, {image_key}, image_key)):
        if position in places:
            image = np.asarray(feature.decode_example(row[image_key]))
            images[places[position]] = resize_levels(image, size)
    return images


def _numbered(groups: np.ndarray | None) -> np.ndarray | None:
    return None if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
