"""Asking a source through its ledger: only what no answer is there for is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

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
    again: bool = False,
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
        again: whether this repeats a request of this call, whose fate is unknown.

    Returns:
        float32 array `(n, num_labels)`.

    Raises:
        BudgetSpentError: if what has to be sent does not fit the budget; nothing was sent.
        ValueError: for a malformed answer, which is billed and not kept.
    """
    answers: dict[bytes, np.ndarray] = {}
    position = {key: row for row, key in reversed(list(enumerate(keys)))}
    while missing := [key for key in position if key not in answers]:
        claim = ledger.claim(missing, [payloads[position[key]] for key in missing], again=again)
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
    left = list(attempts)

    def close(how: Callable[..., None], *words: Any) -> None:
        while left:
            how(left[0], *words)
            del left[0]

    try:
        try:
            said = ask(images)
        except NotBilledError as error:
            close(ledger.release, type(error).__name__)
            raise
        try:
            scores = check(said, len(images))
        except Exception as error:
            close(ledger.settle, None, str(error))
            raise
        for row in scores:
            ledger.settle(left[0], row)
            del left[0]
    except BaseException as error:
        # Ctrl-C too: the request may have arrived. An open attempt of a living owner is waited for.
        close(ledger.abandon, type(error).__name__)
        raise
    return scores
