"""padded_prompt: the program and training that label-mapping papers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.methods.framed_program import framed_program
from keras_reprogram.methods.method import Method, compiled_method
from keras_reprogram.methods.rate_schedule import milestones
from keras_reprogram.output_map import OutputMap
from keras_reprogram.source.source import Source


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
    """`pad(x) + sigmoid(W) * M`, trained as Chen et al. (2023) do, with a map of one's own.

    Adam, a tenth of the rate after 50 % and a hundredth after 72 % of 200 epochs.

    Args:
        name: of the method.
        source: a `Source`.
        target_shape: `(h, w, c)`.
        output_map: what the paper is about.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order.
        learning_rate: the first.
        batch_size: images a step.
        **program_options: of `ProgramLayer`.

    Returns:
        A `Method`.
    """
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
