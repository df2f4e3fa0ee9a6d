"""observed_counts: `label_counts` with `keras.ops`, for answers that pass by in training."""

from __future__ import annotations

from typing import Any

from keras import ops


def observed_counts(
    scores: Any, labels: Any, sample_weight: Any, *, num_classes: int, top: int | None
) -> tuple[Any, Any]:
    """Counts one batch of answers by source label and target class.

    Args:
        scores: `(n, views, S)` probabilities.
        labels: `(n,)` or `(n, 1)` integers, or `(n, K)` one-hot rows (the largest counts).
        sample_weight: `(n,)`, `(n, 1)` or `None`.
        num_classes: target classes K.
        top: see `label_counts`.

    Returns:
        Counts and sums of scores, `(S, K)` both; see `LabelCounts`.
    """
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
