"""Asking a model's source for many images under a command's progress bar."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from keras_reprogram.asking.images import rows_per_batch
from keras_reprogram.command_line.console import Progress
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel


def ask(
    model: ReprogrammedModel, images: np.ndarray, progress: Progress, description: str
) -> np.ndarray:
    """Source scores `(n, V, S)` of target images."""
    return np.concatenate(list(_answers(model, images, progress, description)))


def predict(
    model: ReprogrammedModel, images: np.ndarray, progress: Progress, description: str
) -> np.ndarray:
    """Probabilities `(n, K)` of target images."""
    answers = _answers(model, images, progress, description)
    return np.concatenate([keras.ops.convert_to_numpy(model.output_map(some)) for some in answers])


def _answers(
    model: ReprogrammedModel, images: np.ndarray, progress: Progress, description: str
) -> Iterator[np.ndarray]:
    size = rows_at_once(model)
    parts = (images[start : start + size] for start in range(0, len(images), size))
    checked = map(model.data_checks.images, parts)
    with progress.bar(description, len(images) * model.queries_per_prediction) as update:
        yield from model.asker.each(checked, len(images), progress=update)


def rows_at_once(model: ReprogrammedModel) -> int:
    """Target images per call that suit a model."""
    return rows_per_batch(model.queries_per_prediction, model.source.source_shape)
