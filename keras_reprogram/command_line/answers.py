"""Asking a model's source for many images under a command's progress bar."""

from __future__ import annotations

import math
from collections.abc import Iterator

import keras
import numpy as np

from keras_reprogram.command_line.console import Progress
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel

_MOST_ROWS_AT_ONCE = 64
# Larger batches of large images are slower on a CPU, because allocating fresh memory takes most of
# the time (MobileNetV2 on two cores: 20 images per second in batches of 64, 32 in batches of 8).
_VALUES_AT_ONCE = 2**21


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
    """Target images per call: limits the memory of large or many source images."""
    values = model.queries_per_prediction * math.prod(model.source.source_shape)
    return max(1, min(_MOST_ROWS_AT_ONCE, _VALUES_AT_ONCE // values))
