"""What a gRPC error means for a query."""

from __future__ import annotations

from typing import Any

from keras_reprogram.source.remote.failures import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)

# The request was not taken, or there was nobody to take it.
_NEVER_CONNECTED = ("failed to connect", "connection refused", "name resolution", "dns")
_UNTRUSTED = ("certificate", "ssl", "handshake")
_LATER = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "ABORTED", "CANCELLED")
HINTS = {
    "UNAUTHENTICATED": "Check the key in the environment.",
    "PERMISSION_DENIED": "Check the key in the environment and what it may do.",
    "NOT_FOUND": "Check the model's name and version.",
    "INVALID_ARGUMENT": "Check the model's input, its signature, and the size of the images.",
    "FAILED_PRECONDITION": "Check the model's input and its signature.",
    "RESOURCE_EXHAUSTED": "The images are too large for the service: fewer a request, or JPEG.",
    "UNIMPLEMENTED": "Check the address: another kind of service answers there.",
}


def failure_of(error: Any, service: str) -> Exception:
    """Ours for a `grpc.RpcError`.

    Args:
        error: what the stub raised.
        service: who failed, for the message.

    Returns:
        A `SourceBusyError`, `SourceUnavailableError` or `SourceRefusedError`; for an answer that is
        too large, a `RuntimeError`.
    """
    code, said = error.code().name, (error.details() or "")[:200]
    lower = said.lower()
    if "received message larger than max" in lower and "client" in lower:
        # It has arrived and may have been billed; the next would be as large.
        return RuntimeError(f"{service} answered with too much. Received: {said}.")
    if code == "RESOURCE_EXHAUSTED" and "message larger than max" not in lower:
        return SourceBusyError(f"{service} is asked too fast ({said})", _wait_of(error))
    if code == "UNAVAILABLE" and any(word in lower for word in _UNTRUSTED):
        return SourceRefusedError(
            f"{service} cannot be trusted. Received: {said}. Check the address and the "
            "certificates of this machine."
        )
    if code == "UNAVAILABLE" and any(word in lower for word in _NEVER_CONNECTED):
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
