"""voice2series_2021: time series through a frozen recogniser of spoken words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.arguments import is_image
from keras_reprogram.methods.method import Method, compiled_method
from keras_reprogram.methods.rate_schedule import constant
from keras_reprogram.output_map import MultiLabelMap
from keras_reprogram.program import SeriesProgram, repeated_view
from keras_reprogram.source.source import Source

_WEIGHT_DECAY = 0.04


def voice2series_2021(
    source: Source,
    target_shape: tuple[int, ...],
    num_classes: int,
    *,
    target_range: tuple[float, float] | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    repetitions: int = 1,
    dropout: float = 0.0,
    labels_per_class: int | None = None,
    learning_rate: float = 0.05,
    **program_options: Any,
) -> Method:
    """Voice2Series (Yang, Tsai, Chen 2021, eq. 1-4 and algorithm 1).

    `x' = Pad(x) + M * theta` with a weight for each of the source's samples and M = 0 under the
    series; `Pad` repeats the series m' times at equal distances; a class has the mean probability
    of `m = floor(K_S / K_T)` source labels, chosen at random and disjoint; loss `-log` of it, with
    weight decay of .04 on theta; Adam at .05, batches of 32, 100 epochs.

    The paper chooses m' from 1 to 10 and the dropout on theta from 0 to .4 by ten folds of the
    training part, for each data set: pass `repetitions=` and `dropout=`, chosen on validation.

    Deviations: the classes' means are scaled to sum to 1 (`MultiLabelMap`). Theta starts at Glorot
    values, as in the code. What the released code does otherwise is not followed: it never applies
    the mask, drops weights in prediction too, gives labels to classes in their order, lets the rate
    fall to .001 within 100 steps, trains the source as well unless told not to, and chooses the
    epoch on the test set; before September 2022 it made one class of the labels -1 and 1.

    Args:
        source: any `Source` of one row of samples, with at least as many labels as classes; the
            paper's is `speech_commands_source`.
        target_shape: `(length,)` of series.
        num_classes: target classes.
        target_range: `(low, high)` of series, or `None` for no check.
        class_names: names of the classes, or `None`.
        seed: draws theta, the map, dropout and the batch order.
        repetitions: m', copies of the series.
        dropout: share of theta that a training step leaves out.
        labels_per_class: m; `None` for as many as there are.
        learning_rate: of Adam.
        **program_options: of `SeriesProgram`, such as `masked=False` for the released code.

    Returns:
        A `Method`.

    Raises:
        ValueError: for targets or sources that are images, and a source with too few labels.

    References:
        Yang, Tsai, Chen, "Voice2Series: Reprogramming Acoustic Models for Time Series
        Classification", ICML 2021.
    """
    if is_image(source.source_shape) or is_image(target_shape):
        raise ValueError(
            "voice2series_2021 reads series through a source of sounds. Received: target_shape="
            f"{tuple(target_shape)} and a source of {source.source_shape}. Choose another method "
            "for images."
        )
    length, samples = int(target_shape[0]), source.source_shape[0]
    options: dict[str, Any] = {
        "views": [repeated_view(length, samples, repetitions)],
        # The paper adds them as they are, and its sounds may leave the range.
        "source_range": None,
        "scale": 1.0,
        "squash": "none",
        "initializer": keras.initializers.GlorotUniform(seed=seed),
        "regularizer": _WEIGHT_DECAY,
        "dropout": dropout,
    }
    program = SeriesProgram(
        target_shape,
        source.source_shape,
        target_range=target_range,
        seed=seed,
        **options | program_options,
    )
    if labels_per_class is None:
        labels_per_class = max(1, source.num_labels // num_classes)
    return compiled_method(
        "voice2series_2021",
        program,
        source,
        MultiLabelMap(
            num_classes, labels_per_class=labels_per_class, assignment="random", seed=seed
        ),
        optimizer=keras.optimizers.Adam(learning_rate),
        rate=constant(learning_rate),
        epochs=100,
        batch_size=32,
        class_names=class_names,
        seed=seed,
    )
