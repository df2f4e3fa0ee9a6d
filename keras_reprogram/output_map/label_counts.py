"""label_counts: how stored answers fall on the target classes. Pure NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Share of the classes that BLM+ looks at in each answer (Cai et al. 2024).
_TOP_SHARE = 0.15


class LabelCounts(NamedTuple):
    """Sums over answers, one row a source label and one column a target class.

    Args:
        counts: `(S, K)`, how often (or with how much score) label s was among the first of the
            answers to images of class t.
        score_sums: `(S, K)`, all scores of label s for images of class t.
    """

    counts: np.ndarray
    score_sums: np.ndarray


def label_counts(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    sample_weight: np.ndarray | None = None,
    top: int | None = None,
) -> LabelCounts:
    """Counts stored answers by source label and target class; views count like images.

    Args:
        scores: `(n, S)` or `(n, views, S)` probabilities.
        labels: `(n,)` integers in [0, K).
        num_classes: target classes K.
        sample_weight: `(n,)` or `None`; an image counts that often.
        top: `None` counts 1 for the label with the highest score. A number k adds up the scores
            of each answer's k highest instead, those equal to the k-th included.

    Returns:
        `LabelCounts`.

    Raises:
        ValueError: if scores, labels and weights are not of one length, or a label is no class.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim not in (2, 3) or np.shape(labels) != (len(scores),):
        raise ValueError(
            "`scores` must be (n, S) or (n, views, S), with n labels. Received: scores of shape "
            f"{scores.shape}, labels of shape {np.shape(labels)}. Pass the answers and the labels "
            "of the same images."
        )
    weight = _checked_weight(sample_weight, len(scores))
    classes = np.asarray(labels, int)
    if classes.size and not 0 <= classes.min() <= classes.max() < num_classes:
        raise ValueError(
            f"`labels` must lie in [0, {num_classes}). Received: labels from {classes.min()} to "
            f"{classes.max()}. Number the classes from 0, or pass a larger `num_classes`."
        )
    by_class = np.eye(num_classes)[classes] * weight[:, None]
    views = scores.reshape(len(scores), -1, scores.shape[-1])
    if top is None:
        first = np.eye(views.shape[-1])[views.argmax(axis=-1)]
    else:
        lowest = np.partition(views, -top, axis=-1)[..., -top, None]
        first = np.where(views >= lowest, views, 0.0)
    return LabelCounts(first.sum(axis=1).T @ by_class, views.sum(axis=1).T @ by_class)


def _checked_weight(sample_weight: np.ndarray | None, count: int) -> np.ndarray:
    if sample_weight is None:
        return np.ones(count)
    weight = np.asarray(sample_weight, np.float64)
    if weight.shape != (count,) or not (weight >= 0).all() or not np.isfinite(weight).all():
        smallest = weight.min() if weight.size else "none"
        raise ValueError(
            f"`sample_weight` must be ({count},) finite numbers >= 0, one for each image. "
            f"Received: shape {weight.shape}, smallest {smallest}."
        )
    return weight


def num_top_labels(num_classes: int, num_source_labels: int) -> int:
    """How many of an answer's highest scores BLM+ adds up: `int(0.15 * K)`, but at least one.

    The published number is 0 for K <= 6, and its weights a division by zero.

    Args:
        num_classes: target classes K.
        num_source_labels: source labels S, the most there can be.
    """
    return min(max(1, int(_TOP_SHARE * num_classes)), num_source_labels)
