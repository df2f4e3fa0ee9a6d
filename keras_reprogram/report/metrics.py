"""Classification metrics, including those that skewed classes do not inflate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from sklearn.metrics import confusion_matrix as count_confusions

Interval = tuple[float, float]


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class against all others.

    Attributes:
        name: The class's name.
        support: Number of examples whose true class this is.
        sensitivity: Share of its examples that were recognised, or None without any.
        sensitivity_interval: 95 % Wilson interval of the sensitivity, or None.
        specificity: Share of the other examples that were not taken for this class, or
            None where there are no others.
        specificity_interval: 95 % Wilson interval of the specificity, or None.
        auc: One-vs-rest area under the ROC curve of the class's probability, or None
            where either side is empty.
    """

    name: str
    support: int
    sensitivity: float | None
    sensitivity_interval: Interval | None
    specificity: float | None
    specificity_interval: Interval | None
    auc: float | None


@dataclass(frozen=True, eq=False)
class ClassificationMetrics:
    """The figures of one classifier on one test set.

    Attributes:
        num_examples: Number of examples.
        accuracy: Share of examples whose largest probability is the true class's.
        accuracy_interval: 95 % Wilson interval of the accuracy.
        balanced_accuracy: Mean sensitivity of the classes that occur.
        auc: Macro mean of the one-vs-rest AUCs that are defined; with two classes, the
            AUC of the second class. None where no AUC is defined.
        classes: One `ClassMetrics` a class, in the order of the class names.
        absent_classes: Names of the classes that no example has.
        confusion_matrix: Counts `(classes, classes)`, rows = true, columns = predicted;
            read-only.
        quadratic_kappa: Of grades, Cohen's kappa of true and predicted grades with quadratic
            weights, in [-1, 1]; None for classes without an order, and where all are of one grade.
    """

    num_examples: int
    accuracy: float
    accuracy_interval: Interval
    balanced_accuracy: float
    auc: float | None
    classes: tuple[ClassMetrics, ...]
    absent_classes: tuple[str, ...]
    confusion_matrix: np.ndarray
    quadratic_kappa: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Gives every figure as plain dicts, lists and numbers; undefined ones are None.

        Returns:
            A dict that `json.dumps(..., allow_nan=False)` takes.

        Example:
            ```python
            import json
            from keras_reprogram.report import classification_metrics

            metrics = classification_metrics([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["no", "yes"])
            assert json.loads(json.dumps(metrics.to_dict()))["accuracy"] == 1.0
            ```
        """
        return {
            "num_examples": self.num_examples,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.accuracy_interval),
            "balanced_accuracy": self.balanced_accuracy,
            "auc": self.auc,
            "absent_classes": list(self.absent_classes),
            "classes": [_with_lists(asdict(entry)) for entry in self.classes],
            "confusion_matrix": self.confusion_matrix.tolist(),
        } | ({} if self.quadratic_kappa is None else {"quadratic_kappa": self.quadratic_kappa})

    @classmethod
    def from_dict(cls, figures: Mapping[str, Any]) -> Self:
        """Reads again what `to_dict` gave, as from a JSON file.

        Args:
            figures: the dict.

        Returns:
            Equal figures.

        Example:
            ```python
            from keras_reprogram.report import ClassificationMetrics, classification_metrics

            metrics = classification_metrics([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["no", "yes"])
            assert ClassificationMetrics.from_dict(metrics.to_dict()).accuracy == 1.0
            ```
        """
        matrix = np.asarray(figures["confusion_matrix"], dtype="int64")
        matrix.setflags(write=False)
        return cls(
            **{
                **with_tuples(figures),
                "classes": tuple(ClassMetrics(**with_tuples(each)) for each in figures["classes"]),
                "confusion_matrix": matrix,
            }
        )


def classification_metrics(
    labels: Any, probabilities: Any, class_names: Sequence[str], *, ordinal: bool = False
) -> ClassificationMetrics:
    """Measures probabilities against labels, overall and class by class.

    Accuracy alone flatters a classifier of skewed data (a screening test that always
    says "healthy"), so balanced accuracy, AUC, sensitivity and specificity stand beside
    it, each proportion with the 95 % Wilson interval that its number of examples allows.
    Rows need not sum to 1: quantised models round every probability by itself.

    Args:
        labels: Integers `(n,)` or `(n, 1)` in `[0, classes)`, or one-hot `(n, classes)`.
        probabilities: `(n, classes)`, in [0, 1].
        class_names: One name a class, at least two.
        ordinal: Whether the classes are grades in order; then the quadratic weighted kappa is
            measured too, in which a mistake counts by the square of its distance.

    Returns:
        A `ClassificationMetrics`. A class that no example has counts in no mean and is
        named in `absent_classes`; figures that are undefined are None.

    Raises:
        ValueError: If shapes disagree, something is empty, not finite or out of range.

    Example:
        ```python
        from keras_reprogram.report import classification_metrics

        probabilities = [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]
        metrics = classification_metrics([0, 0, 1, 1], probabilities, ["benign", "malignant"])
        assert metrics.accuracy == 0.75
        assert metrics.classes[1].sensitivity == 0.5
        ```
    """
    names = tuple(str(name) for name in class_names)
    scores = checked_probabilities(probabilities, len(names))
    truth = class_indices(labels, len(scores), len(names))
    matrix = count_confusions(truth, scores.argmax(axis=1), labels=np.arange(len(names)))
    matrix.setflags(write=False)
    classes = tuple(
        _measure_class(name, index, matrix, truth, scores) for index, name in enumerate(names)
    )
    hits = int(np.trace(matrix))
    present = [entry.sensitivity for entry in classes if entry.sensitivity is not None]
    return ClassificationMetrics(
        num_examples=len(truth),
        accuracy=hits / len(truth),
        accuracy_interval=wilson_interval(hits, len(truth)),
        balanced_accuracy=float(np.mean(present)),
        auc=_overall_auc(classes),
        classes=classes,
        absent_classes=tuple(entry.name for entry in classes if entry.support == 0),
        confusion_matrix=matrix,
        quadratic_kappa=quadratic_kappa(truth, scores.argmax(axis=1)) if ordinal else None,
    )


def quadratic_kappa(truth: np.ndarray, predicted: np.ndarray) -> float | None:
    """Cohen's kappa of grades with quadratic weights; None where all are of one grade."""
    if len(np.union1d(truth, predicted)) < 2:
        return None
    return float(cohen_kappa_score(truth, predicted, weights="quadratic"))


