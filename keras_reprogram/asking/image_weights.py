"""Weights of images, from weights of images and of classes."""

from __future__ import annotations

from typing import Any

import numpy as np


def checked_weights(sample_weight: Any, count: int) -> np.ndarray:
    """Weights of images as float64 `(n,)`; ones for `None`."""
    weight = np.ones(count) if sample_weight is None else np.asarray(sample_weight, float)
    if weight.size != count:
        raise ValueError(
            f"`sample_weight` must be ({count},), one number per image. Received: "
            f"shape {weight.shape}."
        )
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise ValueError(
            "`sample_weight` must be finite, non-negative and not all zero. "
            f"Received: values from {weight.min()} to {weight.max()}."
        )
    return weight.reshape(-1)


def image_weights(
    labels: np.ndarray, sample_weight: Any, class_weight: dict[int, float] | None
) -> np.ndarray | None:
    """One weight an image from weights of images and of classes."""
    if sample_weight is None and class_weight is None:
        return None
    weight = checked_weights(sample_weight, len(labels))
    by_class = class_weight or {}
    unknown = [name for name in by_class if not isinstance(name, int | np.integer)]
    if unknown:
        raise ValueError(
            "`class_weight` must map class numbers to weights. "
            f"Received: {', '.join(map(repr, unknown))}. Use the position in `class_names`."
        )
    of_class = np.array([by_class.get(int(label), 1.0) for label in labels], float)
    if not np.isfinite(of_class).all() or (of_class < 0).any() or not (weight * of_class).any():
        raise ValueError(
            "`class_weight` must hold finite, non-negative weights that do not exclude all images. "
            f"Received: {class_weight}."
        )
    return weight * of_class
