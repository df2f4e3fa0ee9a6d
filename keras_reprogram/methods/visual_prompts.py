"""Padded prompts and their label maps: bahng_2022, ilm_vp_2023, blm_2024, blmp_2024."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.methods.method import (
    Method,
    compiled_method,
    first_labels,
    framed_program,
    full_program,
)
from keras_reprogram.methods.rate_schedule import milestones, warm_cosine
from keras_reprogram.output_map import MultiLabelMap, OutputMap
from keras_reprogram.program.program_layer import IMAGENET_UNIT
from keras_reprogram.source.source import Source


def ilm_vp_2023(
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
    """Visual prompting with iterative label mapping (Chen et al. 2023, eq. 2-4).

    `pad(x) + sigmoid(W) * M`, W = 0 at first; class t is one source label, chosen greedily by how
    often it comes first, again after each epoch. Adam at 0.01, a tenth of it after 50 % and a
    hundredth after 72 % of 200 epochs, batches of 128.

    Deviations: the map counts the answers of the epoch's own steps instead of asking for all
    images again (see `MultiLabelMap`). On a mid-range canvas `sigmoid(W)` is the pixel that the
    paper has on a black one.

    Args:
        source: any `Source` with at least K labels.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order and a random map.
        assignment: `"iterative"` (ILM), or what the paper compares with: `"frequency"` (FLM),
            `"random"` (RLM).
        learning_rate: the first.
        **program_options: of `ProgramLayer`; without `image_size` images that would fill the
            canvas are shrunk to 4/7 of it.

    Returns:
        A `Method`.

    Raises:
        ValueError: if the source has fewer labels than classes.

    References:
        Chen, Yao, Chen, Zhang, Liu, "Understanding and Improving Visual Prompting: A
        Label-Mapping Perspective", CVPR 2023.
    """
    return padded_prompt(
        "ilm_vp_2023",
        source,
        target_shape,
        MultiLabelMap(num_classes, assignment=assignment, seed=seed),
        target_range=target_range,
        class_names=class_names,
        seed=seed,
        learning_rate=learning_rate,
        **program_options,
    )


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
    options = {"frame": frame, "squash": "none", "strength": IMAGENET_UNIT} | program_options
    program = full_program(source, target_shape, target_range=target_range, **options)
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


# Of the released code; 64 for two of its twelve data sets.
_BATCH_SIZE = 256


def blm_2024(
    source: Source,
    target_shape: tuple[int, int, int],
    num_classes: int,
    *,
    target_range: tuple[float, float] = (0.0, 255.0),
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    learning_rate: float = 0.01,
    **program_options: Any,
) -> Method:
    """Bayesian-guided label mapping, BLM (Cai et al. 2024, sec. 4), with padding.

    `pad(x) + sigmoid(W) * M`; a class is a weighted sum of all source labels, the weights
    estimated again after each epoch (`bayesian_weights`). Trained as `ilm_vp_2023`, in
    batches of 256.

    Deviations: those of `ilm_vp_2023` and `MultiLabelMap`; probabilities are weighed, theirs are
    logits.

    Args:
        source: any `Source`, of fewer labels than classes too.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order.
        learning_rate: the first.
        **program_options: of `ProgramLayer`; without `image_size` images that would fill the
            canvas are shrunk to 4/7 of it.

    Returns:
        A `Method`.

    References:
        Cai, Ye, Feng, Qi, Liu, "Bayesian-Guided Label Mapping for Visual Reprogramming",
        NeurIPS 2024.
    """
    return padded_prompt(
        "blm_2024",
        source,
        target_shape,
        MultiLabelMap(num_classes, assignment="bayesian"),
        target_range=target_range,
        class_names=class_names,
        seed=seed,
        learning_rate=learning_rate,
        batch_size=_BATCH_SIZE,
        **program_options,
    )


def blmp_2024(
    source: Source,
    target_shape: tuple[int, int, int],
    num_classes: int,
    *,
    target_range: tuple[float, float] = (0.0, 255.0),
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    learning_rate: float = 0.01,
    **program_options: Any,
) -> Method:
    """BLM+ (Cai et al. 2024, sec. 4): as `blm_2024`, counting each answer's k highest scores.

    k is 15 % of the classes, at least 1 (theirs is 0 for up to six classes).

    Args:
        source: as for `blm_2024`.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order.
        learning_rate: the first.
        **program_options: as for `blm_2024`.

    Returns:
        A `Method`.
    """
    return padded_prompt(
        "blmp_2024",
        source,
        target_shape,
        MultiLabelMap(num_classes, assignment="bayesian_plus"),
        target_range=target_range,
        class_names=class_names,
        seed=seed,
        learning_rate=learning_rate,
        batch_size=_BATCH_SIZE,
        **program_options,
    )


def padded_prompt(
    name: str,
    source: Source,
    target_shape: tuple[int, int, int],
    output_map: OutputMap,
    *,
    target_range: tuple[float, float],
    class_names: Sequence[str] | None,
    seed: int,
    learning_rate: float,
    batch_size: int = 128,
    **program_options: Any,
) -> Method:
    """`pad(x) + sigmoid(W) * M`, trained as Chen et al. (2023) do, with a map of one's own."""
    # Adam, a tenth of the rate after 50 % and a hundredth after 72 % of 200 epochs.
    options = {"squash": "sigmoid"} | program_options
    return compiled_method(
        name,
        framed_program(source, target_shape, target_range=target_range, **options),
        source,
        output_map,
        optimizer=keras.optimizers.Adam(learning_rate),
        rate=milestones(learning_rate),
        epochs=200,
        batch_size=batch_size,
        class_names=class_names,
        seed=seed,
    )
