"""speech_commands_source: AttRNN, a recogniser of 35 spoken words, as a source of sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.source.frozen_source import FrozenSource
from keras_reprogram.source.mel_bands import mel_matrix

SAMPLES, SAMPLE_RATE = 16_000, 16_000
# Where the weights come from, and that they may be used: MIT licence.
DOWNLOAD = "https://github.com/douglas125/SpeechCmdRecognition/raw/master/model-attRNN.h5"
# The labels in the order of its 36 outputs: what is none of the words comes first.
WORDS = (
    "unknown", "nine", "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go",
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "backward", "bed",
    "bird", "cat", "dog", "follow", "forward", "happy", "house", "learn", "marvin", "sheila",
    "tree", "visual", "wow",
)  # fmt: skip
_FRAME, _STEP = 1024, 128
_MEL_BINS, _LOWEST_HERTZ, _HIGHEST_HERTZ = 80, 40.0, 8000.0
_FLOOR = 1e-6
_TRIANGLES = mel_matrix(_MEL_BINS, _FRAME // 2 + 1, (_LOWEST_HERTZ, _HIGHEST_HERTZ), SAMPLE_RATE)
# The slope of a square root is infinite at 0, where a clip is silent.
_LEAST_POWER = 1e-20


def speech_commands_source(path: str | Path, **options: Any) -> FrozenSource:
    """AttRNN (de Andrade et al. 2018) as a differentiable source: one second of sound -> 36 labels.

    Its published file was saved by Keras 2 around functions of its authors, which Keras 3 does not
    load: the layers are built anew and the weights read in their order. The front end is part of
    the network: a Hann-windowed Fourier transform of 1,024 samples every 128, magnitudes, 80 mel
    bands from 40 to 8,000 Hz, logarithms of value + 1e-6.

    Deviation: each clip's logarithms are brought to mean 0 and deviation 1 by themselves. The
    published network does so over all clips of a call, so that its answer to a clip depends on the
    clips beside it; asked one clip a call both agree.

    Args:
        path: `model-attRNN.h5`, 2.8 MB, MIT licence, from
            https://github.com/douglas125/SpeechCmdRecognition.
        **options: further ones of `FrozenSource`, such as `max_batch`.

    Returns:
        A source of `(16000,)` samples in (-1, 1), at 16,000 a second, with `class_names`.

    Raises:
        FileNotFoundError: if there is no file; the message says where it is.
        ValueError: for another file.

    Example:
    ```python
    from keras_reprogram.source import speech_commands_source

    help(speech_commands_source)
    ```

    References:
        de Andrade, Leo, Viana, Bernkopf, "A neural attention model for speech command
        recognition", 2018.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no speech network at {path}. Download model-attRNN.h5 (2.8 MB, MIT "
            f"licence) from {DOWNLOAD}, and pass its path."
        )
    model = attention_network()
    _read_weights(model, path)
    defaults: dict[str, Any] = {"class_names": WORDS, "max_batch": 64}
    return FrozenSource(model, value_range=(-1.0, 1.0), **defaults | options)


def attention_network() -> keras.Model:
    """The layers of AttRNN without its weights: `(n, 16000) -> (n, 36)` probabilities."""
    layers = keras.layers
    sound = keras.Input((SAMPLES,), name="sound")
    bands = layers.Reshape((-1, _MEL_BINS, 1))(LogMelBands(name="bands")(sound))
    for filters in (10, 1):
        bands = layers.Conv2D(filters, (5, 1), padding="same", activation="relu")(bands)
        bands = layers.BatchNormalization()(bands)
    steps = layers.Reshape((-1, _MEL_BINS))(bands)
    for _ in range(2):
        steps = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(steps)
    query = layers.Dense(128)(steps[:, -1])
    attention = layers.Softmax()(layers.Dot(axes=(1, 2))([query, steps]))
    read = layers.Dot(axes=(1, 1))([attention, steps])
    hidden = layers.Dense(32)(layers.Dense(64, activation="relu")(read))
    scores = layers.Dense(len(WORDS), activation="softmax")(hidden)
    return keras.Model(sound, scores, name="speech_commands")


@keras.saving.register_keras_serializable(package="keras_reprogram")
class LogMelBands(keras.layers.Layer):
    """Sound `(n, samples)` -> normalised logarithms of mel bands `(n, frames, 80)`, see above."""

    def call(self, sound: Any) -> Any:
        frames = -(-sound.shape[1] // _STEP)
        missing = (frames - 1) * _STEP + _FRAME - sound.shape[1]
        real, imaginary = ops.stft(
            ops.pad(sound, ((0, 0), (0, missing))), _FRAME, _STEP, _FRAME, center=False
        )
        magnitude = ops.sqrt(ops.maximum(real**2 + imaginary**2, _LEAST_POWER))
        bands = ops.log(ops.matmul(magnitude, _TRIANGLES) + _FLOOR)
        centred = bands - ops.mean(bands, axis=(1, 2), keepdims=True)
        # A clip of silence has no deviation at all.
        return centred / ops.sqrt(ops.mean(centred**2, axis=(1, 2), keepdims=True) + _LEAST_POWER)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        samples = input_shape[1]
        return (input_shape[0], None if samples is None else -(-samples // _STEP), _MEL_BINS)


def _read_weights(model: keras.Model, path: Path) -> None:
    """Copies the weights of an `.h5` file of Keras 2, layer by layer in its order."""
    import h5py

    try:
        with h5py.File(path) as file:
            group = file["model_weights"]
            names = [
                group[layer][name]
                for layer in group.attrs["layer_names"]
                for name in group[layer].attrs["weight_names"]
            ]
            stored = [np.asarray(one) for one in names]
    except (OSError, KeyError) as error:
        raise ValueError(
            f"Expected model-attRNN.h5 of {DOWNLOAD}. Received: {path}, which cannot be read "
            f"({error}). Download it again."
        ) from error
    expected = [tuple(weight.shape) for weight in model.weights]
    if [array.shape for array in stored] != expected:
        raise ValueError(
            f"Expected model-attRNN.h5 of {DOWNLOAD}, {len(expected)} arrays. Received: {path}, "
            f"{len(stored)} arrays of other shapes. Download it again."
        )
    model.set_weights(stored)
