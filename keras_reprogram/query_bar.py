"""QueryBar: a progress bar of image queries with their rate, their price and the time left."""

from __future__ import annotations

import time
from typing import Any

import keras


class QueryBar:
    """Keras's progress bar, counting queries.

    Args:
        model: whose source is asked; its ledger knows the price.
        total: queries expected, or `None` if nobody knows.
        verbose: `"auto"` or 1 for a bar, 0 for silence.
    """

    def __init__(self, model: Any, total: int | None, verbose: Any = "auto") -> None:
        self.ledger = getattr(model.source, "ledger", None)
        self.total, self._last, self._started = total, 0, time.monotonic()
        self._bar = keras.utils.Progbar(
            total,
            verbose=1 if verbose == "auto" else int(verbose),
            unit_name="query",
            stateful_metrics=["queries_per_second", "spent", "money_spent"],
        )

    def update(self, queries: int) -> None:
        """Shows that so many were answered, from the ledger or by the source."""
        # The bar's own last step is the end of the run: `finish`.
        self._last = queries if self.total is None else min(queries, self.total - 1)
        self._bar.update(max(self._last, 0), self._values(queries))

    def finish(self) -> None:
        """Ends the line."""
        self._bar.update(self.total or self._last, finalize=True)

    def _values(self, queries: int) -> list[tuple[str, float]]:
        seconds = max(time.monotonic() - self._started, 1e-9)
        values = [("queries_per_second", queries / seconds)]
        if self.ledger is not None:
            # Of all runs on this ledger.
            values.append(("spent", self.ledger.spent))
            if self.ledger.price_per_thousand is not None:
                values.append(("money_spent", self.ledger.money_spent))
        return values
