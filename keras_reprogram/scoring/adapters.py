"""Ray and Dask: the batch scorer as a callable class, and as a function of a partition."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.scoring.inputs import ImageFiles, NamedImage
from keras_reprogram.scoring.models import loaded, open_model


class RayScorer:
    """Scores batches of Ray Data with an exported version folder.

    A callable class for `ray.data.Dataset.map_batches`: each of its actors loads the model once.
    It adds the columns `class`, `probability`, `probabilities` and `error` and drops the column of
    bytes. An image that cannot be read has an `error`, class `""` and probabilities NaN. Resuming
    is left to Ray. Needs the extra `ray`.

    Args:
        folder: the version folder, under a path that all workers see.
        column: holds the encoded images, as `read_binary_files` names it.

    Raises:
        FileNotFoundError: if there is no folder.
        ValueError: for a folder that is no export of image files.

    Example:
    ```python
    from keras_reprogram.scoring import RayScorer

    def scores(folder, photos):
        import ray

        files = ray.data.read_binary_files(photos, include_paths=True)
        return files.map_batches(
            RayScorer, fn_constructor_args=(folder,), batch_size=64, concurrency=2
        )
    ```
    """

    def __init__(self, folder: str | Path, column: str = "bytes") -> None:
        self._scorer = loaded(open_model(folder))
        self._column = column

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        contents = batch.pop(self._column)
        images = [NamedImage(f"image {number}", bytes(one)) for number, one in enumerate(contents)]
        rows = [one.as_row(self._scorer.class_names) for one in self._scorer.score(images)]
        missing = np.full(len(self._scorer.class_names), np.nan, np.float32)
        probabilities = [missing if row["error"] else row["probabilities"] for row in rows]
        return {
            **batch,
            "class": np.array([row["class"] or "" for row in rows]),
            "probability": np.array([values.max() for values in map(np.asarray, probabilities)]),
            "probabilities": np.array(probabilities, np.float32),
            "error": np.array([row["error"] or "" for row in rows]),
        }


def score_partition(paths: Iterable[str | Path], folder: str | Path) -> list[dict[str, Any]]:
    """Scores a partition of a Dask bag of image files with an exported version folder.

    A function for `dask.bag.Bag.map_partitions`: each process loads the model once. Resuming is
    left to Dask. Needs the extra `dask`.

    Args:
        paths: image files.
        folder: the version folder, under a path that all workers see.

    Returns:
        For each image a dictionary of `image`, `class`, `probability`, `probabilities` and
        `error`, in order. An image that cannot be read has an `error`, and `None` for the others.

    Raises:
        FileNotFoundError: if there is no folder.
        ValueError: for a folder that is no export of image files.

    Example:
    ```python
    from keras_reprogram.scoring import score_partition

    def scores(folder, photos):
        from dask import bag

        return bag.from_sequence(photos, npartitions=8).map_partitions(score_partition, folder)
    ```
    """
    scorer = loaded(open_model(folder))
    rows: list[dict[str, Any]] = []
    for scored in scorer.score_all(ImageFiles(tuple(map(str, paths))).read()):
        rows += [{"image": one.name, **one.as_row(scorer.class_names)} for one in scored]
    return rows
