"""check_step: whether an estimator's step survives 8-bit images and the source's rounding."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.arguments import eight_bit_levels, is_image
from keras_reprogram.program.program import flat_value

_CHECKED_IMAGES = 8
# Measured on traffic signs against exact slopes: if both are exceeded, more than half of a
# difference's length points in the direction of the slope.
_LEAST_PIXEL_AGREEMENT, _LEAST_ANSWER_AGREEMENT = 0.5, 0.1


@dataclass(frozen=True)
class StepCheck:
    """How much of an estimator's step reaches the source and shows in its answers.

    Args:
        pixel_agreement: correlation of the step with what 8-bit codes leave of it, in [-1, 1].
            Low where the step is shorter than a code.
        answer_agreement: correlation, over images, views and scores, of the change that a step
            forwards makes with the opposite of what the step back makes. 1 where differences are
            slopes, below 0 where the step is too long for slopes, or noise hides them.
        queries: image queries that the check asked.

    Example:
    ```python
    from keras_reprogram import StepCheck

    check = StepCheck(pixel_agreement=0.9, answer_agreement=0.7, queries=24)
    assert check.survives
    print(check)
    ```
    """

    pixel_agreement: float
    answer_agreement: float
    queries: int

    @property
    def survives(self) -> bool:
        """Whether finite differences with this step are informative."""
        return not (self._below_quantisation or self._overshoots)

    @property
    def _below_quantisation(self) -> bool:
        return self.pixel_agreement < _LEAST_PIXEL_AGREEMENT

    @property
    def _overshoots(self) -> bool:
        return self.answer_agreement < _LEAST_ANSWER_AGREEMENT

    def __str__(self) -> str:
        verdict = "survives" if self.survives else "does not survive"
        advice = ""
        if self._below_quantisation:
            advice = (
                " It is lost in rounding to 8 bits: raise the estimator's `smoothing`, or fit the "
                "map alone."
            )
        elif self._overshoots:
            advice = (
                " Answers are not linear over it, or noisy: try another `smoothing`, or the map "
                "alone."
            )
        return (
            f"The estimator's step {verdict} the way to the source: 8-bit images agree with it by "
            f"{self.pixel_agreement:.2f} ({_LEAST_PIXEL_AGREEMENT} is needed), answers to steps "
            f"forwards and back by {self.answer_agreement:.2f} ({_LEAST_ANSWER_AGREEMENT}).{advice}"
        )


def check_step(model: Any, x: np.ndarray) -> StepCheck:
    """Asks a few images whether a step of the estimator survives the way to the source.

    Where the source is sent 8-bit images, `fit_opaque` and, with arrays, `fit` do so by
    themselves, and warn.

    Args:
        model: a `ReprogrammedModel`, `self` of its method.
        x: images `(n, h, w, c)`; the first 8 are asked three times.

    Returns:
        A `StepCheck`; print it.

    Raises:
        ValueError: if there is no estimator, or for images that do not fit.
    """
    if not model.steps.estimates:
        raise ValueError(
            "A step can be checked where `fit` takes one. Received: a model without an "
            "estimator, or a program without weights. Pass `gradient_estimator=`."
        )
    if not is_image(model.source.source_shape):
        raise ValueError(
            "A step is checked on its way through 8-bit images. Received: a source of inputs "
            f"{model.source.source_shape}, which are none. Compare estimates on a few rows instead."
        )
    return _checked(model, model.data_checks.images(x))


def _checked(model: Any, x: np.ndarray) -> StepCheck:
    """Queries some images at the program's weights and at one estimator step to either side."""
    images = tf.constant(x[:_CHECKED_IMAGES], tf.float32)
    value = flat_value(model.program)
    step = model.steps.first_candidate() - value
    views = [model.program.transform(images, value + float(sign) * step) for sign in (0, 1, -1)]
    answers = []
    for source_images in views:
        with model.asker.counting(len(images)):
            answers.append(np.asarray(model.asker.answer(source_images), np.float64))
    codes = [_codes(model.source, source_images) for source_images in views[:2]]
    return StepCheck(
        pixel_agreement=_correlation(codes[1] - codes[0], np.round(codes[1]) - np.round(codes[0])),
        answer_agreement=_correlation(answers[1] - answers[0], answers[0] - answers[2]),
        queries=3 * len(images) * model.queries_per_prediction,
    )


def warn_if_below_quantisation(model: Any, x: np.ndarray) -> None:
    """Warns if the estimator's step is too small to change the 8-bit images that a source gets.

    Args:
        model: a `ReprogrammedModel`.
        x: target images.
    """
    check = _checked(model, x)
    if not check.survives:
        warnings.warn(f"{check} Estimates will be mostly noise.", stacklevel=3)


def check_queries(model: Any, num_images: int) -> int:
    """Image queries of the check that `fit` makes: of sources that get 8-bit images only.

    Args:
        model: a `ReprogrammedModel`.
        num_images: images `x`.
    """
    if not (model.source.rounds_images and model.steps.estimates):
        return 0
    return 3 * min(num_images, _CHECKED_IMAGES) * model.queries_per_prediction


def _codes(source: Any, source_images: Any) -> np.ndarray:
    return eight_bit_levels(np.asarray(source_images, np.float64), source.value_range)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    scale = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.sum(first * second) / scale) if scale else 0.0
