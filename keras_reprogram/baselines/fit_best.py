"""Selects a classifier on a validation split, then refits it on all data."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from keras_reprogram.baselines.baseline import Baseline, check_labelled, fit_rotation, rotate
from keras_reprogram.baselines.lossless_rotation import LosslessRotation
from keras_reprogram.fitting.validation import draw_stratified, split_validation


@dataclass(frozen=True)
class Candidate:
    """A classifier family with one setting of its regularisation.

    Args:
        name: What the family is called in a report.
        make: A function without arguments that returns an unfitted scikit-learn classifier.
        most_rows: Most training rows that the family is fitted on, or `None`; above it a stratified
            draw is taken (the cost of a kernel machine grows with the square of the rows).
    """

    name: str
    make: Callable[[], Any]
    most_rows: int | None = None


def fit_best(
    candidates: Iterable[Candidate],
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Baseline:
    """Fits every candidate, and refits the best on validation on all inputs."""
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    check_labelled(inputs, labels, num_classes)
    if sample_weight is not None and np.shape(sample_weight) != labels.shape:
        raise ValueError(
            f"Expected `sample_weight` of shape {labels.shape}, one number per image. Received: "
            f"shape {np.shape(sample_weight)}."
        )
    if sample_weight is not None:
        # Kernel machines refuse a class without weight; what counts nothing may as well be absent.
        rows = np.flatnonzero(sample_weight)
        inputs, labels, sample_weight = inputs[rows], labels[rows], np.asarray(sample_weight)[rows]
        groups = None if groups is None else np.reshape(groups, -1)[rows]
        check_labelled(inputs, labels, num_classes)
    train, held_out = split_validation(inputs, labels, validation_fraction, seed, groups)
    best, best_accuracy = None, -1.0
    prepared: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for candidate in candidates:
        size = min(candidate.most_rows or len(train), len(train))
        if size not in prepared:
            rotation, rows, rotated = _reduce(inputs, labels, train, size, seed)
            prepared[size] = rows, rotated, rotate(rotation, inputs[held_out])
        rows, rotated, rotated_held_out = prepared[size]
        classifier, _ = _fit(candidate, rotated, labels[rows], _of(sample_weight, rows))
        accuracy = _accuracy(
            classifier, rotated_held_out, labels[held_out], _of(sample_weight, held_out)
        )
        if accuracy > best_accuracy:
            best, best_accuracy = candidate, accuracy
    if best is None:
        raise ValueError("Expected at least one candidate. Received: none.")
    size = min(best.most_rows or len(labels), len(labels))
    rotation, rows, rotated = _reduce(inputs, labels, np.arange(len(labels)), size, seed)
    classifier, converged = _fit(best, rotated, labels[rows], _of(sample_weight, rows))
    drawn = "" if size == len(labels) else f" ({size:,} of {len(labels):,} images)"
    return Baseline(best.name + drawn, best_accuracy, size, converged, rotation, classifier)


def _reduce(
    inputs: np.ndarray, labels: np.ndarray, rows: np.ndarray, size: int, seed: int
) -> tuple[LosslessRotation, np.ndarray, np.ndarray]:
    if size < len(rows):
        rows = rows[draw_stratified(labels[rows], size, seed)]
    rotation, rotated = fit_rotation(inputs[rows])
    return rotation, rows, rotated


def _of(weight: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if weight is None else np.asarray(weight, float)[rows]


def _accuracy(
    classifier: Any, rows: np.ndarray, labels: np.ndarray, weight: np.ndarray | None
) -> float:
    if weight is not None and not weight.any():
        weight = None
    with threadpool_limits(1):
        return float(np.average(classifier.predict(rows) == labels, weights=weight))


def _fit(
    candidate: Candidate, rotated: np.ndarray, labels: np.ndarray, weight: np.ndarray | None
) -> tuple[Any, bool]:
    # A solver that was stopped early is a candidate like any other: validation decides, and
    # `converged` reports it. One thread, for the reason given in `fit_rotation`.
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weighted = {} if weight is None else {"sample_weight": weight}
        classifier = candidate.make().fit(rotated, labels, **weighted)
    stopped_early = False
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            stopped_early = True
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return classifier, not stopped_early
