"""Calibration of a model on held-out images, and the prediction sets that it gives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_reprogram.asking.answer_store import images_digest
from keras_reprogram.asking.exact_fit import check_groups, checked_scores
from keras_reprogram.asking.images import check_labels
from keras_reprogram.fitting.calibration import (
    Calibration,
    SetRule,
    check_counts,
    fit_calibration,
    group_numbers,
)
from keras_reprogram.fitting.weight_copy import trained_variables

_ROWS = 1024


def calibrate(
    model: Any,
    x: Any = None,
    y: Any = None,
    *,
    groups: Any = None,
    scores: Any = None,
    coverage: float = 0.9,
    class_wise: bool = False,
    abstain: float = 0.05,
    batch_size: int = 64,
    verbose: Any = "auto",
) -> Calibration:
    """Learns from held-out images how sure the model may be, and what is unlike its images.

    Costs one query for each image and view, `model.estimate_queries(len(x)).total`, or none with
    `scores`. The model keeps the result as
    `calibration`; program files, `.keras` files and exports keep it too. It belongs to the weights
    as they are: after another fit it is refused, and the model has to be calibrated again.

    Args:
        model: a `ReprogrammedModel`, `self` of its method.
        x: images `(n, h, w, c)` that no fit has seen. Images that were fitted on in this process
            are refused, also beside `scores`; those of earlier processes, and of a data set that
            `fit` read, cannot be known.
        y: integer or one-hot labels.
        groups: `(n,)`; images of one value (a patient's, a track's) are not independent, so each
            group counts once. No group may have images in the fit.
        scores: answers `(n, V, S)` to these images that were paid for; then `x` is not needed, and
            nothing is asked.
        coverage: share of prediction sets that hold the true class, in (0, 1), for exports and for
            `predict_sets` unless told otherwise. It needs `ceil(coverage / (1 - coverage))` images,
            or groups: 9 for .9, 99 for .99.
        class_wise: whether the coverage holds in every class, and needs that many images in each.
        abstain: share of images like these that may be called foreign, in [0, 1); it needs
            `2 * ceil((1 - abstain) / abstain)` images, or groups: 38 for .05. 0 calls none foreign.
        batch_size: images at once.
        verbose: 0 for silence.

    Returns:
        The `Calibration`, which defines temperature, sets and distance.

    Raises:
        ValueError: before any query, for a map that was never fitted, no images, images that were
            fitted on, labels or groups that do not fit, shares out of range, or too few images.

    Example:
    ```python
    from keras_reprogram import ReprogrammedModel

    help(ReprogrammedModel.calibrate)
    ```
    """
    if model.output_map.multi_label:
        raise ValueError(
            "Sets hold the classes that an image may have, of which it has one. Received: a map of "
            "several findings. Use `predict_findings`, whose thresholds the fit chose on held-out "
            "images; `fit_thresholds` chooses them on images of your own."
        )
    if not model.output_map.ready:
        raise ValueError(
            "The output map must be fitted before `calibrate`, on other images: call "
            f"`model.fit_output_map(x, y)`. Received: a {type(model.output_map).__name__} without "
            "answers."
        )
    if x is None and scores is None:
        raise ValueError(
            "`calibrate` needs images that were held out from the fit, with their labels. "
            "Received: no images. Keep about 100 or more aside before fitting, and pass them as "
            "`x` and `y`."
        )
    num_classes = model.output_map.num_classes
    if x is not None:
        images = model.data_checks.arrays(x, y)[0]
        model.asker.learned.refuse(images)
    if scores is not None:
        scores = checked_scores(model, scores)
    count = len(images if scores is None else scores)
    labels = check_labels(y, count, num_classes)
    groups = check_groups(groups, count)
    numbers = group_numbers(groups, count)
    check_counts(labels, numbers, num_classes, coverage, class_wise, abstain)
    used_before = model.queries_used
    if scores is None:
        scores = model.asker.ask(images, batch_size=batch_size, verbose=verbose)[0]
    model.calibration = fit_calibration(
        scores,
        _map_scores(model, scores),
        labels,
        groups,
        # Parts of unlike kinds have no log scale in common: their numbers are taken as they are.
        score_kind=model.source.score_kind if model.source.beside is None else "features",
        epsilon=float(model.output_map.epsilon),
        seed=model.seed,
        coverage=float(coverage),
        class_wise=bool(class_wise),
        abstain=float(abstain),
        weights=weights_digest(model),
        queries_used=model.queries_used - used_before,
    )
    return model.calibration


@dataclass(frozen=True, eq=False)
class PredictionSets:
    """What `predict_sets` says about images.

    Args:
        probabilities: float32 `(n, K)`, calibrated by the temperature.
        sets: bool `(n, K)`, the classes that an image may have.
        accepted: bool `(n,)`, whether the set is one class and the image is not foreign.
        foreign: bool `(n,)`, whether the image is unlike those that were calibrated on.
        distances: float32 `(n,)`, from those images.
        coverage: that was asked for.
        class_wise: whether it holds in every class.
        abstain: share of images like the calibrating ones that may be called foreign.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import PredictionSets

    found = PredictionSets(
        probabilities=np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]], "float32"),
        sets=np.array([[True, False, False], [True, True, False]]),
        accepted=np.array([True, False]),
        foreign=np.array([False, False]),
        distances=np.array([0.4, 0.7], "float32"),
        coverage=0.9,
    )
    assert found.classes.tolist() == [0, 0] and found.sizes.tolist() == [1, 2]
    assert found.answers.tolist() == [0, -1]
    ```
    """

    probabilities: np.ndarray = field(repr=False)
    sets: np.ndarray = field(repr=False)
    accepted: np.ndarray
    foreign: np.ndarray = field(repr=False)
    distances: np.ndarray = field(repr=False)
    coverage: float
    class_wise: bool = False
    abstain: float = 0.0

    @property
    def classes(self) -> np.ndarray:
        """The most probable class of each image, `(n,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def answers(self) -> np.ndarray:
        """The class of each image that is accepted, -1 for the others, `(n,)`."""
        return np.where(self.accepted, self.classes, -1)

    @property
    def sizes(self) -> np.ndarray:
        """Classes in each set, `(n,)`."""
        return self.sets.sum(axis=1)

    def __len__(self) -> int:
        return len(self.sets)


def predict_sets(
    model: Any,
    x: Any = None,
    *,
    coverage: float | None = None,
    class_wise: bool | None = None,
    abstain: float | None = None,
    scores: Any = None,
    batch_size: int = 64,
    verbose: Any = "auto",
) -> PredictionSets:
    """The classes that each image may have, and which answers to accept.

    `predict` stays Keras's, whose result is one array of probabilities.

    Args:
        model: a calibrated `ReprogrammedModel`, `self` of its method.
        x: images `(n, h, w, c)`.
        coverage: share of sets that hold the true class; `None` for the calibration's.
        class_wise: whether it holds in every class; `None` for the calibration's.
        abstain: share of images like the calibrating ones that may be called foreign; 0 calls none
            foreign; `None` for the calibration's.
        scores: answers `(n, V, S)` to these images that were paid for; then nothing is asked.
        batch_size: images at once.
        verbose: 0 for silence.

    Returns:
        A `PredictionSets`.

    Raises:
        ValueError: before any query, for a model without a calibration or with other weights than
            were calibrated, for images that do not fit, and for a coverage that needs more
            calibrating images.

    Example:
    ```python
    from keras_reprogram import ReprogrammedModel

    help(ReprogrammedModel.predict_sets)
    ```
    """
    rule = checked_calibration(model).rule(coverage, class_wise, abstain)
    if scores is None:
        images = model.data_checks.images(x)
        scores = model.asker.ask(images, batch_size=batch_size, verbose=verbose)[0]
    return apply_rule(model, rule, checked_scores(model, scores))


def apply_rule(model: Any, rule: SetRule, scores: np.ndarray) -> PredictionSets:
    """Prediction sets of answers `(n, V, S)`."""
    starts = range(0, len(scores), _ROWS)
    parts = [
        rule(some, model.output_map(some))
        for some in (scores[start : start + _ROWS] for start in starts)
    ]
    found = {
        name: np.concatenate([keras.ops.convert_to_numpy(part[name]) for part in parts])
        for name in parts[0]
    }
    return PredictionSets(
        probabilities=found["probabilities"],
        sets=found["set"],
        accepted=found["accepted"],
        foreign=found["foreign"],
        distances=found["distance"],
        coverage=rule.coverage,
        class_wise=rule.class_wise,
        abstain=rule.abstain,
    )


def checked_calibration(model: Any) -> Calibration:
    """The model's calibration; a ValueError without one, or if the model was fitted since."""
    if model.calibration is None:
        raise ValueError(
            "Sets need a calibration. Received: a model without one. Call `model.calibrate(x, y)` "
            "with held-out images (`train --calibrate 0.2`)."
        )
    if model.calibration.weights != weights_digest(model):
        raise ValueError(
            "The calibration must be of the model as it is. Received: a model whose weights have "
            "changed since. Call `model.calibrate(x, y)` again, or set `model.calibration = None`."
        )
    return model.calibration


def weights_digest(model: Any) -> str:
    """Digest of the weights of program and map."""
    values = [keras.ops.convert_to_numpy(variable) for variable in trained_variables(model)]
    return hashlib.sha256("".join(map(images_digest, values)).encode()).hexdigest()


def _map_scores(model: Any, scores: np.ndarray) -> np.ndarray:
    parts = (scores[start : start + _ROWS] for start in range(0, len(scores), _ROWS))
    return np.concatenate([keras.ops.convert_to_numpy(model.output_map(some)) for some in parts])
