"""HAM10000: dermatoscopic pictures of pigmented skin lesions in seven classes."""

import csv
import io
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_reprogram.datasets.image_files import decode_image
from keras_reprogram.datasets.original_files import VARIABLE, data_file
from keras_reprogram.datasets.target_data import TargetData
from keras_reprogram.datasets.tfds import load_known_tfds
from keras_reprogram.fitting.validation import split_validation

FILE_NAME = "ham10000_64.zip"
SOURCE = "https://doi.org/10.7910/DVN/DBW86T"
IMAGE_SIZE = (64, 64)
COLUMNS = ("image_id", "lesion_id", "dx")
# The codes of the column `dx` and what they mean, in label order.
DIAGNOSES = {
    "akiec": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic nevus",
    "vasc": "vascular lesion",
}
TEST_FRACTION = 0.2
SPLIT_SEED = 0


def load_ham10000() -> TargetData:
    """Loads HAM10000 in 64x64 from `ham10000_64.zip` in `KERAS_REPROGRAM_DATA`.

    The zip holds `images/<image_id>.jpg` and `labels.csv` with the columns `image_id`, `lesion_id`
    and `dx`. A fixed fifth of the lesions is the test part: pictures of one lesion are never on
    both sides. Most are melanocytic nevi, so report balanced accuracy beside accuracy.

    Without the file, the TFDS set `ham10000/64x64` of this package's builders is used (all 10,015
    pictures), prepared now if its original files are there.

    Returns:
        A `TargetData` of shape (64, 64, 3); its `train_groups` number the lesions.

    Raises:
        ValueError: If the file is missing or corrupt, or if an image, a column or a class is.

    Example:
        ```python
        import os
        from keras_reprogram.datasets import load_ham10000

        if "KERAS_REPROGRAM_DATA" in os.environ:
            print(load_ham10000().class_names)
        ```

    References:
        Tschandl, Rosendahl, Kittler, "The HAM10000 dataset, a large collection of multi-source
        dermatoscopic images of common pigmented skin lesions", Scientific Data 5, 2018.
    """
    path = data_file(FILE_NAME)
    if path is None:
        return _from_tfds()
    try:
        with zipfile.ZipFile(path) as archive:
            rows = _read_labels(archive, path)
            images = np.stack([_read_image(archive, path, row["image_id"]) for row in rows])
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(
            f"Expected {path} to be a complete zip file. Received: {error}. Fetch it again."
        ) from error
    codes = list(DIAGNOSES)
    labels = np.array([codes.index(row["dx"]) for row in rows], np.int64)
    _, lesions = np.unique([row["lesion_id"] for row in rows], return_inverse=True)
    train, test = split_validation(images, labels, TEST_FRACTION, SPLIT_SEED, lesions)
    target = TargetData(
        "ham10000",
        images[train],
        labels[train],
        images[test],
        labels[test],
        class_names=tuple(DIAGNOSES.values()),
        origin=f"Pictures of HAM10000 resized to 64x64 in {path}.",
        train_groups=lesions.ravel()[train],
    )
    return replace(target, notes=_notes(target))


def _from_tfds() -> TargetData:
    target = load_known_tfds(
        "ham10000/64x64",
        copy=(
            f"the file {FILE_NAME} (images/<image_id>.jpg and labels.csv with the columns "
            f"{', '.join(COLUMNS)}) in the folder that {VARIABLE} names (make it from {SOURCE})"
        ),
        train_split="train+validation",
    )
    return replace(target, name="ham10000", notes=(*_notes(target), *target.notes))


def _notes(target: TargetData) -> tuple[str, ...]:
    labels = np.concatenate([target.train_labels, target.test_labels])
    return (
        f"Fixed split by lesion by this library: {len(target.train_labels):,} training and "
        f"{len(target.test_labels):,} test images.",
        f"{np.mean(labels == list(DIAGNOSES).index('nv')):.0%} are melanocytic nevi: look at "
        "balanced accuracy too.",
    )


def _read_labels(archive: zipfile.ZipFile, path: Path) -> list[dict[str, str]]:
    if "labels.csv" not in archive.namelist():
        raise ValueError(f"Expected {path} to hold labels.csv. Received: no such member.")
    text = io.StringIO(archive.read("labels.csv").decode("utf-8-sig", errors="replace"))
    table = csv.DictReader(text)
    missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
    if missing:
        raise ValueError(
            f"Expected {path}/labels.csv to have the columns {', '.join(COLUMNS)}. Received: no "
            f"{', '.join(missing)}."
        )
    rows = list(table)
    unknown = sorted({str(row["dx"]) for row in rows} - set(DIAGNOSES))
    absent = sorted(set(DIAGNOSES) - {row["dx"] for row in rows})
    if unknown or absent:
        raise ValueError(
            f"Expected the column dx of {path}/labels.csv to hold {', '.join(DIAGNOSES)}, each at "
            f"least once. Received: unknown {unknown}, absent {absent}."
        )
    return rows


def _read_image(archive: zipfile.ZipFile, path: Path, image_id: str) -> np.ndarray:
    name = f"images/{image_id}.jpg"
    try:
        content = io.BytesIO(archive.read(name))
    except KeyError as error:
        raise ValueError(
            f"Expected {path} to hold a picture for every row of labels.csv. Received: no {name}."
        ) from error
    return decode_image(content, f"{path}/{name}", grey=False, size=IMAGE_SIZE)
