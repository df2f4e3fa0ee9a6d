"""What Amazon's refusals, and failures of its SDK, mean for a query."""

from __future__ import annotations

import socket
from typing import Any

from keras_reprogram.source.remote.failures import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)

_THROTTLED = (
    "LimitExceededException", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
    "Throttling", "ThrottlingException", "TooManyRequestsException", "429",
)  # fmt: skip
_CREDENTIALS = "Check the credentials that the SDK finds: aws sts get-caller-identity."
_HINTS = {
    "AccessDeniedException": "Allow the identity the action rekognition:Detect...",
    "ExpiredTokenException": _CREDENTIALS,
    "ImageTooLargeException": "An image may have 5 MB: a smaller `source_shape`, or JPEG.",
    "InvalidImageFormatException": "Images must be PNG or JPEG.",
    "InvalidParameterException": "Check `min_confidence`, `max_labels` and the model's ARN.",
    "InvalidSignatureException": f"{_CREDENTIALS} Check the region and this machine's clock.",
    "MissingAuthenticationTokenException": _CREDENTIALS,
    "NoCredentialsError": "Give the SDK credentials: aws configure, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY in the environment.",
    "NoRegionError": "Pass `region`, or set AWS_DEFAULT_REGION.",
    "ResourceNotFoundException": "Check `project_version_arn`, and that `region` is its region.",
    "ResourceNotReadyException": "Start the model: aws rekognition start-project-version.",
    "UnrecognizedClientException": _CREDENTIALS,
}


def refusal_of(answer: dict[str, Any], place: str) -> Exception:
    """Ours for what Amazon answered instead of scores; by name, for a 400 may be a 429.

    Args:
        answer: of a `ClientError`.
        place: who refused, for the message.
    """
    code = answer["Error"]["Code"]
    # The first line: of a wrong signature the next ones show how it is made.
    said = f"{code}: {answer['Error']['Message']}".split("\n")[0][:200]
    about = answer["ResponseMetadata"]
    asked = about["HTTPHeaders"].get("retry-after", "").strip()
    wait = float(asked) if asked.isdigit() else None
    if code in _THROTTLED:
        return SourceBusyError(f"{place} is asked too fast ({said})", wait)
    if about["HTTPStatusCode"] >= 500:
        return SourceUnavailableError(f"{place} failed ({said})", wait)
    hint = _HINTS.get(code, "See Rekognition's documentation.")
    return SourceRefusedError(f"{place} refused. Received: {said}. {hint}")


def failure_of(error: Exception, place: str) -> Exception:
    """Ours for what the SDK raised without an answer.

    Args:
        error: a `BotoCoreError`.
        place: who was asked, for the message.
    """
    from botocore import exceptions

    if isinstance(error, exceptions.SSLError) and "certificate" in str(error).lower():
        return SourceRefusedError(
            f"{place} cannot be trusted. Received: {error}. Check the address and the "
            "certificates of this machine."
        )
    if _host_is_unknown(error):
        return SourceRefusedError(
            f"{place} is at no address. Received: {error}. Check `region`: Rekognition is not in "
            "every one."
        )
    if isinstance(error, exceptions.SSLError | exceptions.HTTPClientError):
        return SourceUnavailableError(f"{place} broke off: {error}")
    if isinstance(error, exceptions.ConnectionError):
        return SourceBusyError(f"{place} cannot be reached: {error}")
    name = type(error).__name__
    hint = _HINTS.get(name, "Check the arguments and the configuration of the SDK.")
    return SourceRefusedError(f"{place} cannot be asked. Received: {name}: {error}. {hint}")


def _host_is_unknown(error: Exception) -> bool:
    """Whether a name server says that there is no such name; no answer of it may pass."""
    cause: BaseException | None = getattr(error, "kwargs", {}).get("error")
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return cause.errno == socket.EAI_NONAME
        cause = cause.__cause__ or cause.__context__
    return False
