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
    names = [output.name for output in session.get_outputs()]
    answers = [session.run(names, {"image": part}) for part in parts]
    for name, found in zip(names, zip(*answers, strict=True), strict=True):
        np.save(exchange / f"{name}.npy", np.concatenate(found))


if __name__ == "__main__":
    check(Path(sys.argv[1]), Path(sys.argv[2]))
