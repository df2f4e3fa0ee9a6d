"""Asking a source through its ledger: only what no answer is there for is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from keras_reprogram.source.ledger_claim import NotBilledError
from keras_reprogram.source.query_ledger import QueryLedger

# Between two looks at queries that another process has in flight.
_POLL_SECONDS = 0.05


def ask_through_ledger(
    ledger: QueryLedger,
    keys: Sequence[bytes],
    images: np.ndarray,
    ask: Callable[[np.ndarray], np.ndarray],
    check: Callable[[np.ndarray, int], np.ndarray],
    even_answer: np.ndarray,
    payloads: Sequence[bytes],
) -> np.ndarray:
    """Answers to images, paid for now or before.

    Args:
        ledger: with a budget.
        keys: of the images, see `query_key`.
        images: `(n, H, W, C)`.
        ask: `(m, H, W, C)` -> whatever the source says.
        check: `(what it said, m)` -> scores `(m, num_labels)`, or `ValueError`.
        even_answer: `(num_labels,)`, for queries of unknown fate that are not to be asked again.
        payloads: the bytes that are sent for each image, which the ledger may be asked to keep.

    Returns:
        float32 array `(n, num_labels)`.

    Raises:
        BudgetSpentError: if what has to be sent does not fit the budget; nothing was sent.
        ValueError: for a malformed answer, which is billed and not kept.
    """
    answers: dict[bytes, np.ndarray] = {}
    position = {key: row for row, key in reversed(list(enumerate(keys)))}
    while missing := [key for key in position if key not in answers]:
        claim = ledger.claim(missing, [payloads[position[key]] for key in missing])
        answers |= claim.answers | dict.fromkeys(claim.skipped, even_answer)
        if claim.ours:
            rows = [position[key] for key in claim.ours]
            sent = _send(ledger, list(claim.ours.values()), images[rows], ask, check)
            answers |= dict(zip(claim.ours, sent, strict=True))
        if claim.elsewhere:
            time.sleep(_POLL_SECONDS)
    return np.stack([answers[key] for key in keys])


def _send(
    ledger: QueryLedger,
    attempts: Sequence[int],
    images: np.ndarray,
    ask: Callable[[np.ndarray], np.ndarray],
    check: Callable[[np.ndarray, int], np.ndarray],
) -> np.ndarray:
    try:
        said = ask(images)
    except NotBilledError as error:
        for attempt in attempts:
            ledger.release(attempt, type(error).__name__)
        raise
    except BaseException as error:
        # Ctrl-C too: the request may have arrived.
        for attempt in attempts:
            ledger.abandon(attempt, type(error).__name__)
        raise
    try:
        scores = check(said, len(images))
    except ValueError as error:
        for attempt in attempts:
            ledger.settle(attempt, None, str(error))
        raise
    for attempt, row in zip(attempts, scores, strict=True):
        ledger.settle(attempt, row)
    return scores
