"""A twin of the source: another form of the same network that can be embedded."""

from __future__ import annotations

import keras
import numpy as np

from keras_reprogram.program.target_range import target_range_of
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source

_NUM_PROBES = 8


def sample_images(model: ReprogrammedModel, count: int = _NUM_PROBES) -> np.ndarray:
    """Seeded random target images, to compare two forms of a model on.

    Args:
        model: whose shape and range the images have. Where its program does not say its range,
            every second image spans 0 to 255 and the others 0 to 1.
        count: how many.

    Returns:
        float32 array `(count, h, w, c)`.
    """
    known = target_range_of(model.program)
    low, high = known or (0.0, 1.0)
    shape = (count, *model.input_shape[1:])
    images = np.random.default_rng(0).uniform(low, high, shape)
    if known is None:
        images[1::2] *= 255.0
    return images.astype(np.float32)


def check_twin(model: ReprogrammedModel, twin: Source, tolerance: float) -> None:
    """Shows both the same source images and compares their scores.

    Args:
        model: whose own source is asked (`8 * V` queries).
        twin: the source to put in its place.
        tolerance: largest difference of a score.

    Raises:
        ValueError: if they differ by more.
    """
    images = model.program(sample_images(model))
    own, other = (keras.ops.convert_to_numpy(source(images)) for source in (model.source, twin))
    difference = float(np.abs(own - other).max())
    if difference > tolerance:
        raise ValueError(
            f"`source=` is not a twin of the model's source: scores differ by {difference:.3g}, "
            f"at most {tolerance:g} is allowed. Received: {type(twin).__name__}. Pass the same "
            "network, or in Python a larger `twin_tolerance` if rounding explains the difference."
        )