def _measure_class(
    name: str, index: int, matrix: np.ndarray, truth: np.ndarray, scores: np.ndarray
) -> ClassMetrics:
    support = int(matrix[index].sum())
    others = len(truth) - support
    found = int(matrix[index, index])
    mistaken = int(matrix[:, index].sum()) - found
    defined = support > 0 and others > 0
    auc = float(roc_auc_score(truth == index, scores[:, index])) if defined else None
    return ClassMetrics(
        name,
        support,
        *_proportion(found, support),
        *_proportion(others - mistaken, others),
        auc=auc,
    )


def _proportion(successes: int, trials: int) -> tuple[float | None, Interval | None]:
    if trials == 0:
        return None, None
    return successes / trials, wilson_interval(successes, trials)


def _overall_auc(classes: Sequence[ClassMetrics]) -> float | None:
    if len(classes) == 2:
        return classes[1].auc
    defined = [entry.auc for entry in classes if entry.auc is not None]
    return float(np.mean(defined)) if defined else None


def _with_lists(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()
    }


def with_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Figures from JSON, whose intervals are lists there."""
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
    }


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Gives the Wilson score interval of a proportion.

    With `p = successes / trials`, `n = trials` and `z` the normal quantile of
    `(1 + confidence) / 2`, the interval is

    `(p + z^2 / 2n ± z * sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)`

    Unlike `p ± z * sqrt(p (1 - p) / n)` it stays inside [0, 1] and keeps a width when
    every trial, or none, is a success; a class with few test images needs both.

    Args:
        successes: Number of successes, 0 to `trials`.
        trials: Number of trials, at least 1.
        confidence: Wanted coverage, strictly between 0 and 1.

    Returns:
        The lower and upper end, `0 <= low <= successes / trials <= high <= 1`.

    Raises:
        ValueError: If the counts or the confidence are outside their ranges.

    Example:
        ```python
        from keras_reprogram.report import wilson_interval

        low, high = wilson_interval(9, 10)
        assert 0.59 < low < 0.60 and 0.98 < high < 0.99
        ```

    Reference:
        E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
        Inference", Journal of the American Statistical Association 22 (1927), 209-212.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            "Expected at least one trial and 0 <= successes <= trials. Received: "
            f"successes={successes}, trials={trials}. Leave out a proportion of no trials."
        )
    if not 0.0 < confidence < 1.0:
        raise ValueError(
            "Expected `confidence` strictly between 0 and 1. Received: "
            f"confidence={confidence}. Pass 0.95 for a 95 % interval."
        )
    ends = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(ends.low), float(ends.high)


def checked_probabilities(probabilities: Any, num_classes: int) -> np.ndarray:
    """Probabilities as a float64 array `(n, num_classes)`, checked."""
    if num_classes < 2:
        raise ValueError(
            f"Expected at least two class names. Received: {num_classes}. Name both sides "
            "of a yes-or-no task, for example ['benign', 'malignant']."
        )
    scores = np.asarray(probabilities, dtype="float64")
    if scores.ndim != 2 or scores.shape[1] != num_classes:
        raise ValueError(
            "Expected `probabilities` of shape (n, classes), one column a class name. "
            f"Received: shape {scores.shape} with {num_classes} class names. For a single "
            "sigmoid output p, pass np.stack([1 - p, p], axis=1)."
        )
    if len(scores) == 0:
        raise ValueError(
            "Expected at least one example. Received: probabilities of shape "
            f"{scores.shape}. Check that the test set is not empty."
        )
    bad = ~np.isfinite(scores)
    if bad.any():
        raise ValueError(
            f"Expected finite probabilities. Received: NaN or infinity in {bad.any(axis=1).sum()} "
            f"of {len(scores)} rows, first in row {int(bad.any(axis=1).argmax())}. Check the "
            "model's output before measuring it."
        )
    # Float16 and float32 softmax may overshoot 1 by a rounding step.
    if scores.min() < -1e-3 or scores.max() > 1 + 1e-3:
        raise ValueError(
            "Expected probabilities in [0, 1]. Received: values from "
            f"{scores.min():.4g} to {scores.max():.4g}. Apply a softmax to logits first."
        )
    return scores


def class_indices(labels: Any, num_examples: int, num_classes: int) -> np.ndarray:
    """Integer, column or one-hot labels as int64 `(n,)`, checked."""
    given = np.asarray(labels)
    if given.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected numeric labels. Received: dtype {given.dtype}. Turn names into integers "
            "first, in the order of `class_names`."
        )
    if given.shape == (num_examples, 1):
        given = given[:, 0]
    if given.shape == (num_examples, num_classes):
        return _from_one_hot(given)
    if given.shape != (num_examples,):
        raise ValueError(
            f"Expected labels of shape ({num_examples},) or one-hot ({num_examples}, "
            f"{num_classes}), one row a row of `probabilities`. Received: shape {given.shape}. "
            "Pass the labels of the examples that were predicted, in the same order."
        )
    return _from_integers(given, num_classes)


def _from_one_hot(rows: np.ndarray) -> np.ndarray:
    one_hot = np.isin(rows, (0, 1)).all(axis=1) & (rows.sum(axis=1) == 1)
    if not one_hot.all():
        first = int((~one_hot).argmax())
        raise ValueError(
            "Expected one-hot labels: a single 1 a row, 0 elsewhere. Received: row "
            f"{first} = {rows[first].tolist()}. Rows that sum to 1 may be reduced to their "
            "argmax; multi-label rows, of several findings or none, are measured by "
            "`findings_metrics`."
        )
    return rows.argmax(axis=1)


def _from_integers(values: np.ndarray, num_classes: int) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(values) & (values == np.floor(values))
    valid = whole & (values >= 0) & (values < num_classes)
    if not valid.all():
        first = int((~valid).argmax())
        raise ValueError(
            f"Expected integer labels in [0, {num_classes}), one class name each. Received: "
            f"label {values[first]} at index {first}. Count classes from 0, and name all of them."
        )
    return values.astype("int64")
