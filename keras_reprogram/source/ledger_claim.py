"""What a ledger says to a wish to ask: a claim, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


class BudgetSpentError(RuntimeError):
    """The next queries do not fit the budget; none of them was sent.

    Example:
    ```python
    from keras_reprogram import BudgetSpentError, QueryLedger
    from keras_reprogram.source import query_key

    with QueryLedger("small.ledger", budget=0) as ledger:
        try:
            ledger.claim([query_key("a model, version 1", "", b"an image")])
        except BudgetSpentError as error:
            print(error)
    ```
    """


class NotBilledError(RuntimeError):
    """A request that surely was not billed: refused, or never connected."""


class UnknownFateError(RuntimeError):
    """Queries were sent by a run that ended before their answers came.

    Example:
    ```python
    from keras_reprogram import QueryLedger, UnknownFateError
    from keras_reprogram.source import query_key

    key = query_key("a model, version 1", "", b"an image")
    with QueryLedger("crashed.ledger") as ledger:
        ledger.claim([key])     # and the run ends here
    with QueryLedger("crashed.ledger", on_unknown="raise") as ledger:
        try:
            ledger.claim([key])
        except UnknownFateError as error:
            print(error)
    ```
    """


@dataclass
class Claim:
    """What `QueryLedger.claim` found for some keys.

    Args:
        answers: key -> scores `(num_labels,)`, paid for before.
        ours: key -> number of the attempt that this process may now send.
        elsewhere: keys that another running process has sent and not settled yet.
        skipped: keys of unknown fate, under `on_unknown="skip"`.
    """

    answers: dict[bytes, np.ndarray] = field(default_factory=dict)
    ours: dict[bytes, int] = field(default_factory=dict)
    elsewhere: set[bytes] = field(default_factory=set)
    skipped: set[bytes] = field(default_factory=set)

    def __contains__(self, key: bytes) -> bool:
        """Whether a key need not be sent, or is ours to send."""
        found = (self.answers, self.ours, self.elsewhere, self.skipped)
        return any(key in part for part in found)

    def take(self, other: Claim) -> None:
        """Adds everything of another claim to this one."""
        self.answers |= other.answers
        self.ours |= other.ours
        self.elsewhere |= other.elsewhere
        self.skipped |= other.skipped
