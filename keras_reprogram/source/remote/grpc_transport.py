"""gRPC transport: channels without automatic retries, and errors mapped to query outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.errors import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.client import hide_key, untrusted

# The service did not take the request, or could not be reached.
_NEVER_CONNECTED = (
    "failed to connect to all addresses",
    "dns resolution failed",
    "errors resolving",
)
_UNTRUSTED = "certificate"
# By us, or by the service that had it ready.
_ANSWER_TOO_LARGE = (
    ("received message larger than max", "client"),
    ("sent message larger than max", "server"),
)
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
    "RESOURCE_EXHAUSTED": "The images are too large for the service: fewer per request, or JPEG.",
    "UNIMPLEMENTED": "Check the address: another kind of service answers there.",
}


def failure_of(
    error: Any, service: str, key_variable: str | None = None, endpoint: str = ""
) -> Exception:
    """Our error for a `grpc.RpcError` of `service` at `endpoint`; the key is not shown."""
    code, said = error.code().name, hide_key(error.details() or "", key_variable, 200)
    lower = (error.details() or "").lower()
    unreached = code == "UNAVAILABLE" and _is_unreached(lower, endpoint)
    if any(all(word in lower for word in words) for words in _ANSWER_TOO_LARGE):
        # It was worked on and may have been billed; the next would be as large.
        return RuntimeError(f"{service} answered with too much. Received: {said}.")
    if code == "RESOURCE_EXHAUSTED" and "message larger than max" not in lower:
        return SourceBusyError(f"{service} is asked too fast ({said})", _wait_of(error))
    if unreached and _UNTRUSTED in lower:
        return untrusted(service, said)
    if unreached:
        return SourceBusyError(f"{service} cannot be reached: {said}")
    if code in _LATER:
        return SourceUnavailableError(f"{service} failed ({code}: {said})", _wait_of(error))
    hint = HINTS.get(code, "See the service's documentation.")
    return SourceRefusedError(f"{service} refused. Received: {code}: {said}. {hint}")


def _is_unreached(said: str, endpoint: str) -> bool:
    """Whether gRPC's message says that the address could not be connected to.

    A service may pass on the same words, of an address behind it, after it worked on a request.
    """
    host, colon, port = endpoint.lower().rpartition(":")
    if not colon:
        host, port = port, "443"
    # Of an address the last attempts are told, of a name that it is unknown.
    named = f":{port}:" in said if said.startswith(_NEVER_CONNECTED[0]) else host in said
    return said.startswith(_NEVER_CONNECTED) and named


def _wait_of(error: Any) -> float | None:
    """Seconds of a `retry-after` that came with the error."""
    sent = dict(error.trailing_metadata() or ())
    value = sent.get("retry-after", "")
    return float(value) if str(value).isdigit() else None


# gRPC's own limit is 4 MB: 1,000 images of 1,000 scores.
LARGEST_ANSWER = 64 * 2**20


def channel_to(
    address: str,
    extra: str,
    *,
    secure: bool | None = None,
    certificates: str | Path | None = None,
    largest_answer: int = LARGEST_ANSWER,
) -> Any:
    """A channel to `host` or `host:port`; with TLS unless it ends on this machine or `secure` says.

    gRPC's own repetitions are off: they would be billed, unseen by the ledger.
    """
    with needs_extra("grpcio", extra):
        import grpc
    options = [
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", largest_answer),
        ("grpc.max_send_message_length", -1),
    ]
    if secure is False or (secure is None and is_local(address)):
        return grpc.insecure_channel(address, options=options)
    roots = Path(certificates).read_bytes() if certificates else None
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options=options)


def is_local(address: str) -> bool:
    """Whether `host:port` is on this machine."""
    return address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")
