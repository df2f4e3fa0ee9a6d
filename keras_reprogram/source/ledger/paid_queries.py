"""Asking a source through its ledger: sends only queries that have no stored answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_reprogram.source.errors import NotBilledError
from keras_reprogram.source.ledger.query_ledger import Claim, QueryLedger

# Between two looks at queries that another process has in flight.
_POLL_SECONDS = 0.05

# Sends queries, one per image; returns the source's answer as it is.
Ask = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Asking:
    """The source, its ledger and the checks that `ask_through_ledger` uses."""

    ledger: QueryLedger
    # A context in which so many images may be sent; it yields the function that sends them. Waiting
    # for a turn belongs here, because nothing is in the ledger yet.
    may_ask: Callable[[int], AbstractContextManager[Ask]]
    # A source's answer for so many images -> their scores, or a ValueError.
    check: Callable[[Any, int], np.ndarray]
    # `(num_labels,)`, for queries of unknown fate that are not to be asked again.
    even_answer: np.ndarray
    # Whether this repeats a request of this run, whose fate is unknown.
    again: bool = False
    # Whether the ledger is looked into before `may_ask`, which may take long.
    look_first: bool = False
    # Waits for what another process has in flight.
    pause: Callable[[float], Any] = time.sleep


def ask_through_ledger(
    asking: Asking, keys: Sequence[bytes], queries: Sequence[Any], payloads: Sequence[bytes]
) -> np.ndarray:
    """Scores `(n, num_labels)` of queries with these keys and bytes, paid for now or before.

    A malformed answer is billed and not kept. Queries beyond the budget are not sent.
    """
    answers: dict[bytes, np.ndarray] = {}
    position = {key: row for row, key in reversed(list(enumerate(keys)))}
    while missing := [key for key in position if key not in answers]:
        claim = Claim()
        if asking.look_first:
            claim = asking.ledger.look(missing, again=asking.again)
        if new := [key for key in missing if key not in claim]:
            sent = {key: queries[position[key]] for key in new}
            claim.take(_claimed(asking, sent, [payloads[position[key]] for key in new]))
        answers |= claim.answers | dict.fromkeys(claim.skipped, asking.even_answer)
        if claim.elsewhere:
            asking.pause(_POLL_SECONDS)
    return np.stack([answers[key] for key in keys])


def _claimed(asking: Asking, queries: dict[bytes, Any], payloads: list[bytes]) -> Claim:
    """Claims queries, then sends and answers those that this caller owns."""
    claim = Claim()
    with asking.may_ask(len(queries)) as ask:
        settled = _sent(asking, claim, queries, payloads, ask)
    try:
        # Outside of the turn: the next caller's claim can share this transaction.
        settled()
    except BaseException as error:
        asking.ledger.abandon_all(claim.ours.values(), type(error).__name__)
        raise
    return claim


def _sent(
    asking: Asking, claim: Claim, queries: dict[bytes, Any], payloads: list[bytes], ask: Ask
) -> Callable[[], None]:
    """Sends a claim's queries; returns the function that waits until the answers are written."""
    ledger, sent = asking.ledger, False
    try:
        ledger.claim_into(claim, list(queries), payloads, again=asking.again)
        if not claim.ours:
            return lambda: None
        sent = True
        scores = _checked(asking, claim, ask([queries[key] for key in claim.ours]))
        claim.answers |= dict(zip(claim.ours, scores, strict=True))
        return ledger.settling(dict(zip(claim.ours.values(), scores, strict=True)))
    except NotBilledError as error:
        ledger.release_all(claim.ours.values(), type(error).__name__)
        raise
    except BaseException as error:
        # This includes Ctrl-C: the request may have arrived. Others would wait for an open attempt
        # of a living owner, so none may be left behind.
        give_up = ledger.abandon_all if sent else ledger.release_all
        give_up(claim.ours.values(), type(error).__name__)
        raise


def _checked(asking: Asking, claim: Claim, said: Any) -> np.ndarray:
    try:
        return asking.check(said, len(claim.ours))
    except Exception as error:
        asking.ledger.settle_all(dict.fromkeys(claim.ours.values()), str(error))
        raise
