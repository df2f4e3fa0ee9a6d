"""ServingError: the error that a request is refused with, over HTTP and gRPC."""

from __future__ import annotations

import socket

# The message to clients about internal errors.
FAULT = "The server failed. Its log says more."
# gRPC's name of a code -> the status that TF Serving's REST interface gives it.
HTTP_STATUSES = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
# In the order of their numbers, which are the same in gRPC and in TensorFlow.
_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
CODE_NUMBERS = {name: number for number, name in enumerate(_CODES)}


class ServingError(Exception):
    """The error that a request is refused with; maps to an HTTP status and a gRPC code.

    Args:
        text: for the client; holds no key and no address of another service.
        code: gRPC's name of the code.

    Attributes:
        text: as given.
        code: as given.
        http_status: what REST clients get.
    """

    def __init__(self, text: str, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(text)
        self.text, self.code = text, code

    @property
    def http_status(self) -> int:
        """The HTTP status of TF Serving's REST interface for such a code."""
        return HTTP_STATUSES[self.code]


def code_name(number: int) -> str:
    """The name that gRPC has for a code of TensorFlow."""
    return _CODES[number] if 0 <= number < len(_CODES) else "UNKNOWN"


def listening_socket(host: str, port: int, option: str) -> socket.socket:
    """A socket that listens."""
    check_port(port, option)
    try:
        return socket.create_server((host, port), family=_family(host), backlog=128)
    except (OSError, UnicodeError) as error:
        raise port_error(host, port, option, str(error)) from None


def check_port(port: int, option: str) -> None:
    """Refuses a number that is not a port."""
    if not 0 <= port <= 65535:
        raise ValueError(f"{option} must be from 0 to 65535. Received: {port}.")


def port_error(host: str, port: int, option: str, said: str) -> OSError:
    """The error for a port that the server cannot listen at."""
    return OSError(
        f"The server cannot listen at {address(host, port)}. Received: {said}. Stop what uses the "
        f"port, or choose another with {option}; 0 takes a free one."
    )


def address(host: str, port: int) -> str:
    """`host:port`, with brackets where the host has colons."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
