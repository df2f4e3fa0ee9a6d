"""Calibration images: what a conversion is ranged with, and compared on."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_reprogram.export.litert_form import LiteRTForm
from keras_reprogram.export.twin import sample_images
from keras_reprogram.image_checks import check_images
from keras_reprogram.program.target_range import target_range_of
from keras_reprogram.reprogrammed_model import ReprogrammedModel

LEAST_IMAGES = 32
# The ranges hardly move beyond, and each image is asked of the model once more.
MOST_IMAGES = 1_000


def calibration_images_for(model: ReprogrammedModel, form: LiteRTForm, images: Any) -> np.ndarray:
    """The images to convert with, checked.

    Args:
        model: the model to export.
        form: what it is exported as.
        images: what the caller passed: target images without labels, or `None`.

    Returns:
        float32 `(n, h, w, c)`; of more than 1,000 images, 1,000 at even distances. Without
        images, seeded random ones for float32.

    Raises:
        ValueError: if there are none or too few, for another shape, values outside the program's
            range, or NaN.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import (
        DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path
    )
    from keras_reprogram.export.litert_calibration import calibration_images_for
    from keras_reprogram.export.litert_form import form_named

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(num_classes=10))
    images = np.zeros((2_500, 8, 8, 1), "uint8")
    assert len(calibration_images_for(model, form_named("int8"), images)) == 1_000
    ```
    """
    if images is None:
        if form.needs_images:
            raise ValueError(
                f'`form="{form.name}"` needs `calibration_images`, because only real images tell '
                f"how well it agrees. Received: None. Pass {LEAST_IMAGES} to {MOST_IMAGES:,} "
                "training images, without labels."
            )
        return sample_images(model)
    target_range = target_range_of(model.program)
    try:
        images = check_images(images, model.input_shape[1:], target_range)
    except ValueError as error:
        raise ValueError(f"`calibration_images` cannot be used: {error}") from error
    if len(images) < LEAST_IMAGES:
        raise ValueError(
            f"`calibration_images` must be at least {LEAST_IMAGES}. Received: {len(images)}. Pass "
            "more training images, of every class: ranges and agreement are taken from them."
        )
    if len(images) > MOST_IMAGES:
        images = images[np.linspace(0, len(images) - 1, MOST_IMAGES).astype(int)]
    return images.astype(np.float32)
