"""kloberdanz_2020: a resize, the frozen network without its last layer, a new one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.methods.method import Method, compiled_method
from keras_reprogram.methods.rate_schedule import constant
from keras_reprogram.output_map import NewHead
from keras_reprogram.program import ProgramLayer
from keras_reprogram.source.source import Source


def kloberdanz_2020(
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
    """Reprogramming by a new output layer, `y = g(NN'(f(x)))` (Kloberdanz 2020, ch. 4).

    `f` resizes the image to the source's input, `NN'` is the frozen source without its last
    layer, `g` a dense softmax layer. Adam at 0.001, batches of 128, 10 epochs.

    Deviations: `f` is bilinear, hers takes the nearest pixel; preprocessing is the source's own
    (her code divides by 255 after the application's preprocessing). The head reads what enters the
    last layer with weights; hers reads `layers[-2]`, which are the 1,000 scores in a MobileNet.

    Args:
        source: a `FrozenSource(model, output="features")`.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K, any number.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order.
        learning_rate: of Adam.
        **program_options: of `ProgramLayer`.

    Returns:
        A `Method`.

    Raises:
        ValueError: for a source that gives scores instead of features.

    References:
        Kloberdanz, "Reprogramming of neural networks: a new and improved machine learning
        technique", Iowa State University 2020.
    """
    options: dict[str, Any] = {
        "source_range": source.value_range,
        "target_range": target_range,
        "placement": "full",
    }
    program = ProgramLayer(target_shape, source.source_shape, **options | program_options)
    # Her f has nothing to train.
    program.trainable = False
    return compiled_method(
        "kloberdanz_2020",
        program,
        source,
        NewHead(num_classes),
        optimizer=keras.optimizers.Adam(learning_rate),
        rate=constant(learning_rate),
        epochs=10,
        batch_size=128,
        class_names=class_names,
        seed=seed,
    )
