"""Asking a model's source for many images, with a progress bar; and its trained state."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_reprogram.command_line.console import Talk
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel

_MOST_ROWS_AT_ONCE = 64
# Larger batches of large images are slower on a CPU: the time goes into fresh memory for them
# (MobileNetV2 on two cores: 20 images a second in batches of 64, 32 in batches of 8).
_VALUES_AT_ONCE = 2**21


def ask(model: ReprogrammedModel, images: np.ndarray, talk: Talk, description: str) -> np.ndarray:
    """The source's answers to target images.

    Args:
        model: whose program places the images.
        images: `(n, h, w, c)`.
        talk: shows progress.
        description: what the progress bar says.

    Returns:
        Scores `(n, V, S)`.
    """
    rows = talk.slices(description, len(images), rows_at_once(model))
    return np.concatenate([model.collect_scores(images[row], verbose=0) for row in rows])


def read(model: ReprogrammedModel, answers: np.ndarray) -> np.ndarray:
    """Reads stored answers with the model's output map.

    Args:
        model: whose map is fitted.
        answers: scores `(n, V, S)`.

    Returns:
        Probabilities `(n, K)`.
    """
    return keras.ops.convert_to_numpy(model.output_map(answers))


def predict(
    model: ReprogrammedModel, images: np.ndarray, talk: Talk, description: str
) -> np.ndarray:
    """Probabilities of target images.

    Args:
        model: a trained model.
        images: `(n, h, w, c)`.
        talk: shows progress.
        description: what the progress bar says.

    Returns:
        `(n, K)`.
    """
    rows = talk.slices(description, len(images), rows_at_once(model))
    return np.concatenate(
        [read(model, model.collect_scores(images[row], verbose=0)) for row in rows]
    )


def trained_state(model: ReprogrammedModel) -> list[np.ndarray]:
    """Copies of the program's and the map's weights, without the source's.

    Args:
        model: any model.
    """
    return [keras.ops.convert_to_numpy(weight.value).copy() for weight in _small_part(model)]


def set_trained_state(model: ReprogrammedModel, state: list[np.ndarray]) -> None:
    """Puts weights back that `trained_state` copied.

    Args:
        model: the same model.
        state: what `trained_state` returned.
    """
    for weight, value in zip(_small_part(model), state, strict=True):
        weight.assign(value)


def rows_at_once(model: ReprogrammedModel) -> int:
    """How many target images to ask about at once.

    Args:
        model: whose source images may be large, and several for each target image.
    """
    values = model.queries_per_prediction * math.prod(model.source.source_shape)
    return max(1, min(_MOST_ROWS_AT_ONCE, _VALUES_AT_ONCE // values))


def _small_part(model: ReprogrammedModel) -> list[Any]:
    return model.program.weights + model.output_map.weights
