"""Counts of stored answers by target class, and label maps computed from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_reprogram.arguments import one_of, positive_integer

# Share of the classes that BLM+ looks at in each answer (Cai et al. 2024).
_TOP_SHARE = 0.15


class LabelCounts(NamedTuple):
    """Sums over answers, by source label (rows) and target class (columns).

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
    """Counts stored answers `(n, S)` or `(n, views, S)` by source label and target class."""
    # Views count like images. `top=None` counts 1 for the label with the highest score. A number k
    # instead adds up the k highest scores of each answer, including all that are equal to the k-th.
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
    """Number of highest scores that BLM+ adds up per answer: `int(0.15 * K)`, at least one."""
    # The published number is 0 for K <= 6, and its weights a division by zero.
    return min(max(1, int(_TOP_SHARE * num_classes)), num_source_labels)


def observed_counts(
    scores: Any, labels: Any, sample_weight: Any, *, num_classes: int, top: int | None
) -> tuple[Any, Any]:
    """Counts and score sums `(S, K)` of one batch of answers `(n, views, S)`."""
    scores = ops.cast(scores, "float32")
    by_class = _by_class(labels, sample_weight, num_classes)
    if top is None:
        first = ops.one_hot(ops.argmax(scores, axis=-1), scores.shape[-1], dtype="float32")
    else:
        lowest = ops.top_k(scores, top)[0][..., -1:]
        first = ops.where(scores >= lowest, scores, 0.0)
    counts, sums = (
        ops.matmul(ops.transpose(ops.sum(each, axis=1)), by_class) for each in (first, scores)
    )
    return counts, sums


def _by_class(labels: Any, sample_weight: Any, num_classes: int) -> Any:
    """Each image's weight in the column of its class, `(n, K)`."""
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 2 and labels.shape[1] == num_classes:
        labels = ops.argmax(labels, axis=-1)
    labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
    by_class = ops.one_hot(labels, num_classes, dtype="float32")
    if sample_weight is None:
        return by_class
    return by_class * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))


ASSIGNMENT_METHODS = ("random", "frequency")


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
    one_of("method", method, ASSIGNMENT_METHODS)
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
    positive_integer("labels_per_class", labels_per_class)
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
    """Picks greedily, from the largest count down; mean scores decide ties. `(K, m)`."""
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


BAYESIAN_METHODS = ("bayesian", "bayesian_plus")


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
    one_of("method", method, BAYESIAN_METHODS)
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
    """Number of highest scores that a method adds up per answer; `None` for first labels."""
    return num_top_labels(num_classes, num_source_labels) if method == "bayesian_plus" else None


def weights_from_counts(
    counts: np.ndarray, *, smoothing: float = 1.0, former: np.ndarray | None = None
) -> np.ndarray:
    """Counts -> weights: rows divided by their smoothed sum, then columns by theirs."""
    # Classes without a count keep their `former` weights, or get even ones.
    counts = np.asarray(counts, np.float64)
    rows = counts.sum(axis=1, keepdims=True) + smoothing
    shares = np.divide(counts, rows, out=np.zeros_like(counts), where=rows > 0)
    columns = shares.sum(axis=0, keepdims=True)
    kept = np.full_like(counts, 1 / len(counts)) if former is None else former
    return np.where(columns > 0, shares / np.where(columns > 0, columns, 1.0), kept)
