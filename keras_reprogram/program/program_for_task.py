"""program_for: the program that a task and a source call for, without spelling out their shapes."""

from __future__ import annotations

from typing import Any, Protocol

from keras_reprogram.program.program_layer import ProgramLayer

# Gradients that are estimated from queries need few coordinates.
ESTIMATED_GRID = 8


class TargetImages(Protocol):
    """What is read of a task: `datasets.TargetData` has both."""

    @property
    def target_shape(self) -> tuple[int, int, int]:
        """`(h, w, c)` of target images."""

    @property
    def target_range(self) -> tuple[float, float]:
        """`(low, high)` of target images."""


class AnsweringSource(Protocol):
    """What is read of a source: every `Source` has these."""

    @property
    def source_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)` of source images."""

    @property
    def value_range(self) -> tuple[float, float]:
        """`(low, high)` that the source expects."""

    @property
    def differentiable(self) -> bool:
        """Whether gradients come out of the source, beside its scores."""


def program_for(data: TargetImages, source: AnsweringSource, **options: Any) -> ProgramLayer:
    """A `ProgramLayer` for a task and a source, as `keras-reprogram train` builds it.

    Shapes and ranges are those of the task and of the source. The first view is the plain image on
    the source's whole canvas (`placement="views"`), the program lies over the image, and where the
    source has no gradients it has 8 x 8 weights, since estimated gradients need few.

    Args:
        data: a task with `target_shape` `(h, w, c)` and `target_range`, such as
            `load_target("digits")`.
        source: a `Source`.
        **options: of `ProgramLayer`, which take the place of the above: `num_views=4`, say. With
            `placement="center"` the program lies around the image.

    Returns:
        A `ProgramLayer`.

    Raises:
        ValueError: for options that do not fit together.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path, program_for
    from keras_reprogram.datasets import load_target

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = program_for(load_target("digits"), source, num_views=4)
    assert program.target_shape == (8, 8, 1)
    assert program.num_views == 4
    ```
    """
    defaults: dict[str, Any] = {
        "target_range": data.target_range,
        "placement": "views",
        "grid": None if source.differentiable else ESTIMATED_GRID,
        # An image on the whole canvas leaves no pixel for a masked program.
        "masked": options.get("placement") == "center",
    }
    return ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        **defaults | options,
    )
