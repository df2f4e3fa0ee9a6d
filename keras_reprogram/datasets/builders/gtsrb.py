"""The German traffic signs as a builder of TensorFlow Datasets."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from keras_reprogram.datasets.builders.parts import (
    VALIDATION_FRACTION,
    labelled_images,
    manual_folder,
    picture_configs,
    split_in_two,
)
from keras_reprogram.datasets.gtsrb import CLASS_NAMES, SOURCE
from keras_reprogram.datasets.original_files import OriginalFileError, OriginalFiles
from keras_reprogram.datasets.tfds import GROUP

TRAIN_FOLDER, TEST_FOLDER = "GTSRB/Final_Training/Images/", "GTSRB/Final_Test/Images/"
TEST_TABLE = "GT-final_test.csv"
NUM_TRAIN, NUM_TEST = 39_209, 12_630
REQUIRED = (
    ("GTSRB_Final_Training_Images*",),
    ("GTSRB_Final_Test_Images*",),
    (TEST_TABLE, "GTSRB_Final_Test_GT*"),
)


class Frame(NamedTuple):
    """A picture: its path inside the zips, its label, and its track."""

    name: str
    label: int
    track: str


class Gtsrb(tfds.core.GeneratorBasedBuilder):
    """German traffic signs: 43 classes, 39,209 training and 12,630 test pictures.

    Training pictures are about 30 frames of each of 1,307 signs; `validation` holds out whole
    tracks of the official training part, `test` is the official one. Pictures are whole, not cut to
    the box of the sign. Configurations: `32x32` (the default) and `original`.

    Raises:
        OriginalFileError: While preparing, if a file is missing or corrupt.

    Example:
        ```python
        import tensorflow_datasets as tfds
        import keras_reprogram.datasets.builders

        print(tfds.builder("gtsrb").info.features["label"].num_classes)  # 43
        ```
    """

    name = "gtsrb"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "A fifth of the training tracks is the validation part."}
    BUILDER_CONFIGS = picture_configs(32)
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
    Fetch GTSRB_Final_Training_Images.zip, GTSRB_Final_Test_Images.zip and GTSRB_Final_Test_GT.zip
    (or the {TEST_TABLE} in it) from
    {SOURCE}
    (INI benchmark website; free for research, cite the paper) and put them into the manual folder,
    the zips as they are or unpacked into folders of the same names.
    """

    def _info(self) -> Any:
        return labelled_images(
            self,
            tfds.features.Image(shape=self.builder_config.image_shape),
            CLASS_NAMES,
            description="German Traffic Sign Recognition Benchmark. Terms: research use.",
            texts=("track",),
            homepage=SOURCE,
            license="Research use",
            citation=(
                "Stallkamp, Schlipsing, Salmen, Igel, Man vs. computer: Benchmarking machine "
                "learning algorithms for traffic sign recognition, Neural Networks 32, 2012"
            ),
            metadata=tfds.core.MetadataDict({GROUP: "track"}),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = manual_folder(dl_manager)
        with self._files(folder) as files:
            frames, test = _train_frames(files), _test_frames(files)
        labels = np.array([frame.label for frame in frames])
        tracks = np.array([frame.track for frame in frames])
        parts = split_in_two(np.arange(len(frames)), labels, tracks, VALIDATION_FRACTION)
        train, validation = ([frames[k] for k in positions] for positions in parts)
        return {
            split: self._generate_examples(folder, part)
            for split, part in (("train", train), ("validation", validation), ("test", test))
        }

    def _generate_examples(
        self, folder: Path, frames: list[Frame]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._files(folder) as files:
            for frame in frames:
                image = files.image(frame.name, self.builder_config.image_size)
                yield frame.name, {"image": image, "label": frame.label, "track": frame.track}

    def _files(self, folder: Path) -> OriginalFiles:
        return OriginalFiles(folder, REQUIRED, self.MANUAL_DOWNLOAD_INSTRUCTIONS)


def _train_frames(files: OriginalFiles) -> list[Frame]:
    frames = []
    for name in files.names(".ppm"):
        folder, _, rest = name.rpartition(TRAIN_FOLDER)
        if rest != name:
            sign, file = PurePosixPath(rest).parts
            track = f"{sign}/{file.partition('_')[0]}"
            frames.append(Frame(name, _label(name, sign), track))
    absent = sorted(set(range(len(CLASS_NAMES))) - {frame.label for frame in frames})
    if absent:
        raise OriginalFileError(
            f"Expected {TRAIN_FOLDER} to hold the folders 00000 to 00042 with pictures. Received: "
            f"none for {absent}. Fetch GTSRB_Final_Training_Images.zip again."
        )
    _check_count(TRAIN_FOLDER, len(frames), NUM_TRAIN, "GTSRB_Final_Training_Images.zip")
    return frames


def _test_frames(files: OriginalFiles) -> list[Frame]:
    rows = files.table(files.named(TEST_TABLE), ("Filename", "ClassId"))
    folders = {name.rpartition("/")[0] for name in files.names(".ppm") if TEST_FOLDER in name}
    folder = next(iter(folders), TEST_FOLDER.rstrip("/"))
    _check_count(TEST_TABLE, len(rows), NUM_TEST, "GTSRB_Final_Test_GT.zip")
    # Each stands alone: the tracks of the test part were not published.
    return [
        Frame(f"{folder}/{row['Filename']}", _label(TEST_TABLE, row["ClassId"]), row["Filename"])
        for row in rows
    ]


def _check_count(where: str, found: int, expected: int, archive: str) -> None:
    if found != expected:
        raise OriginalFileError(
            f"Expected {expected:,} pictures in {where}. Received: {found:,}. Unpack or fetch "
            f"{archive} again."
        )


def _label(where: str, number: str) -> int:
    if not number.isdigit() or int(number) >= len(CLASS_NAMES):
        raise OriginalFileError(
            f"Expected a class from 0 to 42 in {where}. Received: {number!r}. Fetch it again."
        )
    return int(number)
