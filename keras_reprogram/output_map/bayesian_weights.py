"""bayesian_weights: how much each source label says for each target class. Pure NumPy."""

from __future__ import annotations

import numpy as np

from keras_reprogram.output_map.label_counts import label_counts, num_top_labels

METHODS = ("bayesian", "bayesian_plus")


def bayesian_weights(
    method: str,
    *,
    num_classes: int,
    scores: np.ndarray,
    labels: np.ndarray,
    sample_weight: np.ndarray | None = None,
    smoothing: float = 1.0,
) -> np.ndarray:
    """Weights of source labels for target classes, from stored answers.

    `"bayesian"` (BLM, Cai et al. 2024) counts how often source label s answers images of class t
    with the highest score; `w[s, t] = counts[s, t] / (sum_t counts[s, t] + smoothing)` is the
    share of class t where label s comes first, and columns are divided by their sum.
    `"bayesian_plus"` (BLM+) adds up the scores of each answer's k highest labels instead, with
    `k = max(1, int(0.15 * K))`.

    Deviations: the published k is 0 for K <= 6, which divides by zero. Labels that share the
    k-th score are all added up, so that their position decides nothing. A class without any
    count (all its images weigh nothing) weighs all source labels alike.

    Args:
        method: `"bayesian"` or `"bayesian_plus"`.
        num_classes: target classes K.
        scores: `(n, S)` or `(n, views, S)` stored probabilities; take the softmax of logits.
        labels: `(n,)` integer target labels.
        sample_weight: `(n,)` or `None`; an image counts that often.
        smoothing: >= 0; takes weight from labels that seldom come first.

    Returns:
        float array `(S, K)` of non-negative weights, each column sums to 1.

    Raises:
        ValueError: for an unknown method, negative scores or smoothing, or other lengths.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import bayesian_weights

    scores = np.array([[.8, .2], [.6, .4], [.1, .9]])
    weights = bayesian_weights("bayesian", num_classes=2, scores=scores, labels=np.array([0, 0, 1]))
    assert weights.tolist() == [[1, 0], [0, 1]]
    ```

    References:
        Cai, Ye, Feng, Qi, Liu, "Bayesian-Guided Label Mapping for Visual Reprogramming",
        NeurIPS 2024.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: {method!r}.")
    if not smoothing >= 0:
        raise ValueError(f"`smoothing` must be at least 0. Received: {smoothing}.")
    scores = np.asarray(scores, np.float64)
    if not np.isfinite(scores).all() or scores.size == 0 or scores.min() < 0:
        raise ValueError(
            "Bayesian weights are counted on probabilities, finite and >= 0, of at least one "
            f"image. Received: scores of shape {scores.shape}"
            f"{f', smallest {scores.min()}' if scores.size else ''}. Take the softmax of logits."
        )
    top = top_for(method, num_classes, scores.shape[-1])
    found = label_counts(
        scores, labels, num_classes=num_classes, sample_weight=sample_weight, top=top
    )
    return weights_from_counts(found.counts, smoothing=smoothing)


def top_for(method: str, num_classes: int, num_source_labels: int) -> int | None:
    """How many of an answer's highest scores a method adds up; `None` for counts of the first.

    Args:
        method: name of a method.
        num_classes: target classes K.
        num_source_labels: source labels S.
    """
    return num_top_labels(num_classes, num_source_labels) if method == "bayesian_plus" else None


def weights_from_counts(
    counts: np.ndarray, *, smoothing: float = 1.0, former: np.ndarray | None = None
) -> np.ndarray:
    """Counts -> weights: rows divided by their smoothed sum, then columns by theirs.

    Args:
        counts: `(S, K)`, non-negative.
        smoothing: >= 0.
        former: `(S, K)` weights to keep for classes without a count; `None` for even ones.

    Returns:
        `(S, K)`.
    """
    counts = np.asarray(counts, np.float64)
    rows = counts.sum(axis=1, keepdims=True) + smoothing
    shares = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)
    columns = shares.sum(axis=0, keepdims=True)
    kept = np.full_like(counts, 1 / len(counts)) if former is None else former
    return np.where(columns > 0, shares / np.where(columns > 0, columns, 1.0), kept)
