"""What a program says of the range of its images, and what it means that it says nothing."""

from __future__ import annotations

from typing import Any

from keras_reprogram.arguments import value_range


def target_range_of(program: Any) -> tuple[float, float] | None:
    """The range of a program's target images.

    A program without a `target_range`, or with `None`, takes images of a range that nobody knows.
    Nothing is made up for it: images are not checked against a range, an export says null, in its
    JSON as in a `.tflite` file, and has no signatures that take files, the server's page says why
    it shows nothing, and pictures show images from their darkest to their brightest value.

    Args:
        program: a layer with a `target_shape`.

    Returns:
        `(low, high)`, or `None` if the program does not say.

    Raises:
        ValueError: for a `target_range` that is no range.

    Example:
    ```python
    from keras_reprogram import ProgramLayer
    from keras_reprogram.program.target_range import target_range_of

    program = ProgramLayer((8, 8, 1), (32, 32, 3), source_range=(0, 255))
    assert target_range_of(program) == (0.0, 255.0)
    assert target_range_of(object()) is None
    ```
    """
    said = getattr(program, "target_range", None)
    return None if said is None else value_range("target_range", said)
