"""Checks of images and labels before the first query."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_reprogram.arguments import eight_bit_levels, is_image, looks_channels_first
from keras_reprogram.asking.foreign_data import of_several_shapes
from keras_reprogram.asking.rows import check_rows

# Label rows in half precision sum to 1 up to this.
_SUM_SLACK = 1e-2

_MULTI_LABEL = (
    'Build the map for several findings an image, `DenseMap({count}, targets="multi_label")`, and '
    "pass rows (n, {count}) of 0 and 1."
)

EMPTY = (
    "At least one image is needed. Received: an empty data set. Check the path or the code that "
    "reads it."
)


def check_images(
    images: Any,
    target_shape: tuple[int, ...],
    target_range: tuple[float, float] | None,
    *,
    tokens: bool = False,
) -> np.ndarray:
    """Checks target images `(n, h, w, c)`, or series and texts: shape, size, range, NaN."""
    if not is_image(target_shape):
        return check_rows(images, tuple(target_shape), target_range, tokens=tokens)
    try:
        images = np.asarray(images)
    except ValueError:
        raise ValueError(of_several_shapes(images)) from None
    if images.ndim == 1 and images.dtype == object:
        raise ValueError(
            f"Images must have 4 axes (n, h, w, c). Received: {len(images)} objects in one column. "
            "Stack them: `np.stack(list(images))`."
        )
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
            f"Images must be finite. Received: NaN or infinity in image {row}. Leave these images "
            "out, or correct the code that produces them."
        )
    if target_range is not None:
        check_range(images, target_range)


def _other_shape(shape: tuple[int, ...], target_shape: tuple[int, ...]) -> str:
    said = f"The program takes images of shape {target_shape}. Received: shape {shape}"
    if looks_channels_first(shape) or (shape[1], shape[2], shape[0]) == target_shape:
        return (
            f"{said}, which seem to have their channels first. Put them last: "
            "`np.moveaxis(images, 1, -1)`; in the `collate_fn` of a torch DataLoader: "
            "`images.movedim(1, -1)`."
        )
    return (
        f"{said}. Resize them or convert their channels, or build the program with "
        f"`target_shape={shape}`."
    )


def check_labels(labels: Any, num_images: int, num_classes: int) -> np.ndarray:
    """Integer, one-hot or smoothed labels as integers `(n,)`."""
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


def most_probable_labels(
    labels: Any, num_images: int, num_classes: int, stacklevel: int = 3
) -> np.ndarray:
    """`check_labels` where one class an image is learnt; warns if that leaves something out."""
    classes = check_labels(labels, num_images, num_classes)
    given = np.asarray(labels)
    if given.ndim == 2 and given.shape[1] == num_classes and not np.isin(given, (0, 1)).all():
        tied = int((np.sum(given == given.max(axis=1, keepdims=True), axis=1) > 1).sum())
        ties = f" Ties go to the first class: {tied} rows." if tied else ""
        warnings.warn(
            "Labels are probabilities, but this method uses one class per image: the most "
            f"probable one.{ties} `fit` with `categorical_crossentropy` uses the whole "
            f"distribution.",
            stacklevel=stacklevel,
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
            "Every image needs one label. Received: lists of different lengths, as in "
            f"multi-label data. {_MULTI_LABEL.format(count=num_classes)}"
        ) from None


def _check_rows(rows: np.ndarray) -> None:
    """Refuses rows that name no single class: several findings, none, scores, NaN."""
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
            f"{int((~fits).sum())} of {len(rows)} rows that are neither; the first is row {first}: "
            f"{rows[first].tolist()[:12]}. Multi-label data have several findings, or none, where "
            f"this map names one class. {_MULTI_LABEL.format(count=rows.shape[1])}"
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
            "Add images of these classes, or leave the classes out."
        )


# Rounding in a user's own preprocessing may step over the range by this share of it.
_SLACK = 1e-3
# Raw digits of 0 to 16 use a sixteenth of 0 to 255; few sets of pictures are darker than this.
_LEAST_SHARE = 1 / 8
# Fewer images may well be dark all together.
_ENOUGH_IMAGES = 8
_COMMON_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.0, 65535.0))

Range = tuple[float, float]


@dataclass(frozen=True)
class SeenRange:
    """The range of pixel values seen in some images.

    Args:
        darkest: smallest value.
        brightest: largest value.
        count: images.
    """

    darkest: float
    brightest: float
    count: int

    def joined(self, other: SeenRange | None) -> SeenRange:
        """Both together."""
        if other is None:
            return self
        return SeenRange(
            min(self.darkest, other.darkest),
            max(self.brightest, other.brightest),
            self.count + other.count,
        )

    def __str__(self) -> str:
        return f"values from {self.darkest:g} to {self.brightest:g}"


def check_range(images: np.ndarray, target_range: Range) -> SeenRange:
    """Checks the range of any images, however few; returns what was seen."""
    # Fractions of the first 8-bit step are refused too: images that were divided by 255.
    low, high = target_range
    seen = SeenRange(float(images.min()), float(images.max()), len(images))
    slack = _SLACK * (high - low)
    if seen.darkest < low - slack or seen.brightest > high + slack:
        raise ValueError(
            f"Images must lie in the program's `target_range` ({low:g}, {high:g}). "
            f"Received: {seen}. {_advice(seen, target_range)}"
        )
    if _in_one_step(seen, target_range) and _has_fractions(images, target_range):
        raise ValueError(_corner(seen, target_range))
    return seen


def check_set(seen: SeenRange | None, target_range: Range | None) -> None:
    """Refuses a whole set whose pixels all lie in the first 8-bit step of the range."""
    if seen is None or target_range is None:
        return
    if _in_one_step(seen, target_range):
        raise ValueError(_corner(seen, target_range))
    (low, high), enough = target_range, seen.count >= _ENOUGH_IMAGES
    share = (seen.brightest - low) / (high - low)
    half = low < 0 and seen.darkest >= (low + high) / 2
    if enough and seen.brightest > low and (share < _LEAST_SHARE or half):
        warnings.warn(
            f"All images use only a part of the program's `target_range` ({low:g}, {high:g}): "
            f"{seen}. If no image can have other values, build the program with "
            f"`target_range={_range_of(seen)}`: the source then sees them in full contrast.",
            stacklevel=4,
        )


def _in_one_step(seen: SeenRange, target_range: Range) -> bool:
    """Whether 8-bit codes of these images are 0 and 1 alone, and not all 0."""
    low, high = target_range
    return low < seen.brightest <= low + (1 + _SLACK) * (high - low) / 255


def _has_fractions(images: np.ndarray, target_range: Range) -> bool:
    """Whether these are neither 8-bit codes of the range nor whole numbers, as in 16-bit files."""
    values = images.astype(np.float64)
    scales = (values, eight_bit_levels(values, target_range))
    return all(bool((np.abs(one - np.rint(one)) > _SLACK).any()) for one in scales)


def _corner(seen: SeenRange, target_range: Range) -> str:
    low, high = target_range
    return (
        f"Images must use the program's `target_range` ({low:g}, {high:g}). Received: {seen}, "
        "all within one 8-bit step of it, so that all images would look the same to the source. "
        f"{_advice(seen, target_range)}"
    )


def _advice(seen: SeenRange, target_range: Range) -> str:
    low, high = target_range
    found = _range_of(seen)
    if found == target_range:
        return "Check how they were scaled."
    return (
        f"Rescale them to {low:g} to {high:g}, or build the program with their actual range, such "
        f"as `target_range={found}`."
    )


def _range_of(seen: SeenRange) -> Range:
    """The narrowest common range that images seem to have, or else what was seen."""
    for low, high in _COMMON_RANGES:
        slack = _SLACK * (high - low)
        inside = low - slack <= seen.darkest and seen.brightest <= high + slack
        if inside and seen.brightest - low >= _LEAST_SHARE * (high - low):
            return int(low), int(high)
    return seen.darkest, seen.brightest


_MOST_ROWS_AT_ONCE = 64
# Larger batches of large images are slower on a CPU, because allocating fresh memory takes most of
# the time (MobileNetV2 on two cores: 20 images per second in batches of 64, 32 in batches of 8).
_VALUES_AT_ONCE = 2**21


def rows_per_batch(num_views: int, source_shape: Sequence[int]) -> int:
    """Target images per call: limits the memory of large or many source images."""
    values = num_views * math.prod(source_shape)
    return max(1, min(_MOST_ROWS_AT_ONCE, _VALUES_AT_ONCE // values))
