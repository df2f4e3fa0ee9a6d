"""assign_labels: which source labels stand for which target class. Pure NumPy."""

from __future__ import annotations

import numpy as np

from keras_reprogram.output_map.label_counts import label_counts

METHODS = ("random", "frequency")


def assign_labels(
    method: str,
    *,
    num_classes: int,
    num_source_labels: int,
    labels_per_class: int = 1,
    scores: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Assigns m source labels to each target class; no source label serves two classes.

    `"random"` draws them (Elsayed et al. 2019 with m = 1; Tsai et al. 2020 for APIs).
    `"frequency"` counts how often source label s answers images of class t with the highest
    score, picks the largest count, strikes out s, strikes out t after m picks, and goes on
    (Tsai et al. 2020, sec. 3.3; the m-to-1 greedy form of SMM, Cai et al. 2024).

    Deviation: labels that never come first are told apart by their mean score in a class, so
    that ties are not decided by their position.

    Args:
        method: `"random"` or `"frequency"`.
        num_classes: target classes K.
        num_source_labels: source labels S.
        labels_per_class: m, >= 1.
        scores: `(n, S)` or `(n, views, S)` stored scores, for `"frequency"`.
        labels: `(n,)` integer target labels, for `"frequency"`.
        sample_weight: `(n,)` or `None`; an image counts that often.
        seed: for `"random"`.

    Returns:
        int array `(K, m)` of source labels, each used at most once.

    Raises:
        ValueError: if `K * m > S`, for an unknown method, or where scores are missing.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import assign_labels

    scores = np.array([[.8, .1, .1], [.1, .1, .8]])
    table = assign_labels(
        "frequency", num_classes=2, num_source_labels=3, scores=scores, labels=np.array([0, 1])
    )
    assert table.tolist() == [[0], [2]]
    ```
    """
    check_label_budget(num_classes, num_source_labels, labels_per_class)
    if method == "random":
        drawn = np.random.default_rng(seed).permutation(num_source_labels)
        return drawn[: num_classes * labels_per_class].reshape(num_classes, labels_per_class)
    if method != "frequency":
        raise ValueError(f"`method` must be one of {METHODS}. Received: {method!r}.")
    if scores is None or labels is None:
        raise ValueError(
            '"frequency" counts stored answers: pass `scores=` and `labels=`. '
            f"Received: scores={scores}, labels={labels}."
        )
    scores = np.asarray(scores, np.float64)
    if scores.shape[-1] != num_source_labels or len(scores) != len(labels):
        raise ValueError(
            f"`scores` must be (n, {num_source_labels}) or (n, views, {num_source_labels}), with "
            f"n labels. Received: scores of shape {scores.shape}, {len(labels)} labels."
        )
    found = label_counts(scores, labels, num_classes=num_classes, sample_weight=sample_weight)
    return labels_from_counts(found.counts, found.score_sums, labels_per_class)


def check_label_budget(num_classes: int, num_source_labels: int, labels_per_class: int) -> None:
    """Raises a ValueError if the source has too few labels for `num_classes * m`."""
    if labels_per_class < 1:
        raise ValueError(f"`labels_per_class` must be at least 1. Received: {labels_per_class}.")
    if num_classes * labels_per_class > num_source_labels:
        largest = num_source_labels // num_classes
        advice = "Use a `DenseMap` (--output-map dense)"
        if largest:
            advice = f"Pass `labels_per_class={largest}` (--labels-per-class {largest})"
        raise ValueError(
            f"{num_classes} classes with {labels_per_class} source labels each need "
            f"{num_classes * labels_per_class} source labels. Received: a source with "
            f"{num_source_labels}. {advice}, or another source."
        )


def labels_from_counts(
    counts: np.ndarray, score_sums: np.ndarray, labels_per_class: int
) -> np.ndarray:
    """Picks greedily, from the largest count down; mean scores decide between equals.

    Args:
        counts: `(S, K)`, see `label_counts`; infinite for a pick that is settled.
        score_sums: `(S, K)`.
        labels_per_class: m, with `K * m <= S`.

    Returns:
        int array `(K, m)`.
    """
    total = counts.sum(axis=0)
    # A mean, so that it is comparable between classes whatever their size.
    means = score_sums / np.where(np.isfinite(total), np.maximum(total, 1e-12), 1.0)
    chosen: list[list[int]] = [[] for _ in range(counts.shape[1])]
    used = np.zeros(len(counts), bool)
    for position in np.lexsort((-means.ravel(), -counts.ravel())):
        label, target = divmod(int(position), counts.shape[1])
        if not used[label] and len(chosen[target]) < labels_per_class:
            chosen[target].append(label)
            used[label] = True
    return np.array(chosen)
