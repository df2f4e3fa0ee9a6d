"""Halved weights: smaller, the same shapes, and no constant of a logarithm rounded."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from keras_reprogram import LiteRTSource, embedded_path
from keras_reprogram.export.litert_conversion import halve_weights

FILE = embedded_path("traffic_signs.tflite")


def test_kernels_are_halved_and_vectors_stay(tmp_path) -> None:
    content = halve_weights(FILE.read_bytes())
    assert len(content) < 0.55 * len(FILE.read_bytes())
    tensors = Interpreter(model_content=content).get_tensor_details()
    halves = [t for t in tensors if t["dtype"] == np.float16]
    assert len(halves) == 8, "seven convolutions and one dense layer"
    assert all(len(t["shape"]) >= 2 for t in halves)
    path = tmp_path / "half.tflite"
    path.write_bytes(content)
    images = np.random.default_rng(0).uniform(0, 255, (9, 32, 32, 3)).astype("float32")
    one, other = (LiteRTSource(file, value_range=(0, 255))(images) for file in (FILE, path))
    np.testing.assert_allclose(one, other, atol=0.01)
    assert np.abs(np.subtract(one, other)).max() > 0
