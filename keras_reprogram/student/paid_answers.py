"""Which images a source has answered, which a budget pays for, and their answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_reprogram.asking.exact_fit import checked_scores
from keras_reprogram.asking.images import rows_per_batch
from keras_reprogram.source.ledger.query_ledger import QueryLedger, money_for


@dataclass(frozen=True, eq=False)
class AnswerPlan:
    """What will be asked.

    Args:
        stored: positions of images whose answers are all stored.
        bought: positions of images that the budget pays for.
        queries: at most, for those.
    """

    stored: np.ndarray
    bought: np.ndarray
    queries: int

    @property
    def rows(self) -> np.ndarray:
        """Positions of all images that will have answers."""
        return np.sort(np.concatenate([self.stored, self.bought]))


@dataclass(frozen=True, eq=False)
class PaidAnswers:
    """Answers of a source, paid for now or before.

    Args:
        rows: positions `(m,)` of the images that were answered.
        scores: `(m, V, S)` as the model's map reads them.
        queries_used: queries that were sent for them now.
        price_per_thousand: of 1,000 queries, or `None`.
    """

    rows: np.ndarray
    scores: np.ndarray = field(repr=False)
    queries_used: int
    price_per_thousand: float | None = None

    @property
    def price(self) -> float | None:
        """Of the queries that were sent now."""
        return money_for(self.queries_used, self.price_per_thousand)


@contextmanager
def with_ledger(model: Any, ledger: QueryLedger | None) -> Iterator[QueryLedger | None]:
    """The ledger that a model's source answers from in the block."""
    source = model.source.asked_part()
    if ledger is None:
        yield source.ledger
        return
    if source.queries_used is None:
        raise ValueError(
            "`ledger` holds answers of a source that runs as Python code, such as a service. "
            f"Received: a ledger for a {type(source).__name__}, which computes its answers. Leave "
            "`ledger` out, and pass `query_budget=`, the number of images and views it may compute."
        )
    own, source.ledger = source.ledger, ledger
    try:
        yield ledger
    finally:
        source.ledger = own


def given_answers(model: Any, scores: Any, num_images: int) -> PaidAnswers:
    """Answers that the user holds: `(n, V, S)`, rows of NaN for images without one."""
    scores = np.asarray(scores, np.float32)
    if len(scores) != num_images:
        raise ValueError(
            f"`scores` must hold one answer an image, ({num_images}, V, S), with rows of NaN for "
            f"images without one. Received: shape {scores.shape}."
        )
    rows = np.flatnonzero(~np.isnan(scores.reshape(num_images, -1)).all(axis=1))
    if not len(rows):
        raise ValueError(
            "A student learns from answers. Received: `scores` of NaN alone. Pass what "
            "`model.collect_scores(images)` returned."
        )
    return PaidAnswers(rows, checked_scores(model, scores[rows]), 0)


def plan_answers(
    model: Any,
    images: np.ndarray,
    labelled: np.ndarray,
    ledger: QueryLedger | None,
    query_budget: int,
) -> AnswerPlan:
    """Stored answers cost nothing; images without a label are paid for first, in their order.

    Raises:
        ValueError: if there is no answer, and none can be paid for.
    """
    missing = _missing_queries(model, images, ledger)
    free = np.array([not keys for keys in missing])
    most = query_budget if ledger is None or ledger.left is None else min(query_budget, ledger.left)
    bought: list[int] = []
    paid: set[object] = set()
    for row in np.argsort(labelled, kind="stable"):
        if free[row]:
            continue
        new = set(missing[row]) - paid
        if len(paid) + len(new) <= most:
            paid |= new
            bought.append(row)
    plan = AnswerPlan(np.flatnonzero(free), np.array(bought, int), len(paid))
    if not len(plan.rows):
        _refuse(model, ledger, query_budget, most)
    return plan


def collect_answers(
    model: Any, images: np.ndarray, plan: AnswerPlan, ledger: QueryLedger | None, verbose: Any
) -> PaidAnswers:
    """Reads stored answers, and pays for those that the plan bought."""
    used = model.queries_used
    scores = model.asker.ask(images[plan.rows], batch_size=64, verbose=verbose)[0]
    price = None if ledger is None else ledger.price_per_thousand
    return PaidAnswers(plan.rows, scores, model.queries_used - used, price)


def _missing_queries(
    model: Any, images: np.ndarray, ledger: QueryLedger | None
) -> list[list[object]]:
    """Keys of each image's queries that have no stored answer."""
    views = model.queries_per_prediction
    if ledger is None:
        return [[(row, view) for view in range(views)] for row in range(len(images))]
    source = model.source.asked_part()
    size = rows_per_batch(views, source.source_shape)
    missing: list[list[object]] = []
    for start in range(0, len(images), size):
        shown = np.asarray(model.program(images[start : start + size]))
        keys = source.query_keys(shown.reshape(-1, *source.source_shape))
        unpaid = set(ledger.missing(keys))
        missing += [
            [key for key in keys[first : first + views] if key in unpaid]
            for first in range(0, len(keys), views)
        ]
    return missing


def _refuse(model: Any, ledger: QueryLedger | None, query_budget: int, most: int) -> None:
    views = model.queries_per_prediction
    where = "no ledger" if ledger is None else f"{ledger.path}, which holds no answer to them"
    left = "" if most == query_budget else f", of which the ledger's own budget leaves {most}"
    raise ValueError(
        "A student learns from answers to these images: stored in a ledger, given as `scores`, or "
        f"bought, {views} {'query' if views == 1 else 'queries'} an image. Received: {where}, and "
        f"query_budget={query_budget}{left}. Pass the ledger that the model was fitted with, and "
        f"the images of that fit, or `query_budget={views}` or more."
    )
