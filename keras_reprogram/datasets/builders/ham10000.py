"""HAM10000 as a builder of TensorFlow Datasets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_reprogram.datasets.builders.parts import (
    labelled_images,
    manual_folder,
    picture_configs,
    split_in_three,
)
from keras_reprogram.datasets.ham10000 import COLUMNS, DIAGNOSES, IMAGE_SIZE, SOURCE
from keras_reprogram.datasets.original_files import OriginalFileError, OriginalFiles
from keras_reprogram.datasets.tfds import GROUP

REQUIRED = (("HAM10000_images_part*",), ("HAM10000_metadata*",))


class Ham10000(tfds.core.GeneratorBasedBuilder):
    """10,015 dermatoscopic pictures in seven classes, split by lesion.

    Configurations: `64x64` (the size of BAR's melanoma task, the default) and `original`.

    Raises:
        OriginalFileError: While preparing, if a file is missing or corrupt.

    Example:
        ```python
        import tensorflow_datasets as tfds
        import keras_reprogram.datasets.builders

        print(tfds.builder("ham10000").info.features["label"].names[4])  # melanoma
        ```
    """

    name = "ham10000"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Split 64/16/20 by lesion."}
    BUILDER_CONFIGS = picture_configs(IMAGE_SIZE[0])
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
    Fetch HAM10000_images_part_1.zip, HAM10000_images_part_2.zip and HAM10000_metadata.csv from
    {SOURCE} (Harvard Dataverse; also on Kaggle as
    kmader/skin-cancer-mnist-ham10000; licence CC BY-NC) and put them into the manual folder, the
    zips as they are or unpacked into folders of the same names.
    """

    def _info(self) -> Any:
        return labelled_images(
            self,
            tfds.features.Image(shape=self.builder_config.image_shape),
            DIAGNOSES.values(),
            description="Dermatoscopic pictures of pigmented skin lesions. Licence: CC BY-NC.",
            texts=("image_id", "lesion_id"),
            homepage=SOURCE,
            license="CC BY-NC",
            citation=(
                "Tschandl, Rosendahl, Kittler, The HAM10000 dataset, Scientific Data 5, 2018"
            ),
            metadata=tfds.core.MetadataDict({GROUP: "lesion_id"}),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = manual_folder(dl_manager)
        with self._files(folder) as files:
            rows = _read_rows(files)
        labels = np.array([list(DIAGNOSES).index(row["dx"]) for row in rows])
        parts = split_in_three(labels, np.array([row["lesion_id"] for row in rows]))
        return {
            split: self._generate_examples(folder, [rows[k] for k in positions])
            for split, positions in parts.items()
        }

    def _generate_examples(
        self, folder: Path, rows: list[dict[str, str]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._files(folder) as files:
            for row in rows:
                name = files.named(f"{row['image_id']}.jpg")
                yield (
                    row["image_id"],
                    {
                        "image": files.image(name, self.builder_config.image_size),
                        "label": DIAGNOSES[row["dx"]],
                        "image_id": row["image_id"],
                        "lesion_id": row["lesion_id"],
                    },
                )

    def _files(self, folder: Path) -> OriginalFiles:
        return OriginalFiles(folder, REQUIRED, self.MANUAL_DOWNLOAD_INSTRUCTIONS)


def _read_rows(files: OriginalFiles) -> list[dict[str, str]]:
    # A plain download is called .csv or .tab, or has no suffix.
    table = next(name for name in files.names("") if "HAM10000_metadata" in name)
    rows = files.table(table, COLUMNS)
    unknown = sorted({row["dx"] for row in rows} - set(DIAGNOSES))
    if unknown:
        raise OriginalFileError(
            f"Expected the column dx of {table} to hold {', '.join(DIAGNOSES)}. Received: "
            f"{unknown}. Fetch the table again."
        )
    for row in rows:
        files.named(f"{row['image_id']}.jpg")
    return rows
