"""Which fit a linear map gets: the exact one, or the closed form of few images a class."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_reprogram.arguments import FITS, one_of
from keras_reprogram.fitting.closed_form import fit_discriminant
from keras_reprogram.fitting.fit_settings import MapFit
from keras_reprogram.fitting.map_fitting import fit_logistic_regression

# Of fewer images (or groups) a class than this none can be spared to choose by.
IMAGES_A_CLASS = 10


def fit_linear_map(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    method: str = "exact",
    sample_weight: np.ndarray | None = None,
    validation_split: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
    ordinal: bool = False,
    **options: Any,
) -> MapFit:
    """`fit_logistic_regression`, or `fit_discriminant` of few images a class or by name.

    Args:
        features: `(n, d)` finite numbers.
        labels: `(n,)` integers in [0, num_classes).
        num_classes: K.
        method: `"exact"`, `"closed_form"`, or `"auto"`: the closed form of fewer than ten images
            (or groups) a class on average; images of weight 0 and classes without one count not.
            Several findings and grades get the exact fit.
        sample_weight: `(n,)` non-negative, or `None`.
        validation_split: of the exact fit; the closed form spares no image.
        seed: draws held-out images.
        groups: `(n,)` or `None`; rows of one value stay on one side.
        ordinal: whether the classes are grades, which the exact fit alone knows about.
        **options: of the exact fit.

    Returns:
        A `MapFit`; its `method` says which fit it was.
    """
    if one_of("method", method, FITS) == "auto":
        single = np.ndim(labels) == 1 and not ordinal
        few = single and _units_a_class(np.asarray(labels), sample_weight, groups) < IMAGES_A_CLASS
        method = "closed_form" if few else "exact"
    how: dict[str, Any] = {"num_classes": num_classes, "sample_weight": sample_weight}
    how |= {"seed": seed, "groups": groups}
    if method == "closed_form":
        return fit_discriminant(features, labels, **how)
    return fit_logistic_regression(
        features, labels, validation_split=validation_split, ordinal=ordinal, **how, **options
    )


def _units_a_class(
    labels: np.ndarray, weight: np.ndarray | None, groups: np.ndarray | None
) -> float:
    counted = np.arange(len(labels)) if weight is None else np.flatnonzero(weight)
    units = len(counted) if groups is None else len(np.unique(np.asarray(groups)[counted]))
    return units / max(1, len(np.unique(labels[counted])))
