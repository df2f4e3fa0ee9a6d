"""A source's answers to all images of a task under all views, asked once and kept in a file.

Experiments are then fits alone. `look_up_model` is a model of the library whose "images" are the
numbers of rows and whose source looks the answers up: it is asked, counted and fitted as any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from sources import SourceChoice

from keras_reprogram import DenseMap, OpaqueSource, ProgramLayer, ReprogrammedModel
from keras_reprogram.datasets import TargetData


@dataclass(frozen=True)
class StoredViews:
    """Answers `(n, V, S)` to training images, and to test images behind them.

    Attributes:
        answers: training rows first.
        num_train: how many of them.
        score_kind: of the source.
        identity: of the source, the target and the views.
    """

    answers: np.ndarray
    num_train: int
    score_kind: str
    identity: str


def stored_views(
    choice: SourceChoice, data: TargetData, num_views: int, folder: Path | None
) -> StoredViews:
    """Asks for what is not in the folder yet.

    Args:
        choice: the source.
        data: training and test images.
        num_views: gentle views; the first is the plain image.
        folder: where answers are kept, or `None`.
    """
    source = choice.opaque()
    name = f"{choice.name}_{data.name}_{num_views}_{len(data.train_labels)}"
    path = None if folder is None else folder / f"{name}.npy"
    if path is not None and path.is_file():
        answers = np.load(path, mmap_mode="r")
    else:
        program = ProgramLayer(
            data.target_shape,
            source.source_shape,
            source_range=source.value_range,
            target_range=data.target_range,
            placement="gentle_views",
            num_views=num_views,
        )
        model = ReprogrammedModel(program, source, DenseMap(len(data.class_names)))
        images = np.concatenate([data.train_images, data.test_images])
        answers = model.collect_scores(images, verbose=0)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, answers)
    return StoredViews(answers, len(data.train_labels), source.score_kind, name)


class _RowAndView(keras.layers.Layer):
    """The number of a row `(n, 1, 1, 1)` -> that and the number of each view, `(n, V, 1, 1, 2)`."""

    target_shape = (1, 1, 1)

    def __init__(self, num_views: int) -> None:
        super().__init__(name="program")
        self.num_views = num_views

    def call(self, rows: np.ndarray) -> np.ndarray:
        repeated = keras.ops.repeat(rows[:, None], self.num_views, axis=1)
        views = keras.ops.reshape(
            keras.ops.arange(self.num_views, dtype="float32"), (1, self.num_views, 1, 1, 1)
        )
        return keras.ops.concatenate([repeated, keras.ops.zeros_like(repeated) + views], axis=-1)


def look_up_model(
    stored: StoredViews, num_views: int, output_map: DenseMap, seed: int
) -> tuple[ReprogrammedModel, OpaqueSource]:
    """A model of stored answers; its images are rows, see `as_images`.

    Args:
        stored: the answers.
        num_views: of them, the first ones.
        output_map: the map.
        seed: of the model.
    """
    kept, _, num_labels = stored.answers.shape

    def look_up(images: np.ndarray) -> np.ndarray:
        rows, views = np.round(images[:, 0, 0].T).astype(int)
        return np.asarray(stored.answers[rows, views])

    source = OpaqueSource(
        look_up,
        (1, 1, 2),
        num_labels,
        value_range=(0, max(kept, 2)),
        identity=stored.identity,
        score_kind=stored.score_kind,
        max_batch=4096,
    )
    return ReprogrammedModel(_RowAndView(num_views), source, output_map, seed=seed), source


def as_images(rows: np.ndarray) -> np.ndarray:
    """Rows as the images of a `look_up_model`."""
    return np.asarray(rows, np.float32)[:, None, None, None]
