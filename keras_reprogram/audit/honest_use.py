"""What a measure costs those who use a source for what it was made for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_reprogram.audit.measures import Answers, as_probabilities

_BINS = 15


@dataclass(frozen=True)
class HonestUse:
    """How well answers behind a measure serve the source's own task.

    Args:
        labelled: whether true labels are known; else the source's own answers without a measure
            stand for them, and `accuracy` is the agreement with them.
        num_images: how many images were answered.
        accuracy: share of images whose largest score is the true label's.
        calibration_error: how far the largest score is from the share of right answers; `None`
            without true labels.
        moved: mean total variation distance of the answers from those without a measure, each
            made to sum to 1: 0 for the same, 1 for opposite ones.
    """

    labelled: bool
    num_images: int
    accuracy: float
    calibration_error: float | None
    moved: float


def honest_use(
    scores: np.ndarray, score_kind: str, shown: Answers, labels: np.ndarray | None
) -> HonestUse:
    """Measures answers behind a measure.

    Args:
        scores: `(n, S)` without a measure.
        score_kind: of these.
        shown: answers `(n, S)` behind the measure.
        labels: `(n,)` true labels of the source, or `None`.

    Returns:
        A `HonestUse`.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.audit import honest_use, top_label

    scores = np.array([[0.6, 0.4], [0.3, 0.7]])
    use = honest_use(scores, "probabilities", top_label().apply(scores, "probabilities"), None)
    assert use.accuracy == 1.0 and not use.labelled
    ```
    """
    plain = as_probabilities(scores, score_kind)
    seen = as_probabilities(shown.scores, shown.score_kind)
    truth = predicted_labels(plain) if labels is None else labels
    right = predicted_labels(seen) == truth
    # A single score is the confidence in one label, or in the other.
    confidence = seen.max(axis=1) if seen.shape[1] > 1 else np.maximum(seen, 1 - seen)[:, 0]
    error = None if labels is None else expected_calibration_error(confidence, right)
    distance = np.abs(_summing_to_1(seen) - _summing_to_1(plain)).sum(axis=1) / 2
    return HonestUse(
        labels is not None, len(right), float(right.mean()), error, float(distance.mean())
    )


def predicted_labels(probabilities: np.ndarray) -> np.ndarray:
    """The largest score of each row; of a single score whether it is above one half."""
    if probabilities.shape[1] == 1:
        return (probabilities[:, 0] > 0.5).astype(int)
    return probabilities.argmax(axis=1)


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """The expected calibration error of Guo et al. 2017 (eq. 3), in 15 bins of equal width.

    `sum over bins of (share of answers in the bin) * |share that is right - mean confidence|`.

    Args:
        confidence: `(n,)` from 0 to 1.
        right: `(n,)` booleans.

    Returns:
        From 0 to 1; 0 for answers that are right as often as they say.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.audit import expected_calibration_error

    assert expected_calibration_error(np.array([1.0, 1.0]), np.array([True, False])) == 0.5
    ```
    """
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    gaps = [
        (bins == one).mean() * abs(right[bins == one].mean() - confidence[bins == one].mean())
        for one in np.unique(bins)
    ]
    return float(np.sum(gaps))


def _summing_to_1(scores: np.ndarray) -> np.ndarray:
    if scores.shape[1] == 1:
        return np.concatenate([scores, 1 - scores], axis=1)
    sums = scores.sum(axis=1, keepdims=True)
    return np.where(sums > 0, scores / np.maximum(sums, 1e-30), 1 / scores.shape[1])


def own_labels(
    labels: np.ndarray, names: tuple[str, ...], source_names: tuple[str, ...] | None, count: int
) -> np.ndarray:
    """Labels of the source's own task as positions of its scores.

    Args:
        labels: `(n,)` in the order of `names`.
        names: class names of the data.
        source_names: names of the source's scores, or `None`.
        count: how many scores it has; of a single one, two classes are told apart.

    Returns:
        `(n,)` integers. Where all names are the source's, by name (case does not matter); else as
        many classes as there are scores are taken in their order, unless a name says otherwise.

    Raises:
        ValueError: if neither fits.
    """
    places = {name.casefold(): place for place, name in enumerate(source_names or ())}
    wanted = [places.get(name.casefold()) for name in names]
    if all(place is not None for place in wanted):
        return np.array(wanted)[labels]
    in_order = all(place in (None, number) for number, place in enumerate(wanted))
    if len(names) == max(count, 2) and in_order:
        return labels
    missing = [name for name, place in zip(names, wanted, strict=True) if place is None]
    raise ValueError(
        "--own must be data of the source's own task: its classes are called as the source's "
        f"scores are, or there are as many of them, {max(count, 2)}, in the same order. Received: "
        f"{len(names)} classes, among them {', '.join(missing[:3])}. Rename the folders, or leave "
        "--own out."
    )
