"""A written export, loaded by a process that knows nothing of this package, and compared."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.export import fresh_process
from keras_reprogram.export.encoded_images import scaled_codes
from keras_reprogram.export.model_answers import ModelAnswers
from keras_reprogram.export.twin import sample_images
from keras_reprogram.export.warmup import example_of
from keras_reprogram.reprogrammed_model import ReprogrammedModel

# Blocked, so that a custom object left in the file shows.
_BLOCK = "import sys\nsys.modules['keras'] = sys.modules['keras_reprogram'] = None\n"


def check_reloaded(
    version: Path, inputs: Mapping[str, Any], expected: ModelAnswers
) -> tuple[float, int]:
    """Runs all signatures and warm-up requests of an export in a fresh process, on the CPU.

    Args:
        version: the folder.
        inputs: signature -> rows as it takes them.
        expected: the model's answers to the same rows.

    Returns:
        The largest difference of an output, and the number of warm-up requests.

    Raises:
        ValueError: if the process fails, or the outputs differ by more than rounding.
    """
    answers, replayed = _answers(version, inputs)
    return max(expected.compare("SavedModel", *answer) for answer in answers), replayed


def images_for(
    model: ReprogrammedModel, signatures: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray]:
    """The same images as every signature takes them.

    Args:
        model: what was exported.
        signatures: those written, all of which take images.

    Returns:
        Signature -> rows, and the images as pixels.
    """
    if "image_bytes" not in signatures:
        images = sample_images(model)
        return dict.fromkeys(signatures, images), images
    shape = (8, *model.input_shape[1:])
    codes = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    files = [tf.io.encode_png(image).numpy() for image in codes]
    images = scaled_codes(codes.astype(np.float32), model.program.target_range)
    encoded = {"image_bytes": files, "classify": [example_of(file) for file in files]}
    return {name: encoded.get(name, images) for name in signatures}, images


def _answers(version: Path, inputs: Mapping[str, Any]) -> tuple[list[tuple[str, np.ndarray]], int]:
    """Names and values of all signatures' outputs of numbers."""
    # The parent may hold all of the GPU's memory, and rounds differently there.
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    script = _BLOCK + inspect.getsource(fresh_process)
    with tempfile.TemporaryDirectory() as exchange:
        for name, value in inputs.items():
            Path(exchange, f"{name}.input").write_bytes(tf.io.serialize_tensor(value).numpy())
        run = subprocess.run(
            [sys.executable, "-P", "-c", script, str(version.resolve()), exchange],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if run.returncode:
            last = "\n".join(run.stderr.strip().splitlines()[-5:])
            raise ValueError(
                "The SavedModel cannot be run by a fresh process without this package, as a server "
                f"is one. Nothing was kept. Received: exit code {run.returncode}\n{last}\nCheck "
                "the source for operations or files that exist in this process only."
            )
        files = sorted(Path(exchange).glob("*.npy"))
        answers = [(file.suffixes[0].removeprefix("."), np.load(file)) for file in files]
        return answers, int(Path(exchange, "replayed").read_text())
