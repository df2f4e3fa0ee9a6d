"""What can go wrong between us and a service, sorted by what it means."""

from __future__ import annotations

from typing import Any

from keras_reprogram.source.ledger_claim import NotBilledError


class SourceRefusedError(NotBilledError):
    """The service refused for good: asking again would be refused again."""


class NeverSentError(NotBilledError):
    """Nobody wants the answer any more, and the request had not left."""


class SourceUnavailableError(RuntimeError):
    """The service may answer later; whether this request was billed is unknown.

    Args:
        message: for people.
        retry_after: seconds that the service asked to wait, or `None`.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> Any:
        # So that an executor of other processes can hand it back whole.
        return type(self), (*self.args, self.retry_after)


class SourceBusyError(SourceUnavailableError, NotBilledError):
    """The service did not take the request (429, no connection): not billed, try again later."""
