"""The ways a program's weights become pixels: tanh, sigmoid, or as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

# Standard deviation of ImageNet's pixels, about .225 of the range, in halves of the range: with
# `strength=IMAGENET_UNIT` a weight of 1 is what it is in papers that add to normalised images.
IMAGENET_UNIT = 0.45


def _centred_sigmoid(weights: Any) -> Any:
    return 2.0 * ops.sigmoid(weights) - 1.0


def _unchanged(weights: Any) -> Any:
    return weights


# Each maps 0 to 0, so that zero weights change nothing.
SQUASHES: dict[str, Callable[[Any], Any]] = {
    "tanh": ops.tanh,
    "sigmoid": _centred_sigmoid,
    "none": _unchanged,
}
