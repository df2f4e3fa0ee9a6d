"""One size for images that come in several."""

from collections.abc import Sequence

import numpy as np

LARGEST_SIDE = 224


def choose_size(
    sizes: Sequence[tuple[int, int]], image_size: int | tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Decides which size a set of images gets.

    Images that agree keep their size. Others get `image_size`, or without one the median height and
    width, both shrunk by one factor if the longer exceeds 224.

    Args:
        sizes: `(height, width)` of each image, at least one.
        image_size: Side of a square or `(height, width)`, each at least 1; or `None`.

    Returns:
        The `(height, width)`, and a tuple with a sentence about the resizing (empty if nothing is
        resized).

    Raises:
        ValueError: If `image_size` is not one or two positive integers.

    Example:
        ```python
        from keras_reprogram.datasets.common_size import choose_size

        print(choose_size([(8, 8), (8, 8)], None))  # ((8, 8), ())
        print(choose_size([(8, 8), (6, 9)], 32)[0])  # (32, 32)
        ```
    """
    asked = None if image_size is None else _checked(image_size)
    if len(set(sizes)) == 1:
        return sizes[0], ()
    chosen = asked if asked is not None else _median(sizes)
    low, high = np.min(sizes, axis=0), np.max(sizes, axis=0)
    return chosen, (
        f"Images of different sizes (heights {low[0]} to {high[0]}, widths {low[1]} to {high[1]}) "
        f"were resized to {chosen[0]}x{chosen[1]}.",
    )


def _checked(image_size: int | tuple[int, int]) -> tuple[int, int]:
    sides = (image_size, image_size) if isinstance(image_size, int) else image_size
    if (
        not isinstance(sides, tuple)
        or len(sides) != 2
        or not all(isinstance(side, int) and side > 0 for side in sides)
    ):
        raise ValueError(
            "Expected `image_size` to be a positive integer or (height, width). "
            f"Received: image_size={image_size!r}."
        )
    return sides[0], sides[1]


def _median(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    height, width = np.median(sizes, axis=0)
    shrink = min(1.0, LARGEST_SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))
