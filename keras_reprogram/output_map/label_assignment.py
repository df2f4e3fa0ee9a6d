"""assign_labels: which source labels stand for which target class. Pure NumPy."""

from __future__ import annotations

import numpy as np

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
    preference = _preference(scores, labels, num_classes, sample_weight)
    return _pick_greedily(preference, labels_per_class)


def check_label_budget(num_classes: int, num_source_labels: int, labels_per_class: int) -> None:
    """Raises a ValueError if the source has too few labels for `num_classes * m`."""
    if labels_per_class < 1:
        raise ValueError(f"`labels_per_class` must be at least 1. Received: {labels_per_class}.")
    if num_classes * labels_per_class > num_source_labels:
        largest = num_source_labels // num_classes
        advice = f"Pass `labels_per_class={largest}`" if largest else "Use a `DenseMap`"
        raise ValueError(
            f"{num_classes} classes with {labels_per_class} source labels each need "
            f"{num_classes * labels_per_class} source labels. Received: a source with "
            f"{num_source_labels}. {advice}, or another source."
        )


def _preference(
    scores: np.ndarray, labels: np.ndarray, num_classes: int, sample_weight: np.ndarray | None
) -> np.ndarray:
    """`(S, K)`: counts of first places, with the mean score as a tie-breaker below one count."""
    scores = np.asarray(scores, np.float64)
    if scores.ndim == 3:
        labels = np.repeat(labels, scores.shape[1])
        if sample_weight is not None:
            sample_weight = np.repeat(sample_weight, scores.shape[1])
        scores = scores.reshape(-1, scores.shape[-1])
    weight = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, float)
    one_hot = np.eye(num_classes)[np.asarray(labels, int)] * weight[:, None]
    first = np.eye(scores.shape[1])[scores.argmax(axis=1)]
    counts = first.T @ one_hot
    # A share in (0, 1/2): comparable between classes whatever their size.
    mean_score = _rescaled(scores).T @ (one_hot / np.maximum(one_hot.sum(axis=0), 1e-12))
    smallest = weight[weight > 0].min() if (weight > 0).any() else 1.0
    return counts + 0.49 * smallest * mean_score


def _rescaled(scores: np.ndarray) -> np.ndarray:
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def _pick_greedily(preference: np.ndarray, labels_per_class: int) -> np.ndarray:
    preference = preference.copy()
    chosen: list[list[int]] = [[] for _ in range(preference.shape[1])]
    for _ in range(preference.shape[1] * labels_per_class):
        label, target = np.unravel_index(preference.argmax(), preference.shape)
        chosen[target].append(int(label))
        preference[label] = -np.inf
        if len(chosen[target]) == labels_per_class:
            preference[:, target] = -np.inf
    return np.array(chosen)
