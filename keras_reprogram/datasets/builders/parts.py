"""What the builders share: seeded parts, picture sizes, and the folder of fetched files."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_reprogram.datasets.files import OriginalFileError
from keras_reprogram.fitting.validation import split_validation

TEST_FRACTION = VALIDATION_FRACTION = 0.2
SEED = 0


@dataclasses.dataclass
class PictureConfig(tfds.core.BuilderConfig):
    """The size in which pictures are stored.

    Args:
        image_size: `(height, width)`, or `None` for the size that each picture has.
    """

    image_size: tuple[int, int] | None = None

    @property
    def image_shape(self) -> tuple[int | None, int | None, int]:
        """Shape of one picture, `None` where it varies."""
        return (*(self.image_size or (None, None)), 3)


def picture_configs(side: int) -> list[PictureConfig]:
    """Offers pictures as squares of one side, the default, and in the size that they have.

    Args:
        side: Height and width of the squares; the aspect is not kept.

    Returns:
        The two configurations, `"<side>x<side>"` and `"original"`.
    """
    name = f"{side}x{side}"
    return [
        PictureConfig(name=name, description=f"Resized to {name}.", image_size=(side, side)),
        PictureConfig(name="original", description="In the published size."),
    ]


def manual_folder(download_manager: Any) -> Path:
    """Finds the folder into which a person puts the files that have no download.

    Args:
        download_manager: What TFDS passes to `_split_generators`.

    Returns:
        The folder, `<download_dir>/manual` unless the user said otherwise.

    Raises:
        OriginalFileError: If it does not exist or is empty, with the builder's instructions.
    """
    try:
        return Path(download_manager.manual_dir)
    except AssertionError as error:
        raise OriginalFileError(str(error)) from error


def split_in_two(
    positions: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Splits some of the rows, stratified, groups kept together; always in the same way.

    Args:
        positions: Integer array: which rows.
        labels: Integer array of shape `(num_rows,)`.
        groups: Array of shape `(num_rows,)`, or `None` where every row stands alone.
        fraction: Share of the second part, above 0 and below 1.

    Returns:
        Two integer arrays that share out `positions`.
    """
    labels = labels[positions]
    groups = None if groups is None else groups[positions]
    first, second = split_validation(labels, labels, fraction, SEED, groups)
    return positions[first], positions[second]


def split_in_three(labels: np.ndarray, groups: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Splits rows 64/16/20, stratified, groups kept together; always in the same way.

    Args:
        labels: Integer array of shape `(num_rows,)`.
        groups: Array of shape `(num_rows,)`, or `None` where every row stands alone.

    Returns:
        The positions of `train`, `validation` and `test`.
    """
    rest, test = split_in_two(np.arange(len(labels)), labels, groups, TEST_FRACTION)
    train, validation = split_in_two(rest, labels, groups, VALIDATION_FRACTION)
    return {"train": train, "validation": validation, "test": test}
