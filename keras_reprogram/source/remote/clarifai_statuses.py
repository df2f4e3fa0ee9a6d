"""What a status in an answer of Clarifai means for a query."""

from __future__ import annotations

from typing import Any

from keras_reprogram.source.remote.failures import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.keys import hide_key

# Clarifai's own advice; it sends no Retry-After.
_THROTTLED_WAIT = 15.0
# Names and beginnings of names of Clarifai's `StatusCode`; those in no list may pass.
BUSY_STATUSES = (
    "CONN_THROTTLED",
    "MODEL_BUSY_PLEASE_RETRY",
    "MODEL_DEPLOYING",
    "MODEL_LOADING",
    "MODEL_QUEUED_FOR_DEPLOYMENT",
    "REQUEST_DISABLED_FOR_MAINTENANCE",
    "RPC_REQUEST_QUEUE_FULL",
)
REFUSED_STATUSES = {
    "CONN_EXCEED": "The account's limit is used up: raise it there, or go on when it is renewed.",
    "CONN_DOES_NOT_EXIST": "Check `model_id`, `model_version_id`, `user_id` and `app_id`.",
    "MODEL_DOES_NOT_EXIST": "Check `model_id`, `model_version_id`, `user_id` and `app_id`.",
    "MODEL_INVALID": "Check that all labels are concepts of the model, spelled as there.",
    "CONCEPTS_INVALID": "Check that all labels are concepts of the model, spelled as there.",
    "PREDICT_INVALID": "Check that the model takes images and answers with concepts.",
    "MODEL_UNTRAINED": "Train the model first.",
    "MODEL_NOT_DEPLOYED": "Deploy the model first.",
    "MODEL_PERMISSION": "Check the key in the environment and what it may do.",
    "CONN_": "Check the key in the environment, what it may do, and the account.",
    "INPUT_": "Check the images: if they are too large, send fewer a request, or JPEG.",
    "MP_": "Check the images: if they are too large, send fewer a request, or JPEG.",
    "RPC_MAX_MESSAGE": "The images are too large: send fewer a request, or JPEG.",
}
_UNKNOWN_FATE = ("CONN_UNCATEGORIZED", "INPUT_UNCATEGORIZED", "INPUT_CONNECTION_FAILED")


def failure_of_status(
    status: dict[str, Any], service: str, key_variable: str | None = None
) -> Exception | None:
    """Ours for a status in an answer of Clarifai, or `None` for success.

    Args:
        status: as JSON: `code`, `description`, `details`.
        service: who failed, for the message.
        key_variable: the environment variable whose value is not shown.
    """
    from clarifai_grpc.grpc.api.status.status_code_pb2 import StatusCode

    code = status.get("code", 0)
    name = StatusCode.Name(code) if code in StatusCode.values() else "unknown"
    if name == "SUCCESS":
        return None
    words = f"{status.get('description', '')} {status.get('details', '')}".strip()
    # Hidden before it is cut: half a key is a secret too.
    said = f"{code} {name}: {hide_key(words, key_variable)[:200]}"
    if name in BUSY_STATUSES:
        wait = _THROTTLED_WAIT if name == "CONN_THROTTLED" else None
        return SourceBusyError(f"{service} is busy ({said})", wait)
    hints = [hint for start, hint in REFUSED_STATUSES.items() if name.startswith(start)]
    if not hints or name in _UNKNOWN_FATE:
        return SourceUnavailableError(f"{service} failed ({said})")
    return SourceRefusedError(f"{service} refused. Received: {said}. {hints[0]}")
