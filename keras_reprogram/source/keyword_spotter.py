"""KeywordSpotterSource: MLPerf Tiny's recogniser of ten spoken words, as a source of sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.fft import dct

from keras_reprogram.source.litert_source import LiteRTSource
from keras_reprogram.source.mel_bands import mel_matrix
from keras_reprogram.source.python_source import PythonSource

SAMPLES, SAMPLE_RATE = 16_000, 16_000
# Where the file comes from; licence Apache-2.0.
DOWNLOAD = (
    "https://github.com/mlcommons/tiny/tree/master/benchmark/training/keyword_spotting/"
    "trained_models"
)
# The labels in the order of its outputs.
SPOTTED = (
    "down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown",
)  # fmt: skip
_FRAME, _STEP, _SPECTRUM = 480, 320, 512
_MEL_BINS, _HERTZ = 40, (20.0, 4000.0)
_FRAMES, _COEFFICIENTS = 1 + (SAMPLES - _FRAME) // _STEP, 10
# Silence gives -124, a sound of full strength less than 70.
_COEFFICIENT_RANGE = (-128.0, 128.0)
_FLOOR = 1e-6
# Of the loudest sample's size.
_LEAST_PEAK = 1e-3
_WINDOW = np.hanning(_FRAME + 1)[:-1].astype(np.float32)
_TRIANGLES = mel_matrix(_MEL_BINS, _SPECTRUM // 2 + 1, _HERTZ, SAMPLE_RATE)


@keras.saving.register_keras_serializable(package="keras_reprogram")
class KeywordSpotterSource(PythonSource):
    """The keyword spotter of MLPerf Tiny (Banbury et al. 2021): one second of sound -> 12 labels.

    The published `.tflite` files take 49 x 10 cepstral coefficients; this source computes them
    from the sound as the benchmark's training code does: samples over their largest value, Hann
    windows of 480 samples every 320, magnitudes of 512 points, 40 mel bands from 20 to 4,000 Hz,
    logarithms of value + 1e-6, their cosine transform, its first ten coefficients. The network
    runs in LiteRT, so that the source shows its scores alone; asking it costs nothing.

    Args:
        path: `kws_ref_model_float32.tflite` (43 KB) or `kws_ref_model.tflite` (8 bits, 54 KB),
            Apache-2.0, from https://github.com/mlcommons/tiny.
        max_batch: most sounds a call.
        name: layer name.

    Raises:
        FileNotFoundError: if there is no file; the message says where it is.
        ValueError: for another file.

    Example:
    ```python
    from keras_reprogram.source import KeywordSpotterSource

    help(KeywordSpotterSource)
    ```

    References:
        Banbury et al., "MLPerf Tiny Benchmark", NeurIPS 2021, datasets and benchmarks.
    """

    costs_queries = False

    def __init__(
        self, path: str | Path, *, max_batch: int | None = 256, name: str = "source"
    ) -> None:
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no keyword spotter at {path}. Download kws_ref_model_float32.tflite "
                f"(43 KB, licence Apache-2.0) from {DOWNLOAD}, and pass its path."
            )
        network = _network(path)
        self.model_path = path
        # Keras would take a layer that is kept as such for a part with weights to build.
        self._ask_network, self._bounds = network.ask, network.value_range
        self._network_fingerprint = network.fingerprint
        super().__init__(
            (SAMPLES,),
            len(SPOTTED),
            value_range=(-1.0, 1.0),
            class_names=SPOTTED,
            score_step=network.score_step,
            max_batch=max_batch,
            name=name,
        )

    def ask(self, images: np.ndarray) -> np.ndarray:
        coefficients = cepstral_coefficients(images)[..., None]
        # Coefficients beyond what a file of 8 bits holds end at its bounds, as on a device.
        return self._ask_network(np.clip(coefficients, *self._bounds))

    @property
    def fingerprint(self) -> str:
        return f"keyword spotter:{self._network_fingerprint}"

    def get_config(self) -> dict[str, Any]:
        return {
            "path": str(self.model_path),
            "max_batch": self.max_batch,
            "name": self.name,
        }


def cepstral_coefficients(sounds: np.ndarray) -> np.ndarray:
    """Sounds `(n, 16000)` -> the network's coefficients `(n, 49, 10)`, as published."""
    # As published, but for sounds that hardly rise above zero, or are silent.
    loudest = np.abs(sounds).max(axis=1, keepdims=True)
    largest = np.maximum(sounds.max(axis=1, keepdims=True), _LEAST_PEAK * loudest)
    largest = np.where(largest > 0, largest, 1.0)
    frames = np.lib.stride_tricks.sliding_window_view(sounds / largest, _FRAME, axis=1)
    spectra = np.abs(np.fft.rfft(frames[:, ::_STEP] * _WINDOW, _SPECTRUM))
    logarithms = np.log(spectra @ _TRIANGLES + _FLOOR)
    cepstrum = dct(logarithms, type=2, axis=-1) / np.sqrt(2.0 * _MEL_BINS)
    return cepstrum[..., :_COEFFICIENTS].astype(np.float32)


def _network(path: Path) -> LiteRTSource:
    """The file as a source of coefficients, whose bounds are those of its 8 bits, if it has."""
    network = LiteRTSource(path, value_range=_COEFFICIENT_RANGE)
    found = (*network.source_shape, network.num_labels)
    if found != (_FRAMES, _COEFFICIENTS, 1, len(SPOTTED)):
        raise ValueError(
            f"Expected a keyword spotter of {DOWNLOAD}: {_FRAMES} x {_COEFFICIENTS} coefficients "
            f"in, {len(SPOTTED)} scores out. Received: {path}, {network.source_shape} in, "
            f"{network.num_labels} out. A file of another kind is a `LiteRTSource`."
        )
    scale, zero_point = network.input_details["quantization"]
    if not scale:
        return network
    codes = np.iinfo(network.input_details["dtype"])
    bounds = scale * (codes.min - zero_point), scale * (codes.max - zero_point)
    return LiteRTSource(path, value_range=(float(bounds[0]), float(bounds[1])))
