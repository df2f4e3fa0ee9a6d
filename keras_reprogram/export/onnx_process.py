"""Runs an exported `.onnx` file in a fresh process, as other programs would.

`export_onnx` hands the text of this file to another Python, in which neither this package nor
Keras and TensorFlow can be imported; hence it imports nothing of them.
"""

import sys
from pathlib import Path

import numpy as np


def check(file: Path, exchange: Path) -> None:
    """Scores the images in `exchange`, all at once or in the batches that the file takes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    images = np.load(exchange / "images.npy")
    size = image.shape[0] if isinstance(image.shape[0], int) else len(images)
    parts = [images[start : start + size] for start in range(0, len(images), size)]
    scores = [session.run(["scores"], {"image": part})[0] for part in parts]
    np.save(exchange / "scores.npy", np.concatenate(scores))


if __name__ == "__main__":
    check(Path(sys.argv[1]), Path(sys.argv[2]))
