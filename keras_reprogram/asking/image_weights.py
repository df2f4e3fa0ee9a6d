"""Weights of images, from weights of images and of classes."""

from __future__ import annotations

from typing import Any

import numpy as np


def checked_weights(sample_weight: Any, count: int) -> np.ndarray:
    """Weights of all images as float64 `(n,)`; ones for `None`."""
    weight = np.ones(count) if sample_weight is None else finite_weights(sample_weight, count)
    if not weight.any():
        raise ValueError(
            "`sample_weight` must be not all zero, or no image would count. "
            f"Received: {count} zeros. Leave it out to count all alike."
        )
    return weight


def finite_weights(sample_weight: Any, count: int) -> np.ndarray:
    """Weights of some images as float64 `(n,)`, which may all be 0."""
    weight = np.asarray(sample_weight, float)
    if weight.size != count:
        raise ValueError(
            f"`sample_weight` must be ({count},), one number per image. Received: "
            f"shape {weight.shape}."
        )
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(
            "`sample_weight` must be finite and non-negative. "
            f"Received: values from {weight.min()} to {weight.max()}."
        )
    return weight.reshape(-1)


def image_weights(
    labels: np.ndarray,
    sample_weight: Any,
    class_weight: dict[int, float] | None,
    num_classes: int,
) -> np.ndarray | None:
    """One weight an image from weights of images and of classes."""
    if sample_weight is None and class_weight is None:
        return None
    weight = checked_weights(sample_weight, len(labels))
    of_class = class_weights(class_weight, num_classes)[labels]
    if not (weight * of_class).any():
        raise ValueError(_of_classes(class_weight))
    return weight * of_class


def class_weights(class_weight: dict[int, float] | None, num_classes: int) -> np.ndarray:
    """Weights of all classes `(K,)`; 1 for those that are not named."""
    by_class = class_weight or {}
    if unknown := [name for name in by_class if name not in range(num_classes)]:
        raise ValueError(
            f"`class_weight` must map class numbers in [0, {num_classes}) to weights. Received: "
            f"{', '.join(map(repr, unknown))}. Use the position in `class_names`."
        )
    weights = np.array([by_class.get(number, 1.0) for number in range(num_classes)], float)
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(_of_classes(class_weight))
    return weights


def _of_classes(class_weight: dict[int, float] | None) -> str:
    return (
        "`class_weight` must hold finite, non-negative weights that do not exclude all images. "
        f"Received: {class_weight}."
    )
