"""The baseline of texts: logistic regression on sequences of their characters."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.fitting.validation import split_validation

NAME = "logistic regression on character n-grams"
_LONGEST = 5
_STRENGTHS = (1.0, 10.0, 100.0)
_MOST_STEPS = 200


def fit_no_source_texts(
    texts: Sequence[str],
    labels: np.ndarray,
    *,
    num_classes: int,
    validation_fraction: float = 0.1,
    seed: int = 0,
    groups: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Baseline:
    """Fits logistic regression on sequences of 1 to 5 characters of words, weighed by rareness.

    What texts allow without a source: every result of reprogramming is printed beside it. `C` is
    chosen on a validation part, then the choice is fitted on all texts.

    Args:
        texts: The training texts.
        labels: Integer array of shape `(num_texts,)`, values `0..num_classes - 1`.
        num_classes: Number of classes of the task.
        validation_fraction: Share held out for the choice, above 0 and below 1.
        seed: Non-negative integer that decides the split.
        groups: Optional array of shape `(num_texts,)`; texts of one group are held out together.
        sample_weight: Optional array of shape `(num_texts,)`, non-negative.

    Returns:
        A `Baseline` whose `predict` and `evaluate` take lists of texts.

    Raises:
        ValueError: For labels out of range or of one class, and too few texts to hold one out.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines import fit_no_source_texts

        texts = [f"who is king {n}" for n in range(10)] + [f"how many is {n}" for n in range(10)]
        baseline = fit_no_source_texts(texts, np.repeat([0, 1], 10), num_classes=2)
        print(baseline.predict(["who is the fox"]))  # [0]
        ```
    """
    texts, labels = list(texts), np.asarray(labels)
    _check(texts, labels, num_classes)
    weight = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, float)
    rows = np.flatnonzero(weight)
    texts, labels, weight = [texts[row] for row in rows], labels[rows], weight[rows]
    of_rows = None if groups is None else np.reshape(groups, -1)[rows]
    train, held_out = split_validation(labels, labels, validation_fraction, seed, of_rows)
    learned, held = ([texts[row] for row in some] for some in (train, held_out))
    best, best_accuracy = _STRENGTHS[0], -1.0
    for strength in _STRENGTHS:
        found, _ = _fitted(strength, learned, labels[train], weight[train])
        accuracy = float(
            np.average(found.predict(held) == labels[held_out], weights=weight[held_out])
        )
        if accuracy > best_accuracy:
            best, best_accuracy = strength, accuracy
    classifier, converged = _fitted(best, texts, labels, weight)
    return Baseline(NAME, best_accuracy, len(texts), converged, None, classifier)


def _fitted(
    strength: float, texts: list[str], labels: np.ndarray, weight: np.ndarray
) -> tuple[Any, bool]:
    reader = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(1, _LONGEST), lowercase=False, sublinear_tf=True
    )
    pipeline = make_pipeline(reader, LogisticRegression(C=strength, max_iter=_MOST_STEPS))
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        pipeline.fit(texts, labels, logisticregression__sample_weight=weight)
    return pipeline, not any(issubclass(one.category, ConvergenceWarning) for one in caught)


def _check(texts: list[str], labels: np.ndarray, num_classes: int) -> None:
    if labels.dtype.kind not in "iu" or labels.shape != (len(texts),):
        raise ValueError(
            "Expected one integer label for each text. Received: "
            f"{len(texts)} texts, labels {labels.shape} of {labels.dtype}."
        )
    present = np.unique(labels)
    if len(present) < 2 or present[0] < 0 or present[-1] >= num_classes:
        raise ValueError(
            f"Expected labels of two or more classes in 0..{num_classes - 1}. Received: "
            f"{len(present)} classes, {present[:5].tolist()} first."
        )
