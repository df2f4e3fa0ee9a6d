"""AmazonClient: asks one of Amazon's services through boto3, whose own retries are off."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.errors import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.client import ServiceClient, untrusted

_THROTTLED = (
    "LimitExceededException", "ProvisionedThroughputExceededException", "RequestLimitExceeded",
    "Throttling", "ThrottlingException", "TooManyRequestsException", "429",
)  # fmt: skip
_CREDENTIALS = "Check the credentials that the SDK finds: aws sts get-caller-identity."
_HINTS = {
    "ExpiredTokenException": _CREDENTIALS,
    "InvalidSignatureException": f"{_CREDENTIALS} Check the region and this machine's clock.",
    "MissingAuthenticationTokenException": _CREDENTIALS,
    "NoCredentialsError": "Give the SDK credentials: aws configure, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY in the environment.",
    "NoRegionError": "Pass `region`, or set AWS_DEFAULT_REGION.",
    "UnrecognizedClientException": _CREDENTIALS,
}


@dataclass(frozen=True, kw_only=True)
class AmazonClient(ServiceClient):
    """Base class of clients of Amazon's services; a subclass implements `call`.

    Credentials are found by the SDK's own chain (environment, profile, role) and kept by it.

    Args:
        region: such as `"eu-west-1"`; `None` for the SDK's default.
        connections: that are kept.
        options: as of `ServiceClient`.

    Attributes:
        service: its name in the SDK.
        title: its name for people.
        hints: code of an error -> what to do about it.
        throttled: codes of errors that are free, and may pass.
    """

    region: str | None = None
    connections: int = 8

    service: ClassVar[str]
    title: ClassVar[str]
    hints: ClassVar[dict[str, str]] = _HINTS
    throttled: ClassVar[tuple[str, ...]] = _THROTTLED

    def call(self, amazons: Any, payloads: list[bytes]) -> Any:
        """Asks the SDK's client about encoded images and returns the answer's bytes."""
        raise NotImplementedError(f"{type(self).__name__} must implement `call`.")

    def send(self, payloads: list[bytes], endpoint: str) -> bytes:
        with needs_extra("boto3", "aws"):
            from botocore.exceptions import BotoCoreError, ClientError
            from botocore.parsers import ResponseParserError
        place = endpoint or f"{self.title} ({self.region or 'default region'})"
        try:
            content: bytes = self.call(self.amazons(endpoint), payloads)
            return content
        except ClientError as error:
            # Not `from error`: Amazon's text about a wrong signature repeats the session's token.
            raise self.refusal_of(error.response, place) from None
        except BotoCoreError as error:
            raise self.failure_of(error, place) from error
        except (ResponseParserError, AttributeError, TypeError, ValueError) as error:
            # An answer that the SDK cannot read was billed all the same; `read` cannot either.
            return f"unreadable ({type(error).__name__}: {error})".encode()

    def amazons(self, endpoint: str) -> Any:
        """The SDK's client, which the threads of this process share."""
        return self.kept(endpoint, lambda stack: stack.enter_context(closing(self.made(endpoint))))

    def made(self, endpoint: str) -> Any:
        """A new client of the SDK, whose own retries are off."""
        from boto3.session import Session
        from botocore.config import Config

        config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=self.timeout,
            read_timeout=self.timeout,
            max_pool_connections=self.connections,
        )
        # A session of its own: the default one is not for several threads.
        return Session(region_name=self.region).client(
            self.service, endpoint_url=endpoint or None, config=config
        )

    def refusal_of(self, answer: dict[str, Any], place: str) -> Exception:
        """Our error for the answer of a `ClientError`; by name, for a 400 may be a 429."""
        code = answer["Error"]["Code"]
        # The first line: of a wrong signature the next ones show how it is made.
        said = f"{code}: {answer['Error']['Message']}".split("\n")[0][:200]
        about = answer["ResponseMetadata"]
        asked = about["HTTPHeaders"].get("retry-after", "").strip()
        wait = float(asked) if asked.isdigit() else None
        if code in self.throttled:
            return SourceBusyError(f"{place} is asked too fast ({said})", wait)
        if about["HTTPStatusCode"] >= 500:
            return SourceUnavailableError(f"{place} failed ({said})", wait)
        hint = self.hints.get(code, f"See {self.title}'s documentation.")
        return SourceRefusedError(f"{place} refused. Received: {said}. {hint}")

    def failure_of(self, error: Exception, place: str) -> Exception:
        """Our error for a `BotoCoreError`, which the SDK raises without an answer."""
        from botocore import exceptions

        if isinstance(error, exceptions.SSLError) and "certificate" in str(error).lower():
            return untrusted(place, error)
        if _host_is_unknown(error):
            return SourceRefusedError(
                f"{place} has no address. Received: {error}. Check `region`: {self.title} is not "
                f"available in every region."
            )
        if isinstance(error, exceptions.SSLError | exceptions.HTTPClientError):
            return SourceUnavailableError(f"{place} broke off: {error}")
        if isinstance(error, exceptions.ConnectionError):
            return SourceBusyError(f"{place} cannot be reached: {error}")
        name = type(error).__name__
        hint = self.hints.get(name, "Check the arguments and the configuration of the SDK.")
        return SourceRefusedError(f"{place} cannot be asked. Received: {name}: {error}. {hint}")


def _host_is_unknown(error: Exception) -> bool:
    """Whether DNS says that the name does not exist, in contrast to a temporary failure."""
    cause: BaseException | None = getattr(error, "kwargs", {}).get("error")
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return cause.errno == socket.EAI_NONAME
        cause = cause.__cause__ or cause.__context__
    return False
