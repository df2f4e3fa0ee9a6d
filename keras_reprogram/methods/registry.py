"""The methods by their names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from keras_reprogram.methods.adversarial_reprogramming import (
    VARIANTS,
    elsayed_2019,
    kloberdanz_2020,
    kloberdanz_2020_variant,
)
from keras_reprogram.methods.bar_2020 import bar_2020_white_box
from keras_reprogram.methods.lor_vp_2025 import lor_vp_2025
from keras_reprogram.methods.method import Method
from keras_reprogram.methods.trained_placement import autovp_2024, smm_2024
from keras_reprogram.methods.visual_prompts import bahng_2022, blm_2024, blmp_2024, ilm_vp_2023
from keras_reprogram.methods.voice2series_2021 import voice2series_2021
from keras_reprogram.source.source import Source

_METHODS: dict[str, Callable[..., Method]] = {
    "elsayed_2019": elsayed_2019,
    "bar_2020_white_box": bar_2020_white_box,
    "kloberdanz_2020": kloberdanz_2020,
    **{
        f"kloberdanz_2020_{variant}": partial(kloberdanz_2020_variant, variant=variant)
        for variant in VARIANTS
    },
    "voice2series_2021": voice2series_2021,
    "bahng_2022": bahng_2022,
    "ilm_vp_2023": ilm_vp_2023,
    "autovp_2024": autovp_2024,
    "smm_2024": smm_2024,
    "blm_2024": blm_2024,
    "blmp_2024": blmp_2024,
    "lor_vp_2025": lor_vp_2025,
}


def method_names() -> tuple[str, ...]:
    """Names that `build_method` knows, by year.

    Returns:
        Names: who or what, and the year.

    Example:
    ```python
    from keras_reprogram.methods import method_names

    assert "ilm_vp_2023" in method_names()
    ```
    """
    return tuple(_METHODS)


def build_method(
    name: str,
    source: Source,
    target_shape: tuple[int, ...],
    num_classes: int,
    **options: Any,
) -> Method:
    """A published method for a source and a task, compiled as the paper trains it.

    Args:
        name: one of `method_names()`. The function of that name in `keras_reprogram.methods`
            documents its formula, its settings and its deviations from the paper.
        source: a `Source`; `"kloberdanz_2020"` and `"lor_vp_2025"` need one that gives features.
        target_shape: `(h, w, c)` of target images; of `"voice2series_2021"` `(length,)`.
        num_classes: target classes.
        **options: `target_range`, `class_names`, `seed`, `learning_rate`, and what that function
            takes besides, such as `image_size` for the size of the image on the canvas.

    Returns:
        A `Method`; `method.fit(x, y)` trains it.

    Raises:
        ValueError: for an unknown name, or parts that do not fit together.

    Example:
    ```python
    import keras
    from keras_reprogram import FrozenSource, embedded_path
    from keras_reprogram.methods import build_method

    network = keras.models.load_model(embedded_path("traffic_signs.keras"))
    source = FrozenSource(network, value_range=(0, 255))
    method = build_method("blm_2024", source, (8, 8, 1), num_classes=10, image_size=18)
    assert (method.epochs, method.batch_size) == (200, 256)
    ```
    """
    if name not in _METHODS:
        raise ValueError(f"`name` must be one of {', '.join(_METHODS)}. Received: name={name!r}.")
    return _METHODS[name](source, target_shape, num_classes, **options)
