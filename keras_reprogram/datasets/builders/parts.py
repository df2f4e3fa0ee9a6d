"""Shared by the builders: seeded splits, picture sizes, and the folder of manual downloads."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_reprogram.datasets.original_files import OriginalFileError
from keras_reprogram.fitting.validation import split_validation

TEST_FRACTION = VALIDATION_FRACTION = 0.2
SEED = 0


@dataclasses.dataclass
class PictureConfig(tfds.core.BuilderConfig):
    """The size in which pictures are stored."""

    image_size: tuple[int, int] | None = None

    @property
    def image_shape(self) -> tuple[int | None, int | None, int]:
        """Shape of one picture, `None` where it varies."""
        return (*(self.image_size or (None, None)), 3)


def picture_configs(side: int) -> list[PictureConfig]:
    """Two configurations: squares of one side (the default), and the original size."""
    name = f"{side}x{side}"
    return [
        PictureConfig(name=name, description=f"Resized to {name}.", image_size=(side, side)),
        PictureConfig(name="original", description="In the published size."),
    ]


def labelled_images(
    builder: Any, image: Any, class_names: Iterable[str], texts: Sequence[str] = (), **facts: Any
) -> Any:
    """The `DatasetInfo` of images with class labels; `texts` are further columns."""
    columns = {name: tfds.features.Text() for name in texts}
    label = tfds.features.ClassLabel(names=list(class_names))
    return tfds.core.DatasetInfo(
        builder=builder,
        features=tfds.features.FeaturesDict({"image": image, "label": label, **columns}),
        supervised_keys=("image", "label"),
        **facts,
    )


def manual_folder_or_none(download_manager: Any) -> Path | None:
    """The folder for files that a person has to fetch, `None` if it is not there."""
    try:
        return Path(download_manager.manual_dir)
    except AssertionError:
        return None


def manual_folder(download_manager: Any) -> Path:
    """The folder for files that a person has to fetch, `<download_dir>/manual` by default."""
    try:
        return Path(download_manager.manual_dir)
    except AssertionError as error:
        raise OriginalFileError(str(error)) from error


def split_in_two(
    positions: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Splits rows, stratified, with groups kept together; the split is always the same."""
    labels = labels[positions]
    groups = None if groups is None else groups[positions]
    first, second = split_validation(labels, labels, fraction, SEED, groups)
    return positions[first], positions[second]


def split_in_three(labels: np.ndarray, groups: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Splits rows 64/16/20, stratified, with groups kept together; always the same."""
    rest, test = split_in_two(np.arange(len(labels)), labels, groups, TEST_FRACTION)
    train, validation = split_in_two(rest, labels, groups, VALIDATION_FRACTION)
    return {"train": train, "validation": validation, "test": test}
