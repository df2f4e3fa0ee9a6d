"""Caltech 101 as Kloberdanz's thesis cut it, as a builder of TensorFlow Datasets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_reprogram.datasets.builders.parts import SEED, labelled_images, manual_folder_or_none
from keras_reprogram.datasets.original_files import OriginalFileError, OriginalFiles

HOMEPAGE = "https://doi.org/10.22002/D1.20086"
# Where TFDS itself fetches `caltech101` from; checksums.tsv holds the checksum that it has.
ADDRESS = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip?download=1"
FOLDER, ARCHIVE = "101_ObjectCategories", "101_ObjectCategories.tar.gz"
LEFT_OUT = ("BACKGROUND_Google", "Faces", "Faces_easy", "Motorbikes", "airplanes")
NUM_IMAGES = 6209
SHARES = (0.7, 0.15)
CLASS_NAMES = tuple(Path(__file__).with_name("caltech101_thesis_classes.txt").read_text().split())


class Caltech101Thesis(tfds.core.GeneratorBasedBuilder):
    """97 classes and 6,209 pictures of Caltech 101, split 70/15/15.

    The thesis leaves out the background and the four largest classes. Its split was shuffled
    without a seed and its label order was that of a file system, so that neither can be had again:
    here the sizes are hers (4,346 / 931 / 932), the shuffle is seeded and labels are alphabetical,
    capitals first. She trained on `train` alone and used `validation` for nothing.

    Raises:
        OriginalFileError: While preparing, if the files are not those 6,209 pictures.

    Example:
        ```python
        import tensorflow_datasets as tfds
        import keras_reprogram.datasets.builders

        print(tfds.builder("caltech101_thesis").info.features["label"].num_classes)  # 97
        ```

    References:
        Kloberdanz, "Reprogramming of neural networks: a new and improved machine learning
        technique", 2020. Fei-Fei, Fergus, Perona, "Learning generative visual models from few
        training examples", 2004.
    """

    name = "caltech101_thesis"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Split 70/15/15, seed 0."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
    Nothing has to be done by hand where {HOMEPAGE} can be reached. Else put
    {ARCHIVE} (it is in caltech-101.zip there; licence CC BY 4.0) into the manual
    folder, as it is or unpacked.
    """

    def _info(self) -> Any:
        return labelled_images(
            self,
            tfds.features.Image(shape=(None, None, 3)),
            CLASS_NAMES,
            description="Caltech 101 without the background and the four largest classes.",
            texts=("image/file_name",),
            homepage=HOMEPAGE,
            license="CC BY 4.0",
            citation=(
                "Fei-Fei, Fergus, Perona, Learning generative visual models from few training "
                "examples, 2004"
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = _unpacked(dl_manager)
        with self._files(folder) as files:
            names = _picture_names(files)
        order = np.random.default_rng(SEED).permutation(len(names))
        ends = [int(SHARES[0] * len(names)), int(sum(SHARES) * len(names))]
        parts = zip(("train", "validation", "test"), np.split(order, ends), strict=True)
        return {
            split: self._generate_examples(folder, [names[k] for k in positions])
            for split, positions in parts
        }

    def _generate_examples(
        self, folder: Path, names: list[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._files(folder) as files:
            for name in names:
                label, file = name.split("/")[-2:]
                image = files.image(name, size=None)
                yield (
                    f"{label}/{file}",
                    {"image": image, "label": label, "image/file_name": file},
                )

    def _files(self, folder: Path) -> OriginalFiles:
        return OriginalFiles(folder, ((FOLDER,),), self.MANUAL_DOWNLOAD_INSTRUCTIONS)


def _unpacked(dl_manager: Any) -> Path:
    manual = manual_folder_or_none(dl_manager)
    if manual is not None and (manual / FOLDER).is_dir():
        return manual
    if manual is not None and (manual / ARCHIVE).exists():
        return _extracted(dl_manager, manual / ARCHIVE)
    published = Path(dl_manager.download_and_extract(ADDRESS))
    return _extracted(dl_manager, published / "caltech-101" / ARCHIVE)


def _extracted(dl_manager: Any, archive: Path) -> Path:
    try:
        return Path(dl_manager.extract(archive))
    except Exception as error:  # TFDS raises its own private class of errors here.
        raise OriginalFileError(
            f"Expected {archive} to be a complete archive. Received: {error}. Fetch it again."
        ) from error


def _picture_names(files: OriginalFiles) -> list[str]:
    names = [name for name in files.names(".jpg") if name.split("/")[-2] not in LEFT_OUT]
    classes = {name.split("/")[-2] for name in names}
    odd = sorted(classes ^ set(CLASS_NAMES))
    if odd or len(names) != NUM_IMAGES:
        raise OriginalFileError(
            f"Expected {NUM_IMAGES:,} pictures in the {len(CLASS_NAMES)} folders of the thesis. "
            f"Received: {len(names):,} pictures; folders absent or unknown: {odd or 'none'}. Fetch "
            f"{ARCHIVE} again."
        )
    return names
