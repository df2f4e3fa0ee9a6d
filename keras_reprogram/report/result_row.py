"""One line of a results table."""

import math
import statistics
from dataclasses import dataclass
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

    Raises:
        ValueError: If there is no accuracy, one is outside [0, 1], or a cost is negative.

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

    def __post_init__(self) -> None:
        accuracies = tuple(float(accuracy) for accuracy in self.accuracies)
        if not accuracies or not all(0.0 <= accuracy <= 1.0 for accuracy in accuracies):
            raise ValueError(
                "Expected one accuracy in [0, 1] for each seed, at least one. Received: "
                f"accuracies={accuracies} for method {self.method!r}. Divide percentages by 100."
            )
        # NumPy scalars are taken in, so that json.dumps takes them out.
        object.__setattr__(self, "accuracies", accuracies)
        for name, kind in (
            ("training_queries", int),
            ("queries_per_prediction", int),
            ("seconds", float),
        ):
            object.__setattr__(self, name, self._checked_cost(name, kind))

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
