"""bahng_2022: visual prompts, a frame added to the image that fills the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.methods.first_labels import first_labels
from keras_reprogram.methods.method import Method, compiled_method
from keras_reprogram.methods.rate_schedule import warm_cosine
from keras_reprogram.program import ProgramLayer
from keras_reprogram.program.squashing import IMAGENET_UNIT
from keras_reprogram.source.source import Source

# A frame of 30 on images of 224 pixels.
_FRAME_SHARE = 30 / 224


def bahng_2022(
    source: Source,
    target_shape: tuple[int, int, int],
    num_classes: int,
    *,
    target_range: tuple[float, float] = (0.0, 255.0),
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    learning_rate: float = 40.0,
    **program_options: Any,
) -> Method:
    """Visual prompting by padding (Bahng, Jahanian, Sankaranarayanan, Isola 2022, sec. 3).

    `x + P` on a frame of 30 of 224 pixels, the image on the whole canvas, nothing squashed; class
    t is source label t. SGD with momentum .9, 1,000 epochs with batches of 128; the rate 40 comes
    after a warm-up and falls by a cosine. `frame=None, masked=False` trains the whole canvas.

    Deviations: the result is clipped to the source's range; weights start at zero, theirs at
    random. A weight of 1 is a standard deviation of ImageNet's pixels, as theirs is, so that the
    rate means the same; the warm-up is their share of all steps.

    Args:
        source: any `Source` with at least K labels.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order.
        learning_rate: the highest.
        **program_options: of `ProgramLayer`.

    Returns:
        A `Method`.

    Raises:
        ValueError: if the source has fewer labels than classes.

    References:
        Bahng, Jahanian, Sankaranarayanan, Isola, "Exploring Visual Prompts for Adapting
        Large-Scale Models", 2022.
    """
    frame = max(1, round(_FRAME_SHARE * min(source.source_shape[:2])))
    options: dict[str, Any] = {
        "source_range": source.value_range,
        "target_range": target_range,
        "placement": "full",
        "frame": frame,
        "squash": "none",
        "strength": IMAGENET_UNIT,
    }
    program = ProgramLayer(target_shape, source.source_shape, **options | program_options)
    return compiled_method(
        "bahng_2022",
        program,
        source,
        first_labels(source, num_classes),
        optimizer=keras.optimizers.SGD(learning_rate, momentum=0.9),
        rate=warm_cosine(learning_rate),
        epochs=1000,
        batch_size=128,
        class_names=class_names,
        seed=seed,
    )
