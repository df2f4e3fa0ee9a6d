"""smm_2024: one pattern, a mask of its own for each image, iterative label mapping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.methods.method import Method, compiled_method
from keras_reprogram.methods.rate_schedule import milestones
from keras_reprogram.output_map import MultiLabelMap
from keras_reprogram.program import SampleMaskProgram
from keras_reprogram.source.source import Source


def smm_2024(
    source: Source,
    target_shape: tuple[int, int, int],
    num_classes: int,
    *,
    target_range: tuple[float, float] = (0.0, 255.0),
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    assignment: str = "iterative",
    learning_rate: float = 0.01,
    **program_options: Any,
) -> Method:
    """Sample-specific multi-channel masks (Cai et al. 2024, eq. 4, algorithm 1).

    `SampleMaskProgram` with the five-layer network and iterative label mapping. Adam at 0.01 for
    pattern and network, a tenth of it after 50 % and a hundredth after 72 % of 200 epochs, batches
    of 256.

    Deviations: those of `SampleMaskProgram` and, for the map, of `ilm_vp_2023`. The released code
    cuts training images at random from 1/7 larger ones and mirrors them; pass such data for it.
    For vision
    transformers pass `filters=(8, 16, 32, 64, 128)`; the paper then trains the network at a
    constant 0.001.

    Args:
        source: any `Source` with at least K labels.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order, the network's first weights and a random map.
        assignment: `"iterative"`, `"frequency"` or `"random"`.
        learning_rate: the first.
        **program_options: of `SampleMaskProgram`: `filters`, `patch_size`, `strength`.

    Returns:
        A `Method`.

    Raises:
        ValueError: if the source has fewer labels than classes.

    References:
        Cai, Ye, Feng, Qi, Liu, "Sample-specific Masks for Visual Reprogramming-based Prompting",
        ICML 2024.
    """
    program = SampleMaskProgram(
        target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=target_range,
        seed=seed,
        **program_options,
    )
    return compiled_method(
        "smm_2024",
        program,
        source,
        MultiLabelMap(num_classes, assignment=assignment, seed=seed),
        optimizer=keras.optimizers.Adam(learning_rate),
        rate=milestones(learning_rate),
        epochs=200,
        batch_size=256,
        class_names=class_names,
        seed=seed,
    )
