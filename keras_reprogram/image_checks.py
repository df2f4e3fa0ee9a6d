"""What images and labels must look like before a single image is spent on them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from keras_reprogram.axis_order import looks_channels_first
from keras_reprogram.image_range import check_range

# Label rows in half precision sum to 1 up to this.
_SUM_SLACK = 1e-2

_MULTI_LABEL = (
    "Learn each finding by itself as a task of two classes, {count} models on one source, or name "
    "every combination that occurs as a class of its own."
)

EMPTY = "At least one image is needed. Received: an empty data set. Check where it is read from."


def check_images(
    images: Any, target_shape: tuple[int, ...], target_range: tuple[float, float] | None
) -> np.ndarray:
    """Checks target images.

    Args:
        images: array `(n, h, w, c)`.
        target_shape: `(h, w, c)` expected.
        target_range: `(low, high)` expected, or `None`.

    Returns:
        The images as a NumPy array.

    Raises:
        ValueError: for a wrong rank, size or channel count, no images, NaN, and values outside
            the range or in a corner of it, see `check_range`.
    """
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(
            f"Images must have 4 axes (n, h, w, c), here (n, {', '.join(map(str, target_shape))})."
            f" Received: shape {images.shape}. Add a channel axis to grey images "
            "(`images[..., None]`), a batch axis to a single one (`image[None]`), or `.batch(32)` "
            "to a data set of single images."
        )
    if images.shape[1:] != tuple(target_shape):
        raise ValueError(_other_shape(images.shape[1:], tuple(target_shape)))
    if len(images) == 0:
        raise ValueError(EMPTY)
    if not np.issubdtype(images.dtype, np.number):
        raise ValueError(
            f"Images must be numbers. Received: dtype {images.dtype}. Pass pixels, not file names."
        )
    _check_values(images, target_range)
    return images


def _check_values(images: np.ndarray, target_range: tuple[float, float] | None) -> None:
    if not np.isfinite(images).all():
        row = int(np.argwhere(~np.isfinite(images))[0][0])
        raise ValueError(
            f"Images must be finite. Received: NaN or infinity in image {row}. Leave such images "
            "out, or mend what made them."
        )
    if target_range is not None:
        check_range(images, target_range)


def _other_shape(shape: tuple[int, ...], target_shape: tuple[int, ...]) -> str:
    said = f"The program takes images of shape {target_shape}. Received: shape {shape}"
    if looks_channels_first(shape) or (shape[1], shape[2], shape[0]) == target_shape:
        return (
            f"{said}, which seem to have their channels first. Put them last: "
            "`np.moveaxis(images, 1, -1)`."
        )
    return (
        f"{said}. Resize them or convert their channels, or build the program with "
        f"`target_shape={shape}`."
    )


def check_labels(labels: Any, num_images: int, num_classes: int) -> np.ndarray:
    """Checks integer or one-hot labels.

    Args:
        labels: `(n,)` or `(n, 1)` integers, or `(n, K)` rows that are one-hot or probabilities
            that sum to 1 (smoothed labels); the largest is the label.
        num_images: n expected.
        num_classes: K.

    Returns:
        int array `(n,)`.

    Raises:
        ValueError: for missing labels, another length, labels outside [0, K), and rows of several
            findings or of none.
    """
    labels = _label_array(labels, num_classes)
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        _check_rows(labels)
        labels = labels.argmax(axis=1)
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (num_images,):
        raise ValueError(
            f"Labels must be ({num_images},) integers or ({num_images}, {num_classes}) one-hot "
            f"rows. Received: shape {labels.shape}. Give every image one label, or build the "
            "output map with another `num_classes`."
        )
    labels = _whole_numbers(labels)
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"Labels must lie in [0, {num_classes}), the output map's classes. "
            f"Received: labels from {labels.min()} to {labels.max()}. Number the classes from 0, "
            "or build the map with a larger `num_classes`."
        )
    return labels


def most_probable_labels(labels: Any, num_images: int, num_classes: int) -> np.ndarray:
    """`check_labels` for what learns from one class an image; says where that leaves something out.

    Args:
        labels: as in `check_labels`.
        num_images: n expected.
        num_classes: K.

    Returns:
        int array `(n,)`.

    Raises:
        ValueError: as `check_labels`.
    """
    classes = check_labels(labels, num_images, num_classes)
    given = np.asarray(labels)
    if given.ndim == 2 and given.shape[1] == num_classes and not np.isin(given, (0, 1)).all():
        tied = int((np.sum(given == given.max(axis=1, keepdims=True), axis=1) > 1).sum())
        ties = f" Of equal ones it is the first: {tied} rows." if tied else ""
        warnings.warn(
            "Labels are probabilities, and this learns from one class an image: the most "
            f"probable.{ties} `fit` with `categorical_crossentropy` learns from all of them.",
            stacklevel=4,
        )
    return classes


def _label_array(labels: Any, num_classes: int) -> np.ndarray:
    if labels is None:
        raise ValueError(
            "Labels are needed here. Received: y=None. Pass `y`, or a data set of (x, y) batches."
        )
    try:
        return np.asarray(labels)
    except ValueError:  # Lists of different lengths make no array.
        raise ValueError(
            "Every image needs one label. Received: lists of different lengths, as multi-label "
            f"data have. {_MULTI_LABEL.format(count=num_classes)}"
        ) from None


def _check_rows(rows: np.ndarray) -> None:
    """Refuses rows that do not say one class: several findings, none, scores, NaN."""
    if rows.dtype.kind not in "biuf":
        raise ValueError(
            f"Label rows must be numbers. Received: dtype {rows.dtype}. Pass one-hot rows, or "
            "class numbers from 0."
        )
    values = rows.astype(np.float64)
    # NaN is not in [0, 1] either. The slack is for rows in half precision.
    fits = ((values >= 0) & (values <= 1 + _SUM_SLACK)).all(axis=1)
    fits &= np.abs(values.sum(axis=1) - 1) <= _SUM_SLACK
    if not fits.all():
        first = int((~fits).argmax())
        raise ValueError(
            "Label rows must be one-hot, or probabilities that sum to 1. Received: "
            f"{int((~fits).sum())} of {len(rows)} rows that are neither, first row {first}: "
            f"{rows[first].tolist()[:12]}. Multi-label data, where an image has several findings "
            f"or none, are not one task here. {_MULTI_LABEL.format(count=rows.shape[1])}"
        )


def _whole_numbers(labels: np.ndarray) -> np.ndarray:
    advice = "Number the classes from 0, or pass one-hot rows."
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"Labels must be whole numbers. Received: dtype {labels.dtype}. {advice}")
    # NaN and infinity have no remainder of 0 either.
    with np.errstate(invalid="ignore"):
        broken = labels[labels % 1 != 0] if labels.dtype.kind == "f" else labels[:0]
    if len(broken):
        raise ValueError(f"Labels must be whole numbers. Received: label {broken[0]}. {advice}")
    return labels.astype(int)


def check_every_class(labels: np.ndarray, num_classes: int, class_names: Any) -> None:
    """Raises a ValueError that names the classes without an image."""
    missing = sorted(set(range(num_classes)) - set(np.unique(labels).tolist()))
    if missing:
        names = [class_names[i] if class_names else str(i) for i in missing]
        raise ValueError(
            f"Every class needs at least one training image. Received: none of {names}. "
            "Add images of them, or leave the classes out."
        )
