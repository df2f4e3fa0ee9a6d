"""blm_2024 and blmp_2024: a padded prompt, and weights from source labels to classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_reprogram.methods.method import Method
from keras_reprogram.methods.padded_prompt import padded_prompt
from keras_reprogram.output_map import MultiLabelMap
from keras_reprogram.source.source import Source

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
