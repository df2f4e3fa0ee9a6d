"""What statuses of Google Cloud Vision mean for a query: of a call, and of single images."""

from __future__ import annotations

from typing import Any

from keras_reprogram.source.ledger_claim import NotBilledError
from keras_reprogram.source.remote.failures import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.grpc_failures import HINTS, failure_of
from keras_reprogram.source.remote.keys import hide_key

CREDENTIALS_HINT = (
    "Sign in with `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or "
    "pass `key_variable`."
)


def failure_of_call(error: Any, endpoint: str, key_variable: str | None) -> Exception:
    """Ours for what Google's client raised.

    Args:
        error: a `GoogleAPICallError`.
        endpoint: the address, for the message.
        key_variable: the environment variable whose value is not shown, or `None`.
    """
    # Hidden before it is cut: half a key is a secret too.
    who, said = f"Google Vision at {endpoint}", hide_key(str(error.message), key_variable)
    if "metadata from plugin" in said:
        # No token, so nothing was sent.
        return SourceBusyError(f"{who} got no credentials: {said[:200]}. {CREDENTIALS_HINT}")
    if "api key" in said.lower():
        hint = f"Check the key in the environment: {key_variable}."
        return SourceRefusedError(f"{who} refused. Received: {said[:200]} {hint}")
    return failure_of(error.response, who, key_variable, endpoint)


def check_responses(responses: list[dict[str, Any]]) -> None:
    """Raises what all images have in common; `read` names a single one that fails.

    Args:
        responses: one an image, as JSON.
    """
    errors = [response["error"] for response in responses if "error" in response]
    failed = [_failure_of_image(error) for error in errors]
    if failed and len(failed) == len(responses):
        raise next((one for one in failed if not isinstance(one, NotBilledError)), failed[0])
    if any(isinstance(one, SourceUnavailableError) for one in failed):
        # Never busy or refused: the others are billed.
        raise SourceUnavailableError(
            f"{len(failed)} of {len(responses)} images failed: {failed[0]}"
        )


def _failure_of_image(error: dict[str, Any]) -> Exception:
    """Ours for the status of one image, a `google.rpc.Status` as JSON."""
    from google.rpc.code_pb2 import Code

    number = error.get("code", 0)
    code = Code.Name(number) if number in Code.values() else "UNKNOWN"
    said = f"{code}: {str(error.get('message', ''))[:200]}"
    if code == "RESOURCE_EXHAUSTED":
        return SourceBusyError(f"Google Vision is asked too fast ({said})")
    if code in HINTS:
        return SourceRefusedError(
            f"Google Vision refused an image. Received: {said} {HINTS[code]} An image may have "
            "20 MB, a request 41 MB."
        )
    return SourceUnavailableError(f"Google Vision failed ({said})")
