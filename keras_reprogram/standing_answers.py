"""Whether a source's answers stay the same from epoch to epoch, and what they depend on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import keras
import numpy as np

from keras_reprogram.program.candidate_images import live_coordinates

_PROBED_IMAGES = 16


class MovingAnswersError(Exception):
    """Why the source has to be asked in every epoch; `fit` says it and goes on."""


def program_stands(model: Any) -> bool:
    """Whether no weight that `fit` trains reaches a pixel.

    Args:
        model: a `ReprogrammedModel`.
    """
    trained = model.trainable and model.program.trainable_variables
    return not (trained and live_coordinates(model.program).any())


def check_standing(program: keras.layers.Layer, images: np.ndarray) -> None:
    """Tries whether a program without trained pixels shows the source the same in each epoch.

    Args:
        program: a built layer.
        images: `(n, h, w, c)`; the first 16 are tried.

    Raises:
        MovingAnswersError: if it does not.
    """
    # Keras keeps the state of random layers among the variables, but not among the weights.
    if len(program.variables) > len(program.weights):
        raise MovingAnswersError("the program draws random numbers (augmentation)")
    before = [variable.numpy() for variable in program.weights]
    some = images[:_PROBED_IMAGES]
    in_training = np.asarray(program(some, training=True))
    for variable, value in zip(program.weights, before, strict=True):
        variable.assign(value)
    if not np.allclose(in_training, np.asarray(program(some, training=False)), atol=1e-3):
        raise MovingAnswersError("the program gives other images in training (augmentation)")


def answers_fingerprint(model: Any, digest: str) -> str:
    """What answers depend on: source, program with the weights that stand, and images.

    Args:
        model: a `ReprogrammedModel` whose program stands.
        digest: of the images.

    Returns:
        64 hexadecimal digits.

    Raises:
        MovingAnswersError: if the source has no fingerprint, or the program no `get_config`.
    """
    program = model.program
    try:
        parts = [model.source.fingerprint, keras.saving.serialize_keras_object(program), digest]
    except NotImplementedError as error:
        raise MovingAnswersError(f"what its answers depend on is not known ({error})") from error
    # Those that are trained reach no pixel.
    standing = program.non_trainable_weights if model.trainable else program.weights
    parts += [images_digest(variable.numpy()) for variable in standing]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def images_digest(images: np.ndarray) -> str:
    """The identity of an array: shape, kind of numbers, values.

    Args:
        images: any array.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(f"{images.shape}{images.dtype}".encode())
    digest.update(np.ascontiguousarray(images).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
