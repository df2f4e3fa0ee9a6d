"""Adversarial reprogramming as first published (Elsayed 2019), and Kloberdanz (2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.arguments import one_of
from keras_reprogram.methods.method import (
    Method,
    compiled_method,
    first_labels,
    framed_program,
    full_program,
)
from keras_reprogram.methods.rate_schedule import STAIRCASE_EPOCHS, constant, staircase
from keras_reprogram.output_map import DenseMap, NewHead
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
    program = full_program(source, target_shape, target_range=target_range, **program_options)
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


# What each changes in the program; a learned map changes the map.
_CHANGES: dict[str, dict[str, Any]] = {
    "learned_map": {},
    "small_target": {},
    "unmasked": {"masked": False},
    # On a mid-range canvas alone, `x * (1 + P)` would be `x + P`.
    "multiply": {"operation": "multiply", "masked": False},
    "subtract": {"operation": "subtract"},
}
VARIANTS = tuple(_CHANGES)

# Digits of 28 pixels were shrunk to 4.
_SMALL_SHARE = 4 / 28


def kloberdanz_2020_variant(
    source: Source,
    target_shape: tuple[int, int, int],
    num_classes: int,
    *,
    variant: str,
    target_range: tuple[float, float] = (0.0, 255.0),
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    learning_rate: float = 0.01,
    penalty: float = 0.0025,
    **program_options: Any,
) -> Method:
    """A change to adversarial reprogramming that Kloberdanz tried (2020, ch. 3.2).

    She reports that none of them helped. All else is `elsayed_2019` with her learning rate.

    - `"learned_map"`: a dense map of all source scores instead of the first K labels.
    - `"small_target"`: the image in 1/7 of its size (28 x 28 pixels to 4 x 4).
    - `"unmasked"`: the program covers the image too.
    - `"multiply"`: `x * (1 + P)` on pixels in [0, 1], over the image too.
    - `"subtract"`: `x - P`.

    Deviations: those of `elsayed_2019`; the learned map reads standardised log-scores.

    Args:
        source: any `Source`; with at least K labels but for `"learned_map"`.
        target_shape: `(h, w, c)` of target images.
        num_classes: target classes K.
        variant: one of the above.
        target_range: `(low, high)` of target images.
        class_names: names of the classes, or `None`.
        seed: draws the batch order.
        learning_rate: the first.
        penalty: lambda, >= 0; hers is .005 times half of the squared norm.
        **program_options: of `ProgramLayer`.

    Returns:
        A `Method`, named `"kloberdanz_2020_"` and the variant.

    Raises:
        ValueError: for an unknown variant, or if the source has fewer labels than classes.
    """
    one_of("variant", variant, VARIANTS)
    options = {"regularizer": penalty or None} | _CHANGES[variant] | program_options
    if variant == "small_target":
        small = tuple(max(1, round(_SMALL_SHARE * side)) for side in target_shape[:2])
        options = {"image_size": small} | options
    learned = variant == "learned_map"
    return compiled_method(
        f"kloberdanz_2020_{variant}",
        framed_program(source, target_shape, target_range=target_range, **options),
        source,
        DenseMap(num_classes) if learned else first_labels(source, num_classes),
        optimizer=keras.optimizers.Adam(learning_rate),
        rate=staircase(learning_rate),
        epochs=STAIRCASE_EPOCHS,
        batch_size=50,
        class_names=class_names,
        seed=seed,
    )
