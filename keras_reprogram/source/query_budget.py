"""What a query is called in a ledger, and how many of them a budget pays for."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction


def query_key(identity: str, options: str, payload: bytes) -> bytes:
    """The key of a query.

    Args:
        identity: which source, in words.
        options: what else the request says (number of labels, threshold, ...).
        payload: the exact bytes sent.

    Returns:
        32 bytes.
    """
    digest = hashlib.sha256()
    for part in (identity.encode(), options.encode(), payload):
        # With its length, so that no two triples run together.
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def query_limit(
    budget: int | None, money_budget: float | None, price_per_thousand: float | None
) -> int | None:
    """Most queries that both budgets allow, or `None` without any.

    Args:
        budget: in queries.
        money_budget: in money.
        price_per_thousand: of 1,000 queries.

    Raises:
        ValueError: for negative numbers, or money without a price.
    """
    for name, value in (
        ("budget", budget),
        ("money_budget", money_budget),
        ("price_per_thousand", price_per_thousand),
    ):
        if value is not None and not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"`{name}` must be a finite number >= 0. Received: {value}.")
    limits = [] if budget is None else [int(budget)]
    if money_budget is not None:
        if not price_per_thousand:
            raise ValueError(
                "`money_budget` needs a price. "
                f"Received: price_per_thousand={price_per_thousand}. Pass what 1,000 queries cost."
            )
        # In fractions: 0.3 / 0.1 is 2.9999... in floating point.
        exact = Fraction(str(money_budget)) * 1000 / Fraction(str(price_per_thousand))
        limits.append(math.floor(exact))
    return min(limits, default=None)


def money_for(queries: int, price_per_thousand: float | None) -> float | None:
    """What queries cost, or `None` without a price.

    Args:
        queries: how many.
        price_per_thousand: of 1,000 queries.
    """
    if price_per_thousand is None:
        return None
    return float(queries * Fraction(str(price_per_thousand)) / 1000)
