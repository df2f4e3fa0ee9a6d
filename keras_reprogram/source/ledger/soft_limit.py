"""SoftLimit: one warning before a budget is spent."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from fractions import Fraction

# Receives the queries that are spent and those that the budget allows.
OnWarning = Callable[[int, int], None]


class SoftLimit:
    """Warns once when a share of a budget is spent, then calls back."""

    def __init__(self, share: float, budget: int, on_warning: OnWarning | None = None) -> None:
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise ValueError(
                "`warn_at` must be a share of the budget above 0 and at most 1. Received: "
                f"warn_at={share!r}. Pass 0.8 for a warning when 80 % are spent."
            )
        self.budget = budget
        # In fractions, as the budget itself: 0.07 * 100 is 7.000000000000001 in floating point.
        self.queries = math.ceil(Fraction(str(share)) * budget)
        self._on_warning = on_warning
        self._lock = threading.Lock()
        self._warned = False

    def check(self, spent: Callable[[], int], of: str = "") -> None:
        """Warns if enough is spent; `spent` is called only until then, `of` names the ledger."""
        if self._warned or (now := spent()) < self.queries:
            return
        with self._lock:
            if self._warned:
                return
            self._warned = True
        warnings.warn(
            f"{now:,} of {self.budget:,} queries of the budget{of} are spent, "
            f"{max(0, self.budget - now):,} are left.",
            stacklevel=2,
        )
        if self._on_warning is not None:
            self._on_warning(now, self.budget)


def soft_limit(
    warn_at: float | None, budget: int | None, on_warning: OnWarning | None
) -> SoftLimit | None:
    """The soft limit that a ledger's arguments ask for, or `None`."""
    if warn_at is None:
        if on_warning is not None:
            raise ValueError(
                "`on_warning` is called at a share of the budget. Received: warn_at=None. Pass "
                "`warn_at=0.8`, or leave `on_warning` out."
            )
        return None
    if budget is None:
        raise ValueError(
            f"`warn_at` is a share of a budget. Received: warn_at={warn_at} without a budget. "
            "Pass `budget` or `money_budget`."
        )
    return SoftLimit(warn_at, budget, on_warning)
