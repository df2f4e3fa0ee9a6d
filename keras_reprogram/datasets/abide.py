"""ABIDE: autism spectrum disorder (ASD) read from correlations between regions of the brain."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_reprogram.datasets.original_files import VARIABLE, data_file, npz_arrays
from keras_reprogram.datasets.target_data import TargetData, split_train_test
from keras_reprogram.datasets.tfds import load_known_tfds
from keras_reprogram.fitting.validation import split_validation

FILE_NAME = "abide_cc200_corr_1035.npz"
SOURCE = "http://preprocessed-connectomes-project.org/abide"
KEYS = ("triu", "label", "site")
CLASS_NAMES = ("control", "ASD")
TEST_FRACTION = 0.2
SPLIT_SEED = 0


def load_abide() -> TargetData:
    """Loads the ASD task from `abide_cc200_corr_1035.npz` in `KERAS_REPROGRAM_DATA`.

    A subject is a grey image: the symmetric matrix of correlations between 200 regions, with ones
    on the diagonal, rebuilt from the stored upper triangles. The values stay raw correlations in
    [-1, 1]; pass the target's `target_range` on to `ProgramLayer`. A fixed stratified fifth of the
    subjects is the test part. Published figures come from 10-fold cross-validation: join the parts
    for that. Without the file, the TFDS set `abide_cc200` of this package's builders is used,
    prepared now from the files that nilearn downloads.

    Returns:
        A `TargetData` of shape (200, 200, 1) and range (-1, 1), float32; its `train_groups` number
        the scanner sites in alphabetical order.

    Raises:
        ValueError: If the files are missing or corrupt, or if the file lacks one of its arrays.

    Example:
        ```python
        import os
        from keras_reprogram.datasets import load_abide

        if "KERAS_REPROGRAM_DATA" in os.environ:
            print(load_abide().target_range)  # (-1.0, 1.0)
        ```

    References:
        Craddock et al., "The Neuro Bureau Preprocessing Initiative: open sharing of preprocessed
        neuroimaging data and derivatives", 2013. The task is that of Tsai, Chen, Ho, "Transfer
        Learning without Knowing", ICML 2020.

    Deviations:
        BAR's script fills the upper triangle only and leaves the rest zero; here the matrix is
        whole.
    """
    path = data_file(FILE_NAME)
    if path is None:
        return _from_tfds()
    arrays = _read(path)
    images = correlation_images(arrays["triu"])
    labels = arrays["label"].astype(np.int64)
    parts = split_train_test(images, labels, TEST_FRACTION, SPLIT_SEED)
    _, sites = np.unique(arrays["site"], return_inverse=True)
    train, _ = split_validation(images, labels, TEST_FRACTION, SPLIT_SEED)
    return TargetData(
        "abide",
        *parts,
        class_names=CLASS_NAMES,
        origin=f"Correlations of CC200 regions from ABIDE Preprocessed in {path}.",
        notes=(_note(len(parts[1]), len(parts[3])),),
        train_groups=sites.ravel()[train],
        target_range=(-1.0, 1.0),
    )


def correlation_images(triangles: np.ndarray) -> np.ndarray:
    """Symmetric matrices `(subjects, n, n, 1)` from their strict upper triangles, row by row."""
    length = triangles.shape[-1]
    size = (1 + math.isqrt(1 + 8 * length)) // 2
    if triangles.ndim != 2 or size * (size - 1) // 2 != length or size < 2:
        raise ValueError(
            "Expected upper triangles of shape (subjects, n * (n - 1) / 2). "
            f"Received: shape {triangles.shape}."
        )
    images = np.empty((len(triangles), size, size), np.float32)
    rows, columns = np.triu_indices(size, 1)
    images[:, rows, columns] = triangles
    images[:, columns, rows] = triangles
    diagonal = np.arange(size)
    images[:, diagonal, diagonal] = 1.0
    return images[..., None]


def series_correlations(series: np.ndarray) -> np.ndarray:
    """Correlations `(regions, regions, 1)` of a series `(times, regions)`; flat regions get 0."""
    if series.ndim != 2 or len(series) < 2 or not np.isfinite(series).all():
        raise ValueError(
            "Expected a series of shape (times, regions) with two times or more, all finite. "
            f"Received: shape {series.shape}."
        )
    centred = series - series.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=0)
    is_flat = lengths <= 1e-9 * np.abs(series).max(axis=0)
    scaled = np.where(is_flat, 0.0, centred / np.where(is_flat, 1.0, lengths))
    image = np.clip(scaled.T @ scaled, -1.0, 1.0).astype(np.float32)
    np.fill_diagonal(image, 1.0)
    return image[..., None]


def _from_tfds() -> TargetData:
    target = load_known_tfds(
        "abide_cc200",
        copy=(
            f"the file {FILE_NAME} (arrays triu, label with 1 = ASD, and site) in the folder that "
            f"{VARIABLE} names (make it from {SOURCE})"
        ),
        train_split="train+validation",
    )
    notes = (_note(len(target.train_labels), len(target.test_labels)), *target.notes)
    return replace(target, name="abide", notes=notes)


def _note(num_train: int, num_test: int) -> str:
    return (
        f"Fixed stratified split by this library: {num_train:,} training and {num_test:,} test "
        "subjects; every site is in both parts."
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    arrays = npz_arrays(path, KEYS)
    shapes = {key: array.shape for key, array in arrays.items()}
    if len({shape[0] for shape in shapes.values()}) > 1:
        raise ValueError(
            f"Expected {path} to hold the arrays {', '.join(KEYS)} of one length. "
            f"Received: {shapes}."
        )
    return arrays
