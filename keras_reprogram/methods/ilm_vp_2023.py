"""ilm_vp_2023: a padded prompt, and source labels chosen anew after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_reprogram.methods.method import Method
from keras_reprogram.methods.padded_prompt import padded_prompt
from keras_reprogram.output_map import MultiLabelMap
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
