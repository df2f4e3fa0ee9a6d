"""ABIDE's correlations of CC200 regions as a builder of TensorFlow Datasets."""

import importlib
import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_reprogram.datasets.abide import CLASS_NAMES, SOURCE, series_correlations
from keras_reprogram.datasets.builders.parts import (
    labelled_images,
    manual_folder_or_none,
    split_in_three,
)
from keras_reprogram.datasets.original_files import OriginalFileError, OriginalFiles
from keras_reprogram.datasets.tfds import GROUP, RANGE

REGIONS = 200
FOLDER = "ABIDE_pcp"
PHENOTYPES = "Phenotypic_V1_0b_preprocessed1.csv"
COLUMNS = ("FILE_ID", "SUB_ID", "SITE_ID", "DX_GROUP")
# The column DX_GROUP: 1 is autism, 2 is control.
LABELS = {"1": 1, "2": 0}


class AbideCc200(tfds.core.GeneratorBasedBuilder):
    """Who of 1,035 subjects has autism, read from the correlations of 200 regions of the brain.

    An image is the symmetric matrix of plain (not Fisher-transformed) correlations, float32 in
    [-1, 1] with ones on the diagonal. The series are those of ABIDE Preprocessed: pipeline cpac,
    band-pass filtered, global signal regressed, all subjects whatever the quality raters said. The
    test part is that of `load_abide`; sites are in all parts.

    Raises:
        OriginalFileError: While preparing, if a file is missing or corrupt.
        ImportError: While preparing, if the files are not there and nilearn is not installed.

    Example:
        ```python
        import tensorflow_datasets as tfds
        import keras_reprogram.datasets.builders

        print(tfds.builder("abide_cc200").info.features["image"].shape)  # (200, 200, 1)
        ```
    """

    name = "abide_cc200"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Split 64/16/20 by class."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""\
    Nothing has to be done by hand where nilearn is installed (pip install nilearn): it downloads
    the series. Else put nilearn's folder {FOLDER} into the manual folder, the way
    nilearn.datasets.fetch_abide_pcp(data_dir=..., pipeline="cpac", band_pass_filtering=True,
    global_signal_regression=True, derivatives=["rois_cc200"], quality_checked=False) leaves it:
    {PHENOTYPES} and <FILE_ID>_rois_cc200.1D for every subject, in any folder
    below ({SOURCE}; licence CC BY-NC-SA).
    """

    def _info(self) -> Any:
        return labelled_images(
            self,
            tfds.features.Image(shape=(REGIONS, REGIONS, 1), dtype=np.float32),
            CLASS_NAMES,
            description="Correlations of CC200 regions, ABIDE Preprocessed. Licence: CC BY-NC-SA.",
            texts=("site", "subject"),
            homepage=SOURCE,
            license="CC BY-NC-SA",
            citation="Craddock et al., The Neuro Bureau Preprocessing Initiative, 2013",
            metadata=tfds.core.MetadataDict({GROUP: "site", RANGE: [-1.0, 1.0]}),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = self._folder(dl_manager)
        with self._files(folder) as files:
            rows = _read_rows(files)
        parts = split_in_three(np.array([LABELS[row["DX_GROUP"]] for row in rows]))
        return {
            split: self._generate_examples(folder, [rows[k] for k in positions])
            for split, positions in parts.items()
        }

    def _generate_examples(
        self, folder: Path, rows: list[dict[str, str]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._files(folder) as files:
            for row in rows:
                yield (
                    row["FILE_ID"],
                    {
                        "image": _image(files, files.named(_series_name(row))),
                        "label": LABELS[row["DX_GROUP"]],
                        "site": row["SITE_ID"],
                        "subject": row["SUB_ID"],
                    },
                )

    def _folder(self, dl_manager: Any) -> Path:
        manual = manual_folder_or_none(dl_manager)
        if manual is not None and any(manual.glob(f"{FOLDER}*")):
            return manual
        folder = Path(dl_manager.download_dir) / "nilearn"
        _fetch(folder)
        return folder

    def _files(self, folder: Path) -> OriginalFiles:
        return OriginalFiles(folder, ((f"{FOLDER}*",),), self.MANUAL_DOWNLOAD_INSTRUCTIONS)


def _fetch(folder: Path) -> None:
    try:
        nilearn = importlib.import_module("nilearn.datasets")
    except ImportError as error:
        raise ImportError(
            f"Expected {FOLDER} in the manual folder, or the package nilearn, which downloads it. "
            f"Received: {error}. Run: pip install nilearn. Or by hand:\n"
            f"{textwrap.dedent(AbideCc200.MANUAL_DOWNLOAD_INSTRUCTIONS).strip()}"
        ) from error
    nilearn.fetch_abide_pcp(
        data_dir=str(folder),
        pipeline="cpac",
        band_pass_filtering=True,
        global_signal_regression=True,
        derivatives=["rois_cc200"],
        quality_checked=False,
    )


def _series_name(row: dict[str, str]) -> str:
    return f"{row['FILE_ID']}_rois_cc200.1D"


def _read_rows(files: OriginalFiles) -> list[dict[str, str]]:
    table = files.named(PHENOTYPES)
    rows = [row for row in files.table(table, COLUMNS) if row["FILE_ID"] != "no_filename"]
    wrong = sorted({row["DX_GROUP"] for row in rows} - set(LABELS))
    if wrong:
        raise OriginalFileError(
            f"Expected the column DX_GROUP of {table} to hold 1 and 2. Received: {wrong}. Fetch it "
            "again."
        )
    for row in rows:
        files.named(_series_name(row))
    # The order of the file names is that of the prepared copy, so that the parts are the same.
    return sorted(rows, key=_series_name)


def _image(files: OriginalFiles, name: str) -> np.ndarray:
    try:
        series = np.loadtxt(io.BytesIO(files.read(name)), ndmin=2)
        if series.shape[1] != REGIONS:
            raise ValueError(f"{series.shape[1]} columns")
        return series_correlations(series)
    except ValueError as error:
        raise OriginalFileError(
            f"Expected {name} to hold numbers in {REGIONS} columns, one per region, and two rows "
            f"or more. Received: {error}. Fetch it again."
        ) from error
