"""What keeps other web pages from asking the model, and this page from loading anything else."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from keras_reprogram.serving.serving_error import ServingError

if TYPE_CHECKING:
    from starlette.requests import Request

MOST_BYTES = 16 * 2**20
CONTENT_TYPE = "application/octet-stream"

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def check_host(request: Request) -> None:
    """Refuses names that a foreign page may have pointed at this machine (DNS rebinding).

    Args:
        request: any; only one that came over the loopback interface is looked at, since a server
            for a network has names that it does not know.

    Raises:
        ServingError: where the name is not this machine's own.
    """
    server = request.scope.get("server")
    if server is None or not _is_loopback(server[0]):
        return
    host = _host_name(request.headers.get("host", ""))
    if not _is_loopback(host):
        raise ServingError(
            "On the loopback interface the page is served as localhost, 127.0.0.1 or [::1] only. "
            f"Received: Host {host!r}. Let a proxy set one of these.",
            "PERMISSION_DENIED",
        )


def check_origin(request: Request) -> None:
    """Refuses what another page's script sends: a question may cost money.

    Browsers always say where a POST comes from. Other clients may say nothing.

    Args:
        request: a POST.

    Raises:
        ServingError: for another origin, or a content type that a form could send.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or site not in ("same-origin", "none"):
        raise ServingError(
            f"Only this server's own page may ask. Received: Origin {origin!r}.",
            "PERMISSION_DENIED",
        )
    content_type = request.headers.get("content-type", "")
    if content_type != CONTENT_TYPE:
        raise ServingError(
            f"The file's bytes must be sent as {CONTENT_TYPE}. Received: {content_type!r}."
        )


async def limited_body(request: Request) -> bytes:
    """Reads a request's body, and keeps it unless it is too long.

    Args:
        request: a POST.

    Returns:
        At most `MOST_BYTES` bytes.

    Raises:
        ServingError: for more.
    """
    body, size = bytearray(), 0
    # To its end: who is cut off while sending sees no answer.
    async for part in request.stream():
        size += len(part)
        body = body + part if size <= MOST_BYTES else bytearray()
    if size > MOST_BYTES:
        raise ServingError(
            f"The file must have at most {MOST_BYTES >> 20} MB. Choose a smaller one."
        )
    return bytes(body)


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
