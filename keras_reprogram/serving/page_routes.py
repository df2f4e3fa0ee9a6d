"""Routes of the demo page: its files, the model's facts, and predictions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.page_steps import decode_file, read_page_facts, show_steps
from keras_reprogram.serving.server_state import RequestGate

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    Endpoint = Callable[[Request], Awaitable[Response]]

_FOLDER = Path(__file__).parent / "page"
# Operating systems list different types for scripts.
_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def page_routes(versions: Any, model_name: str) -> list[Route]:
    """Routes of a page on which a person draws an image and sees what becomes of it."""
    # A loopback connection must name the loopback host, and only the page itself may ask.
    with needs_extra("starlette", "server"):
        from starlette.routing import Route

    page = _Page(versions, model_name)
    return [
        Route("/", _guarded(page.index)),
        Route("/ui/facts", _guarded(page.facts)),
        Route("/ui/steps", _guarded(page.steps), methods=["POST"]),
        Route("/ui/{name}", _guarded(page.file)),
    ]


class _Page:
    def __init__(self, versions: Any, model_name: str) -> None:
        self._versions = versions
        self._model_name = model_name
        self._files = {
            path.name: path.read_bytes()
            for path in _FOLDER.iterdir()
            if path.suffix in _MEDIA_TYPES
        }
        # One is asked, the others wait: a photograph takes some hundred megabytes to decode.
        self._gate = RequestGate(in_flight=1, queued=3)

    async def index(self, request: Request) -> Response:
        return self._file("index.html")

    async def file(self, request: Request) -> Response:
        return self._file(request.path_params["name"])

    async def facts(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        servable = self._versions.latest()
        shown = {
            "model_name": self._model_name,
            "version": servable.version,
            "costs_queries": servable.costs_queries,
        }
        try:
            known = read_page_facts(servable)._asdict()
            # Only the server reads files.
            known.pop("image_reading")
            shown |= known
        except ServingError as error:
            shown["problem"] = error.text
        return JSONResponse(shown)

    async def steps(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse

        check_origin(request)
        file = await limited_body(request, MOST_BYTES)
        if file is None:
            raise ServingError(
                f"The file must have at most {MOST_BYTES >> 20} MB. Choose a smaller one."
            )
        return JSONResponse(await run_in_threadpool(self._answer, file))

    def _answer(self, file: bytes) -> dict[str, Any]:
        with self._gate.turn():
            servable = self._versions.latest()
            facts = read_page_facts(servable)
            target = decode_file(file, facts.target_shape, facts.target_range, facts.image_reading)
            return {"version": servable.version, **show_steps(servable, facts, target)}

    def _file(self, name: str) -> Response:
        from starlette.responses import Response

        if name not in self._files:
            raise ServingError(f"The page has no file {name!r}.", "NOT_FOUND")
        return Response(self._files[name], media_type=_MEDIA_TYPES[Path(name).suffix])


def _guarded(endpoint: Endpoint) -> Endpoint:
    from starlette.responses import JSONResponse

    async def answer(request: Request) -> Response:
        try:
            check_host(request)
            response = await endpoint(request)
        except ServingError as error:
            response = JSONResponse({"error": error.text}, error.http_status)
        response.headers.update(PAGE_HEADERS)
        return response

    return answer


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
    """Refuses host names that a foreign page may have pointed at this machine (DNS rebinding)."""
    # Only requests over the loopback interface are checked: a server for a network has names that
    # it does not know.
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
    """Refuses requests of another page's script: a question may cost money."""
    # Browsers always send the origin of a POST. Other clients may omit it.
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


async def limited_body(request: Request, most_bytes: int) -> bytes | None:
    """A request's body, or `None` if it is longer."""
    body, size = bytearray(), 0
    # Read to its end: a client that is cut off while sending sees no answer.
    async for part in request.stream():
        size += len(part)
        if size <= most_bytes:
            body += part
        else:
            body.clear()
    return bytes(body) if size <= most_bytes else None


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
