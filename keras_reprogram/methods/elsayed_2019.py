"""elsayed_2019: adversarial reprogramming as it was first published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.methods.first_labels import first_labels
from keras_reprogram.methods.framed_program import framed_program
from keras_reprogram.methods.method import Method, compiled_method
from keras_reprogram.methods.rate_schedule import STAIRCASE_EPOCHS, staircase
from keras_reprogram.source.source import Source


def elsayed_2019(
    source: Source,
    target_shape: tuple[int, int, int],
    num_classes: int,
    *,
    target_range: tuple[float, float] = (0.0, 255.0),
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    learning_rate: float = 0.05,
    penalty: float = 0.0025,
    **program_options: Any,
) -> Method:
    """Adversarial reprogramming (Elsayed, Goodfellow, Sohl-Dickstein 2019, eq. 1-4).

    `x + tanh(W * M)` around the image; class t is source label t; minimises
    `-log p + penalty * ||W||^2` by Adam, whose rate falls by .96 every two epochs. Batches of 50;
    the 83 epochs are the 100,000 steps that MNIST had.

    Deviations: those of `ProgramLayer`, and of `MultiLabelMap`: p is the label's share of the
    first K scores, not of all (Kloberdanz reads the first K logits too). The penalty is that of
    her re-run (2020, ch. 3), .005 times half of the squared norm, with a learning rate of 0.01.

    Args:
        source: any `Source` with at least K labels.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order.
        learning_rate: the first.
        penalty: lambda, >= 0.
        **program_options: of `ProgramLayer`; without `image_size` images that would fill the
            canvas are shrunk to 4/7 of it.

    Returns:
        A `Method`.

    Raises:
        ValueError: if the source has fewer labels than classes.

    References:
        Elsayed, Goodfellow, Sohl-Dickstein, "Adversarial Reprogramming of Neural Networks",
        ICLR 2019.
    """
    options = {"regularizer": penalty or None} | program_options
    program = framed_program(source, target_shape, target_range=target_range, **options)
    return compiled_method(
        "elsayed_2019",
        program,
        source,
        first_labels(source, num_classes),
        optimizer=keras.optimizers.Adam(learning_rate),
        rate=staircase(learning_rate),
        epochs=STAIRCASE_EPOCHS,
        batch_size=50,
        class_names=class_names,
        seed=seed,
    )
