"""Whether a source's answers stay the same from epoch to epoch, and what they depend on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import keras
import numpy as np

from keras_reprogram.program.candidate_images import live_coordinates

_PROBED_IMAGES = 16
# Of a pixel in [0, 255]: less may be rounding.
_DECIMALS = 1


class MovingAnswersError(Exception):
    """Why the source has to be asked in every epoch; `fit` says it and goes on."""


def program_stands(model: Any) -> bool:
    """Whether no weight that `fit` trains reaches a pixel.

    Args:
        model: a `ReprogrammedModel`.
    """
    trained = model.trainable and model.program.trainable_variables
    return not (trained and live_coordinates(model.program).any())


def check_standing(program: keras.layers.Layer, images: np.ndarray) -> np.ndarray:
    """Tries whether a program without trained pixels shows the source the same in each epoch.

    Args:
        program: a built layer.
        images: `(n, h, w, c)`; the first 16 are tried.

    Returns:
        What the source is shown of them, `(16 or fewer, V, H, W, C)`.

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
    shown = np.asarray(program(some, training=False))
    if not np.allclose(in_training, shown, atol=1e-3):
        raise MovingAnswersError("the program gives other images in training (augmentation)")
    return shown


def answers_fingerprint(model: Any, digest: str, shown: np.ndarray) -> str:
    """What answers depend on: source, program with the weights that stand, and images.

    Args:
        model: a `ReprogrammedModel` whose program stands.
        digest: of the images.
        shown: what the program makes of some of them. A program's code may change, of which its
            config says nothing.

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
    # A service's answers depend on what is asked for beside the image.
    parts += [getattr(model.source, "request_options", "")]
    low, high = model.source.value_range
    parts.append(_projections(shown * (255 / (high - low))))
    parts += [images_digest(variable.numpy()) for variable in _standing_variables(model)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class StillStanding(keras.callbacks.Callback):
    """Ends a fit on kept answers whose program is changed by somebody else, such as a callback.

    Args:
        model: a `ReprogrammedModel` whose program stands, when its source has been asked.

    Raises:
        ValueError: from `fit`, where training begins and after each epoch.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        # Those of now: what else is trainable in between changes no answer.
        self._variables = _standing_variables(model)
        self._expected = [images_digest(variable.numpy()) for variable in self._variables]

    def on_train_begin(self, logs: Any = None) -> None:
        self._check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._check()

    def _check(self) -> None:
        if [images_digest(variable.numpy()) for variable in self._variables] != self._expected:
            raise ValueError(
                "`fit` trains on answers that the source gave before the first epoch. Received: a "
                "program with other weights than then, which a callback gave it. Load them before "
                "`fit`, or pass `cache_features=None` to ask in every epoch."
            )


def _standing_variables(model: Any) -> list[Any]:
    # Those that are trained reach no pixel.
    program = model.program
    return program.non_trainable_weights if model.trainable else program.weights


def _projections(images: np.ndarray) -> list[float]:
    """A number for each image, which differs where the pixels do, and not where they round."""
    rows = images.reshape(len(images), -1)
    direction = np.random.default_rng(0).standard_normal(rows.shape[1])
    return np.round(rows @ direction / np.linalg.norm(direction), _DECIMALS).tolist()


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
