"""Prompts with a trained scale (autovp_2024) or trained masks (smm_2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.methods.method import Method, compiled_method
from keras_reprogram.methods.rate_schedule import milestones
from keras_reprogram.output_map import DenseMap, MultiLabelMap
from keras_reprogram.program import SampleMaskProgram, ScaledProgram
from keras_reprogram.program.views import share_size
from keras_reprogram.source.source import Source


def autovp_2024(
    source: Source,
    target_shape: tuple[int, int, int],
    num_classes: int,
    *,
    target_range: tuple[float, float] = (0.0, 255.0),
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    learning_rate: float = 0.001,
    **program_options: Any,
) -> Method:
    """AutoVP with trained scale and fully connected map (Tsao et al. 2024, sec. 3).

    `ScaledProgram`: `sigmoid(W)` around an image whose scale is trained; the dense map "FullyMap".
    Adam at 0.001, a tenth of it after 50 % and a hundredth after 72 % of 200 epochs, batches
    of 128. At scale 1 the image takes 128 of 224 pixels, whatever size it has of its own. The
    paper searches initial scale, map and rate for each task; the rate is the one that its code
    recommends, and the search is the user's.

    Deviations: those of `ScaledProgram`; the map reads standardised log-scores, theirs logits,
    and starts at zero.

    Args:
        source: any `Source`, of fewer labels than classes too.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order.
        learning_rate: the first.
        **program_options: of `ScaledProgram`: `image_size`, `initial_scale`.

    Returns:
        A `Method`. `method.model.program.scale` is the scale.

    References:
        Tsao, Hsiung, Chen, Liu, Ho, "AutoVP: An Automated Visual Prompting Framework and
        Benchmark", ICLR 2024.
    """
    options = {"image_size": share_size(target_shape, source.source_shape)} | program_options
    program = ScaledProgram(
        target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=target_range,
        **options,
    )
    return compiled_method(
        "autovp_2024",
        program,
        source,
        DenseMap(num_classes),
        optimizer=keras.optimizers.Adam(learning_rate),
        rate=milestones(learning_rate),
        epochs=200,
        batch_size=128,
        class_names=class_names,
        seed=seed,
    )


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
