"""What the arguments that estimators share must look like, and what is done with them."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from keras import ops

DIFFERENCES = ("loss", "scores")


def check_count(name: str, value: int) -> int:
    """`value`, which must be at least 1.

    Args:
        name: the argument's name, for the message.
        value: what was given.

    Returns:
        `value`.

    Raises:
        ValueError: for anything else.
    """
    if value < 1:
        raise ValueError(f"`{name}` must be at least 1. Received: {value}.")
    return value


def check_positive(name: str, value: float) -> float:
    """`value`, which must be greater than 0.

    Args:
        name: the argument's name, for the message.
        value: what was given.

    Returns:
        `value`.

    Raises:
        ValueError: for anything else, not-a-number included.
    """
    if not value > 0:
        raise ValueError(f"`{name}` must be greater than 0. Received: {value}.")
    return value


def check_differences(differences: str) -> str:
    """`differences`, which must be `"loss"` or `"scores"`.

    Args:
        differences: what was given.

    Returns:
        `differences`.

    Raises:
        ValueError: for anything else.
    """
    if differences not in DIFFERENCES:
        raise ValueError(f"`differences` must be one of {DIFFERENCES}. Received: {differences!r}.")
    return differences


def check_clip(clip: str | float | None) -> str | float | None:
    """`clip`, which must be `None`, `"sqrt"` or a number greater than 0.

    Args:
        clip: what was given.

    Returns:
        `clip`, a number as a float.

    Raises:
        ValueError: for anything else.
    """
    if clip is None or clip == "sqrt":
        return clip
    if isinstance(clip, bool) or not isinstance(clip, Real) or not clip > 0:
        raise ValueError(
            f'`clip` must be None, "sqrt" or a number greater than 0. Received: {clip!r}.'
        )
    return float(clip)


def clip_norm(gradient: Any, clip: str | float | None, num_live: int) -> Any:
    """A gradient whose length exceeds the limit, scaled down to it.

    Args:
        gradient: `(size,)`.
        clip: the limit; `"sqrt"` is the square root of `num_live` (Park et al. 2025), `None` none.
        num_live: how many coordinates are live.

    Returns:
        `(size,)`.
    """
    if clip is None:
        return gradient
    limit = math.sqrt(num_live) if clip == "sqrt" else float(clip)
    length = ops.sqrt(ops.sum(ops.square(gradient)))
    return gradient * ops.minimum(1.0, limit / ops.maximum(length, 1e-12))
