"""A written export, loaded by a process that knows nothing of this package, and compared."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.export import fresh_process
from keras_reprogram.export.encoded_images import scaled_codes
from keras_reprogram.export.twin import sample_images
from keras_reprogram.export.warmup import example_of
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source

_PARITY = 1e-5
# Deep networks round more; anything above is a broken export all the same.
_LARGEST_PARITY = 1e-3
# Blocked, so that a custom object left in the file shows.
_BLOCK = "import sys\nsys.modules['keras'] = sys.modules['keras_reprogram'] = None\n"


def check_reloaded(
    model: ReprogrammedModel, version: Path, source: Source, signatures: Sequence[str]
) -> tuple[float, int]:
    """Runs all signatures and warm-up requests of an export in a fresh process, on the CPU.

    Scores may differ by 1e-5, or by four times what the model's own scores differ by between a
    batch and its images one by one.

    Args:
        model: what the scores are compared with.
        version: the folder.
        source: what was embedded.
        signatures: those written.

    Returns:
        The largest difference of a score, and the number of warm-up requests.

    Raises:
        ValueError: if the process fails, or the scores differ.
    """
    images, inputs = _inputs(model, signatures)
    with tf.device("CPU"):
        expected = _scores(model, source, images)
        singly = np.concatenate([_scores(model, source, image[None]) for image in images])
    answers, replayed = _answers(version, inputs)
    difference = max(float(np.abs(scores - expected).max()) for scores in answers.values())
    noise = float(np.abs(singly - expected).max())
    allowed = min(max(_PARITY, 4.0 * noise), _LARGEST_PARITY)
    if not difference <= allowed:
        raise ValueError(
            f"The SavedModel does not agree with the model: scores differ by {difference:.3g}, at "
            f"most {allowed:.3g} is allowed. Nothing was kept. Check custom layers in the source "
            "for operations that behave differently in a graph."
        )
    return difference, replayed


def _inputs(model: ReprogrammedModel, signatures: Sequence[str]) -> tuple[np.ndarray, Any]:
    """The same images as every signature takes them."""
    if "image_bytes" not in signatures:
        images = sample_images(model)
        return images, {"serving_default": images}
    shape = (8, *model.input_shape[1:])
    codes = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    files = [tf.io.encode_png(image).numpy() for image in codes]
    images = scaled_codes(codes.astype(np.float32), model.program.target_range)
    examples = [example_of(file) for file in files]
    return images, {"serving_default": images, "image_bytes": files, "classify": examples}


def _scores(model: ReprogrammedModel, source: Source, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model.output_map(source(model.program(images))))


def _answers(version: Path, inputs: dict[str, Any]) -> tuple[dict[str, np.ndarray], int]:
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
        answers = {name: np.load(Path(exchange, f"{name}.npy")) for name in inputs}
        return answers, int(Path(exchange, "replayed").read_text())
