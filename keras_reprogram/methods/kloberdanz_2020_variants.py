"""The variants of adversarial reprogramming that Kloberdanz tried (2020, ch. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_reprogram.methods.first_labels import first_labels
from keras_reprogram.methods.framed_program import framed_program
from keras_reprogram.methods.method import Method, compiled_method
from keras_reprogram.methods.rate_schedule import STAIRCASE_EPOCHS, staircase
from keras_reprogram.output_map import DenseMap
from keras_reprogram.program.argument_checks import one_of
from keras_reprogram.source.source import Source

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
