"""What a gRPC error means for a query."""

from __future__ import annotations

from typing import Any

from keras_reprogram.source.remote.failures import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.keys import hide_key

# The request was not taken, or there was nobody to take it.
_NEVER_CONNECTED = (
    "failed to connect to all addresses",
    "dns resolution failed",
    "errors resolving",
)
_UNTRUSTED = "certificate"
_LATER = (
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    "UNKNOWN",
    "ABORTED",
    "CANCELLED",
    "DATA_LOSS",
)
HINTS = {
    "UNAUTHENTICATED": "Check the key in the environment.",
    "PERMISSION_DENIED": "Check the key in the environment and what it may do.",
    "NOT_FOUND": "Check the model's name and version.",
    "INVALID_ARGUMENT": "Check the model's input, its signature, and the size of the images.",
    "FAILED_PRECONDITION": "Check the model's input and its signature.",
    "RESOURCE_EXHAUSTED": "The images are too large for the service: fewer a request, or JPEG.",
    "UNIMPLEMENTED": "Check the address: another kind of service answers there.",
}


def failure_of(error: Any, service: str, key_variable: str | None = None) -> Exception:
    """Ours for a `grpc.RpcError`.

    Args:
        error: what the stub raised.
        service: who failed, for the message.
        key_variable: the environment variable whose value is not shown.

    Returns:
        A `SourceBusyError`, `SourceUnavailableError` or `SourceRefusedError`; for an answer that is
        too large, a `RuntimeError`.
    """
    # Hidden before it is cut: half a key is a secret too.
    code, said = error.code().name, hide_key(error.details() or "", key_variable)[:200]
    lower = (error.details() or "").lower()
    # In gRPC's own words: a service may write any of them into an answer that it bills.
    unreached = code == "UNAVAILABLE" and lower.startswith(_NEVER_CONNECTED)
    if "received message larger than max" in lower and "client" in lower:
        # It has arrived and may have been billed; the next would be as large.
        return RuntimeError(f"{service} answered with too much. Received: {said}.")
    if code == "RESOURCE_EXHAUSTED" and "message larger than max" not in lower:
        return SourceBusyError(f"{service} is asked too fast ({said})", _wait_of(error))
    if unreached and _UNTRUSTED in lower:
        return SourceRefusedError(
            f"{service} cannot be trusted. Received: {said}. Check the address and the "
            "certificates of this machine."
        )
    if unreached:
        return SourceBusyError(f"{service} cannot be reached: {said}")
    if code in _LATER:
        return SourceUnavailableError(f"{service} failed ({code}: {said})", _wait_of(error))
    hint = HINTS.get(code, "See the service's documentation.")
    return SourceRefusedError(f"{service} refused. Received: {code}: {said}. {hint}")


def _wait_of(error: Any) -> float | None:
    """Seconds of a `retry-after` that came with the error."""
    sent = dict(error.trailing_metadata() or ())
    value = sent.get("retry-after", "")
    return float(value) if str(value).isdigit() else None
