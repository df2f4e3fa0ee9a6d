"""Asking a source through its ledger: sends only queries that have no stored answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_reprogram.source.errors import NotBilledError
from keras_reprogram.source.ledger.query_ledger import Claim, QueryLedger

# Between two looks at queries that another process has in flight.
_POLL_SECONDS = 0.05

Ask = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Asking:
    """How a source is asked for what its ledger does not answer."""

    # A context in which so many images may be sent, with the function that sends them. Waiting for
    # one's turn belongs here: nothing is in the ledger yet.
    may_ask: Callable[[int], AbstractContextManager[Ask]]
    check: Callable[[Any, int], np.ndarray]
    even_answer: np.ndarray
    look_first: bool = False
    pause: Callable[[float], Any] = time.sleep

    @staticmethod
    def at_once(ask: Ask) -> Callable[[int], AbstractContextManager[Ask]]:
        """`may_ask` of a source that anybody may ask at any time."""

        @contextmanager
        def may_ask(count: int) -> Iterator[Ask]:
            del count
            yield ask

        return may_ask


def ask_through_ledger(
    ledger: QueryLedger,
    keys: Sequence[bytes],
    images: np.ndarray,
    asking: Asking,
    payloads: Sequence[bytes],
    again: bool = False,
) -> np.ndarray:
    """Answers `(n, num_labels)` to images, paid for now or before."""
    answers: dict[bytes, np.ndarray] = {}
    position = {key: row for row, key in reversed(list(enumerate(keys)))}
    while missing := [key for key in position if key not in answers]:
        claim = ledger.look(missing, again=again) if asking.look_first else Claim()
        if new := [key for key in missing if key not in claim]:
            rows = [position[key] for key in new]
            sent = [payloads[row] for row in rows]
            claim.take(_claimed(ledger, new, images[rows], asking, sent, again))
        answers |= claim.answers | dict.fromkeys(claim.skipped, asking.even_answer)
        if claim.elsewhere:
            asking.pause(_POLL_SECONDS)
    return np.stack([answers[key] for key in keys])


def _claimed(
    ledger: QueryLedger,
    keys: Sequence[bytes],
    images: np.ndarray,
    asking: Asking,
    payloads: Sequence[bytes],
    again: bool,
) -> Claim:
    """A claim of some queries; those that are ours are sent, and answered."""
    claim = Claim()
    with asking.may_ask(len(keys)) as ask:
        settled = _sent(ledger, claim, keys, images, asking, payloads, again, ask)
    try:
        # Whoever may ask next claims what follows in the same transaction.
        settled()
    except BaseException as error:
        ledger.abandon_all(claim.ours.values(), type(error).__name__)
        raise
    return claim


def _sent(
    ledger: QueryLedger,
    claim: Claim,
    keys: Sequence[bytes],
    images: np.ndarray,
    asking: Asking,
    payloads: Sequence[bytes],
    again: bool,
    ask: Ask,
) -> Callable[[], None]:
    """Fills a claim and answers what is ours; the function that waits until that is written."""
    sent = False
    try:
        ledger.claim_into(claim, keys, payloads, again=again)
        if not claim.ours:
            return lambda: None
        row = {key: number for number, key in enumerate(keys)}
        sent = True
        said = ask(images[[row[key] for key in claim.ours]])
        scores = _checked(ledger, claim.ours, said, asking.check)
        claim.answers |= dict(zip(claim.ours, scores, strict=True))
        return ledger.settling(dict(zip(claim.ours.values(), scores, strict=True)))
    except NotBilledError as error:
        ledger.release_all(claim.ours.values(), type(error).__name__)
        raise
    except BaseException as error:
        # Ctrl-C too: the request may have arrived. An open attempt of a living owner is waited
        # for, so that none is left behind.
        give_up = ledger.abandon_all if sent else ledger.release_all
        give_up(claim.ours.values(), type(error).__name__)
        raise


def _checked(
    ledger: QueryLedger,
    attempts: dict[bytes, int],
    said: Any,
    check: Callable[[Any, int], np.ndarray],
) -> np.ndarray:
    try:
        return check(said, len(attempts))
    except Exception as error:
        ledger.settle_all(dict.fromkeys(attempts.values()), str(error))
        raise
