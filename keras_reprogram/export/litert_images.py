"""The images that a LiteRT file is made and judged with: those that calibrate judge nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_reprogram.asking.held_out import LearnedImages
from keras_reprogram.asking.images import check_images
from keras_reprogram.export.checks import sample_images
from keras_reprogram.export.litert_agreement import LiteRTForm, steps_of
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel

LEAST_IMAGES = 32
# The ranges hardly move beyond, and each image is asked of the model once more.
MOST_IMAGES = 1_000
# Of calibration images without held-out ones beside them.
_HELD_OUT_SHARE = 0.25


class ConversionImages(NamedTuple):
    """Target images of a conversion, float32 `(n, h, w, c)`.

    Args:
        calibrating: those that int8 ranges are taken from; empty for other forms.
        judging: those that the file is compared with the model on; none of them calibrates.
        labels: of the judging ones, or `None`.
    """

    calibrating: np.ndarray
    judging: np.ndarray
    labels: np.ndarray | None = None

    def steps(self, form: LiteRTForm) -> int:
        """How many images a conversion reports in all."""
        return len(self.calibrating) + steps_of(len(self.judging), form.eight_bit)


class ImageBar:
    """Counts the images that a conversion has worked through, under Keras's bar or a caller's."""

    def __init__(
        self, total: int, verbose: int, progress: Callable[[int, int], None] | None
    ) -> None:
        self.total, self.done = total, 0
        self._bar = keras.utils.Progbar(
            total, verbose=0 if progress else min(verbose, 1), unit_name="image"
        )
        self._progress = progress

    def __enter__(self) -> Callable[[int], None]:
        # A caller's bar must hold its terminal before the converter silences stderr.
        if self._progress is not None:
            self._progress(0, self.total)
        return self._add

    def __exit__(self, *error: object) -> None:
        # A line that an error breaks off stays as it is.
        if error[0] is None and self._progress is None:
            self._bar.update(self.total, finalize=True)

    def _add(self, images: int) -> None:
        # A fixed batch is filled up; the end is said when all is done.
        self.done = min(self.done + images, self.total)
        if self._progress is not None:
            self._progress(self.done, self.total)
        else:
            self._bar.update(min(self.done, self.total - 1))


def conversion_images(
    model: ReprogrammedModel, form: LiteRTForm, calibration: Any, held_out: Any, labels: Any
) -> ConversionImages:
    """Images checked, thinned to 1,000 of each at even distances, and held out where needed."""
    calibrating = _checked(model, "calibration_images", calibration)
    judging = _checked(model, "held_out_images", held_out)
    if labels is not None:
        if judging is None:
            raise ValueError(
                "`held_out_labels` belong to `held_out_images`. Received: labels without images. "
                "Pass both, or neither."
            )
        labels = model.data_checks.labels(labels, len(judging))
    if judging is None:
        calibrating, judging = _divided(model, form, calibrating)
    elif form.calibrates:
        _check_apart(form, calibrating, judging)
    rows = _even(judging)
    judging, labels = judging[rows], None if labels is None else labels[rows]
    if calibrating is None or not form.calibrates:
        return ConversionImages(judging[:0], judging, labels)
    return ConversionImages(calibrating[_even(calibrating)], judging, labels)


def _checked(model: ReprogrammedModel, name: str, images: Any) -> np.ndarray | None:
    if images is None:
        return None
    try:
        images = check_images(images, model.input_shape[1:], model.data_checks.target_range)
    except ValueError as error:
        raise ValueError(f"`{name}` cannot be used: {error}") from error
    if len(images) < LEAST_IMAGES:
        raise ValueError(
            f"`{name}` must be at least {LEAST_IMAGES}. Received: {len(images)}. Pass more images, "
            "of every class: ranges and agreement are measured on them."
        )
    return images.astype(np.float32)


def _divided(
    model: ReprogrammedModel, form: LiteRTForm, images: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray]:
    """Calibrating and judging images, of which the caller named one kind or none."""
    if images is None:
        if form.needs_images:
            raise _missing(form)
        return None, sample_images(model)
    if not form.calibrates:
        return None, images
    if len(images) < 2 * LEAST_IMAGES:
        raise ValueError(
            f'`calibration_images` of `form="{form.name}"` must be at least {2 * LEAST_IMAGES}, of '
            f"which {LEAST_IMAGES} are held out: on images that ranges were taken from, agreement "
            f"looks better than it is. Received: {len(images)}. Pass more, or `held_out_images`."
        )
    count = min(max(LEAST_IMAGES, int(_HELD_OUT_SHARE * len(images))), MOST_IMAGES)
    held_out = _even(images, count)
    return np.delete(images, held_out, axis=0), images[held_out]


def _check_apart(form: LiteRTForm, calibrating: np.ndarray | None, judging: np.ndarray) -> None:
    if calibrating is None:
        raise _missing(form)
    noted = LearnedImages()
    noted.add(calibrating)
    if known := noted.known(judging):
        raise ValueError(
            "`held_out_images` must be none of the `calibration_images`: agreement looks better on "
            f"these than it is. Received: {len(judging)} held-out images, of which {known} "
            "calibrate. Pass others, or leave them out: some calibration images are then held out."
        )


def _missing(form: LiteRTForm) -> ValueError:
    why = (
        "the ranges of its activations are taken from them"
        if form.calibrates
        else "only real images show how well it agrees"
    )
    least = 2 * LEAST_IMAGES if form.calibrates else LEAST_IMAGES
    return ValueError(
        f'`form="{form.name}"` needs `calibration_images`, because {why}. Received: None. Pass '
        f"{least} to {MOST_IMAGES:,} training images, without labels."
    )


def _even(images: np.ndarray, most: int = MOST_IMAGES) -> np.ndarray:
    """Rows at even distances, at most so many."""
    return np.linspace(0, len(images) - 1, min(len(images), most)).astype(int)
