"""APTOS 2019 as a builder of TensorFlow Datasets."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_reprogram.datasets.aptos2019 import GRADES, SOURCE
from keras_reprogram.datasets.builders.parts import (
    labelled_images,
    manual_folder,
    picture_configs,
    split_in_three,
)
from keras_reprogram.datasets.original_files import OriginalFileError, OriginalFiles

REQUIRED = (("aptos2019-blindness-detection*",),)
COLUMNS = ("id_code", "diagnosis")


class Aptos2019(tfds.core.GeneratorBasedBuilder):
    """3,662 photographs of the retina in five grades of diabetic retinopathy.

    Configurations: `224x224` (the default) and `original`. The competition's own test pictures have
    no public grades and are left out; patients are not numbered, so that the parts are stratified
    but two eyes of a patient may be in different ones.

    Raises:
        OriginalFileError: While preparing, if a file is missing or corrupt.

    Example:
        ```python
        import tensorflow_datasets as tfds
        import keras_reprogram.datasets.builders

        print(tfds.builder("aptos2019").info.features["label"].num_classes)  # 5
        ```
    """

    name = "aptos2019"
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {
        "1.0.0": "Split 64/16/20 by class.",
        "1.1.0": "Duplicate pictures are in the same part.",
    }
    BUILDER_CONFIGS = picture_configs(224)
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
    Accept the competition's rules at {SOURCE}
    (they allow competition, academic and other non-commercial use), fetch
    aptos2019-blindness-detection.zip ("Download all", or `kaggle competitions download -c
    aptos2019-blindness-detection`) and put it into the manual folder, as it is or unpacked into a
    folder of the same name with train.csv and train_images/.
    """

    def _info(self) -> Any:
        return labelled_images(
            self,
            tfds.features.Image(shape=self.builder_config.image_shape),
            GRADES,
            description="Photographs of the retina, graded 0 to 4. Terms: the competition's rules.",
            texts=("image_id",),
            homepage=SOURCE,
            license="Rules of the Kaggle competition: non-commercial use",
            citation=(
                "Asia Pacific Tele-Ophthalmology Society, APTOS 2019 Blindness Detection, 2019"
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = manual_folder(dl_manager)
        with self._files(folder) as files:
            grades = _read_grades(files)
            names = sorted(grades)
            # Some pictures are there twice, under two names and even two grades.
            contents = [sha256(files.read(files.named(f"{name}.png"))) for name in names]
        alike = np.array([content.hexdigest() for content in contents])
        parts = split_in_three(np.array([grades[name] for name in names]), alike)
        return {
            split: self._generate_examples(folder, {names[k]: grades[names[k]] for k in positions})
            for split, positions in parts.items()
        }

    def _generate_examples(
        self, folder: Path, grades: dict[str, int]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._files(folder) as files:
            for name, grade in grades.items():
                picture = files.image(files.named(f"{name}.png"), self.builder_config.image_size)
                yield name, {"image": picture, "label": grade, "image_id": name}

    def _files(self, folder: Path) -> OriginalFiles:
        return OriginalFiles(folder, REQUIRED, self.MANUAL_DOWNLOAD_INSTRUCTIONS)


def _read_grades(files: OriginalFiles) -> dict[str, int]:
    table = files.named("train.csv")
    grades = {row["id_code"]: row["diagnosis"] for row in files.table(table, COLUMNS)}
    wrong = sorted(set(grades.values()) - {str(grade) for grade in range(len(GRADES))})
    if wrong:
        raise OriginalFileError(
            f"Expected the column diagnosis of {table} to hold 0 to 4. Received: {wrong}. Fetch "
            "the zip again."
        )
    for name in grades:
        files.named(f"{name}.png")
    return {name: int(grade) for name, grade in grades.items()}
