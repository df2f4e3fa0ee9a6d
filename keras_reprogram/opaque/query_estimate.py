"""QueryEstimate: queries, price and hours of a training, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras_reprogram.source.ledger.query_ledger import money_for

_SECONDS_AN_HOUR = 3600.0


@dataclass(frozen=True)
class QueryEstimate:
    """Image queries of a training, by what they are for.

    Args:
        output_map: for the answers that the map is fitted on.
        views: for the pilot that chooses views, at most.
        estimates: for estimated steps, their clean passes included, at most.
        validation: for held-out images.
        test: for measuring in the end.
        per_prediction: for one prediction later.
        price_per_thousand: of 1,000 queries, or `None`.
        queries_per_second: that the source allows, or `None`.

    Example:
    ```python
    from keras_reprogram import QueryEstimate

    estimate = QueryEstimate(4000, validation=1000, price_per_thousand=1.5, queries_per_second=10)
    assert estimate.total == 5000 and estimate.money == 7.5
    print(estimate.to_markdown())
    ```
    """

    output_map: int = 0
    views: int = 0
    estimates: int = 0
    validation: int = 0
    test: int = 0
    per_prediction: int = 1
    price_per_thousand: float | None = None
    queries_per_second: float | None = None

    @property
    def total(self) -> int:
        """All queries together."""
        return self.output_map + self.views + self.estimates + self.validation + self.test

    @property
    def money(self) -> float | None:
        """Their price, or `None` without one."""
        return money_for(self.total, self.price_per_thousand)

    @property
    def hours(self) -> float | None:
        """Hours at the source's limit, or `None` without one."""
        if not self.queries_per_second:
            return None
        return self.total / self.queries_per_second / _SECONDS_AN_HOUR

    def rows(self) -> dict[str, int]:
        """Purpose -> number of queries, the total last."""
        return {
            "map": self.output_map,
            "views": self.views,
            "estimates": self.estimates,
            "validation": self.validation,
            "test": self.test,
            "total": self.total,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return self.rows() | {
            "money": self.money,
            "hours": self.hours,
            "queries_per_prediction": self.per_prediction,
        }

    def to_markdown(self) -> str:
        """A table: what for, queries, price."""
        lines = ["| for | queries | price |", "| --- | ---: | ---: |"]
        for name, queries in self.rows().items():
            money = money_for(queries, self.price_per_thousand)
            lines.append(f"| {name} | {queries:,} | {'-' if money is None else f'{money:.2f}'} |")
        if self.hours is not None:
            rate = f"{self.queries_per_second:g} queries a second"
            lines.append(f"\n{self.hours:.2f} hours at {rate}.")
        return "\n".join(lines)


RECIPES = ("fit_output_map", "fit", "fit_opaque")
