"""One line of a results table."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class ResultRow:
    """What one method reached, and what it cost.

    Args:
        method: Name of the method.
        accuracies: Test accuracies in [0, 1], one a seed, at least one.
        training_queries: Image queries that training took, or None where no source is asked.
        queries_per_prediction: Image queries that one prediction takes, or None.
        seconds: Wall time of training, or None.
        note: A remark shown beside the figures.
        balanced_accuracies: Mean share of each class that was read right, in [0, 1], one a seed,
            for test images of which some classes have many more than others; else empty.

    Raises:
        ValueError: If there is no accuracy, one is outside [0, 1], a cost is negative, or balanced
            accuracies are given for some seeds only.

    Example:
        ```python
        from keras_reprogram.report import ResultRow

        row = ResultRow("8 views", (0.94, 0.95, 0.96), 8000, 8, 12.5)
        assert abs(row.mean - 0.95) < 1e-9 and abs(row.spread - 0.01) < 1e-9
        ```
    """

    method: str
    accuracies: tuple[float, ...]
    training_queries: int | None = None
    queries_per_prediction: int | None = None
    seconds: float | None = None
    note: str = ""
    balanced_accuracies: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self._check_shares("accuracies", bool(self.accuracies))
        self._check_shares(
            "balanced_accuracies", len(self.balanced_accuracies) in (0, len(self.accuracies))
        )
        for name, kind in (
            ("training_queries", int),
            ("queries_per_prediction", int),
            ("seconds", float),
        ):
            object.__setattr__(self, name, self._checked_cost(name, kind))

    def _check_shares(self, name: str, complete: bool) -> None:
        # NumPy scalars are taken in, so that json.dumps takes them out.
        shares = tuple(float(share) for share in getattr(self, name))
        if not complete or not all(0.0 <= share <= 1.0 for share in shares):
            raise ValueError(
                "Expected one accuracy in [0, 1] for each seed, at least one. Received: "
                f"{name}={shares} for method {self.method!r}. Divide percentages by 100."
            )
        object.__setattr__(self, name, shares)

    def _checked_cost(self, name: str, kind: type) -> Any:
        value = getattr(self, name)
        if value is None:
            return None
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(
                f"Expected `{name}` to be 0 or more. Received: {name}={value} for method "
                f"{self.method!r}. Pass None where the figure does not apply."
            )
        return kind(value)

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds."""
        return statistics.fmean(self.accuracies)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over the seeds, or None with a single seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def balanced(self) -> ResultRow | None:
        """The same row with balanced accuracies in place of the others, or None without."""
        if not self.balanced_accuracies:
            return None
        return replace(self, accuracies=self.balanced_accuracies, balanced_accuracies=())
