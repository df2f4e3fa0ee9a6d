"""What a source's errors mean to the clients of a gateway."""

from __future__ import annotations

import logging

from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.source import BudgetSpentError, UnknownFateError
from keras_reprogram.source.remote import (
    SourceDriftedError,
    SourceRefusedError,
    SourceUnavailableError,
)

_log = logging.getLogger("keras_reprogram.serving")

# In this order: a busy source is an unavailable one too.
_MEANINGS: tuple[tuple[type[Exception], str, str], ...] = (
    (BudgetSpentError, "RESOURCE_EXHAUSTED", "The budget of the source model is spent."),
    (SourceRefusedError, "FAILED_PRECONDITION", "The source model refuses the server's requests."),
    (UnknownFateError, "FAILED_PRECONDITION", "The ledger of the source model must be settled."),
    (SourceDriftedError, "FAILED_PRECONDITION", "The source model answers unlike before."),
    (SourceUnavailableError, "UNAVAILABLE", "The source model does not answer now."),
)
_OTHERS = ("INTERNAL", "The source model failed.")


def source_failure(error: Exception) -> ServingError:
    """What a client is told when the source fails.

    What the source said stays in the log: it may name the service, its address and worse.

    Args:
        error: of the source.

    Returns:
        An error whose text is ours alone.
    """
    _log.error("The source failed (%s): %s", type(error).__name__, error)
    for kind, code, text in _MEANINGS:
        if isinstance(error, kind):
            return ServingError(f"{text} The server's log says more.", code)
    code, text = _OTHERS
    return ServingError(f"{text} The server's log says more.", code)
