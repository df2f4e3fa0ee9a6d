"""Metrics of several findings an image: AUC and F1 of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from sklearn.metrics import roc_auc_score

from keras_reprogram.report.metrics import (
    Interval,
    checked_probabilities,
    wilson_interval,
    with_tuples,
)

_EVEN = 0.5


@dataclass(frozen=True)
class FindingMetrics:
    """Metrics of one finding.

    Attributes:
        name: The finding's name.
        support: Number of examples that have it.
        threshold: The probability from which it counts as found.
        auc: Area under the ROC curve of its probability, or None where no example has it, or all.
        f1: Harmonic mean of precision and sensitivity at the threshold, or None where no example
            has it.
        precision: Share of the examples that were called positive that have it, or None where
            none was.
        sensitivity: Share of the examples that have it that were called positive, or None
            without any.
        sensitivity_interval: 95 % Wilson interval of the sensitivity, or None.
        specificity: Share of the other examples that were not called positive, or None without
            any.
        specificity_interval: 95 % Wilson interval of the specificity, or None.
    """

    name: str
    support: int
    threshold: float
    auc: float | None
    f1: float | None
    precision: float | None
    sensitivity: float | None
    sensitivity_interval: Interval | None
    specificity: float | None
    specificity_interval: Interval | None


@dataclass(frozen=True)
class FindingsMetrics:
    """The figures of one model of several findings on one test set.

    Attributes:
        num_examples: Number of examples.
        auc: Mean of the findings' AUCs that are defined, or None.
        f1: Mean of the findings' F1s that are defined (macro), or None.
        accuracy: Share of pairs of an example and a finding that are read right.
        exact_matches: Share of examples whose findings are all read right.
        without_finding: Share of examples that have no finding.
        findings: One `FindingMetrics` a finding, in the order of the names.
    """

    num_examples: int
    auc: float | None
    f1: float | None
    accuracy: float
    exact_matches: float
    without_finding: float
    findings: tuple[FindingMetrics, ...]

    def to_dict(self) -> dict[str, Any]:
        """Gives every figure as plain dicts, lists and numbers; undefined ones are None.

        Returns:
            A dict that `json.dumps(..., allow_nan=False)` takes.

        Example:
            ```python
            from keras_reprogram.report import findings_metrics

            guesses = [[0.9, 0.1], [0.2, 0.4]]
            metrics = findings_metrics([[1, 0], [0, 0]], guesses, ["mass", "edema"])
            assert metrics.to_dict()["findings"][0]["auc"] == 1.0
            ```
        """
        return asdict(self) | {"findings": [asdict(one) for one in self.findings]}

    @classmethod
    def from_dict(cls, figures: Mapping[str, Any]) -> Self:
        """Reads again what `to_dict` gave, as from a JSON file.

        Args:
            figures: the dict.

        Returns:
            Equal figures.

        Example:
            ```python
            from keras_reprogram.report import FindingsMetrics, findings_metrics

            guesses = [[0.9, 0.1], [0.2, 0.4]]
            metrics = findings_metrics([[1, 0], [0, 0]], guesses, ["mass", "edema"])
            assert FindingsMetrics.from_dict(metrics.to_dict()) == metrics
            ```
        """
        findings = tuple(FindingMetrics(**with_tuples(one)) for one in figures["findings"])
        return cls(**{**figures, "findings": findings})


def findings_metrics(
    labels: Any, probabilities: Any, names: Sequence[str], thresholds: Any = None
) -> FindingsMetrics:
    """Measures probabilities of several findings against labels, finding by finding.

    Most images have no finding, so that the share of right answers says little: AUC does not depend
    on how rare a finding is, and F1 counts what was found.

    Args:
        labels: `(n, K)` of 0 and 1.
        probabilities: `(n, K)`, in [0, 1].
        names: One name a finding.
        thresholds: `(K,)`, the probability from which each counts as found; None for .5. Choose
            them on other images than these.

    Returns:
        A `FindingsMetrics`; figures that are undefined are None.

    Raises:
        ValueError: If shapes disagree, something is empty, not finite or out of range, or labels
            are not 0 and 1.

    Example:
        ```python
        from keras_reprogram.report import findings_metrics

        labels = [[1, 0], [0, 0], [1, 1], [0, 0]]
        probabilities = [[0.9, 0.1], [0.2, 0.3], [0.6, 0.4], [0.7, 0.1]]
        metrics = findings_metrics(labels, probabilities, ["mass", "edema"], [0.5, 0.35])
        assert metrics.findings[0].auc == 0.75 and metrics.findings[1].f1 == 1.0
        ```
    """
    scores = checked_probabilities(probabilities, len(names))
    truth = _checked_findings(labels, scores.shape)
    limits = np.full(len(names), _EVEN) if thresholds is None else np.asarray(thresholds, float)
    if limits.shape != (len(names),):
        raise ValueError(
            f"Expected `thresholds` of shape ({len(names)},), one a finding. Received: shape "
            f"{limits.shape}."
        )
    # As a map compares them: both in float32.
    found = scores.astype(np.float32) >= limits.astype(np.float32)
    findings = tuple(
        _measure(str(name), float(limits[k]), truth[:, k], scores[:, k], found[:, k])
        for k, name in enumerate(names)
    )
    return FindingsMetrics(
        num_examples=len(truth),
        auc=_mean([one.auc for one in findings]),
        f1=_mean([one.f1 for one in findings]),
        accuracy=float(np.mean(found == truth)),
        exact_matches=float(np.mean((found == truth).all(axis=1))),
        without_finding=float(np.mean(~truth.any(axis=1))),
        findings=findings,
    )


def _measure(
    name: str, threshold: float, truth: np.ndarray, scores: np.ndarray, found: np.ndarray
) -> FindingMetrics:
    support, called = int(truth.sum()), int(found.sum())
    others, hits = len(truth) - support, int((truth & found).sum())
    right_others = others - (called - hits)
    return FindingMetrics(
        name=name,
        support=support,
        threshold=threshold,
        auc=float(roc_auc_score(truth, scores)) if support and others else None,
        f1=2 * hits / (support + called) if support else None,
        precision=hits / called if called else None,
        sensitivity=hits / support if support else None,
        sensitivity_interval=wilson_interval(hits, support) if support else None,
        specificity=right_others / others if others else None,
        specificity_interval=wilson_interval(right_others, others) if others else None,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _checked_findings(labels: Any, shape: tuple[int, ...]) -> np.ndarray:
    given = np.asarray(labels)
    if given.shape != shape:
        raise ValueError(
            f"Expected labels of shape {shape}, a column a finding, one row a row of "
            f"`probabilities`. Received: shape {given.shape}. Pass the findings of the examples "
            "that were predicted, in the same order."
        )
    if given.dtype.kind not in "biuf" or not np.isin(given, (0, 1)).all():
        raise ValueError(
            f"Expected findings of 0 and 1. Received: dtype {given.dtype}, "
            f"{np.unique(given)[:5].tolist()}. Leave out images whose findings are not known."
        )
    return given == 1
