"""The web application: TF Serving's REST interface, health, figures, and a page if wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from keras_reprogram.serving.json_text import error_text
from keras_reprogram.serving.packed_bodies import unpacked
from keras_reprogram.serving.page_guard import check_host
from keras_reprogram.serving.rest_answers import RestAnswers
from keras_reprogram.serving.server_packages import needs_server_package
from keras_reprogram.serving.server_state import ServerState
from keras_reprogram.serving.serving_error import FAULT, ServingError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def rest_app(state: ServerState, *, page: bool = False) -> Starlette:
    """Makes the application.

    Args:
        state: of the server.
        page: whether the demo page is at `/`.

    Raises:
        ImportError: if starlette is not installed.
    """
    with needs_server_package("starlette"):
        from starlette.applications import Starlette
        from starlette.routing import Route
    endpoints = _Endpoints(state)
    routes: list[BaseRoute] = [
        Route("/health", endpoints.health),
        Route("/metrics", endpoints.metrics),
        Route("/monitoring/prometheus/metrics", endpoints.metrics),
        *(_page_routes(state) if page else []),
        Route("/{path:path}", endpoints.serve, methods=METHODS),
    ]
    return Starlette(routes=routes, exception_handlers={ServingError: _refused, Exception: _failed})


def _page_routes(state: ServerState) -> list[Any]:
    from keras_reprogram.serving.page_routes import page_routes

    return page_routes(state.versions, state.versions.model_name)


class _Endpoints:
    def __init__(self, state: ServerState) -> None:
        self._state, self._answers = state, RestAnswers(state)
        limits = state.limits
        # All that the gate admits has a thread to wait in, and one more to be refused in.
        self._threads = limits.in_flight + limits.queued + 1
        self._limiter: Any = None
        self._posts = 0

    async def serve(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode("latin-1").split("?", 1)[0]
        if not path.lower().startswith("/v1/"):
            raise ServingError(f"There is nothing at {path[:200]}.", "NOT_FOUND")
        if request.method == "GET":
            return _json(self._answers.get(path))
        if request.method != "POST":
            raise ServingError(f"Malformed request: {request.method} {path}")
        _check_origin(request)
        # Before the body is read: bodies that wait take memory.
        if self._posts >= self._threads:
            raise ServingError("The server is busy. Try again later.", "RESOURCE_EXHAUSTED")
        self._posts += 1
        try:
            return await self._post(request, path)
        finally:
            self._posts -= 1

    async def _post(self, request: Request, path: str) -> Response:
        most = self._state.limits.request_bytes
        body = await self._body(request)
        encoding = request.headers.get("content-encoding", "")
        if body is not None and encoding:
            body = await self._in_thread(unpacked, body, encoding, most)
        if body is None:
            text = f"A request must have at most {most:,} bytes. Send fewer images at once."
            return _json(error_text(text), 413)
        return _json(await self._in_thread(self._answers.post, path, body))

    async def health(self, request: Request) -> Response:
        ready = bool(self._state.versions.available) and not self._state.draining.is_set()
        state = b"ready" if ready else b"not ready"
        return _json(b'{"status": "%s"}' % state, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        from starlette.responses import Response

        # Gauges of a ledger read its file.
        content, media_type = await self._in_thread(self._state.metrics.text)
        return Response(content, media_type=media_type)

    async def _body(self, request: Request) -> bytes | None:
        """All that is sent, or `None` if it is too long; then it is read and forgotten."""
        body, size = bytearray(), 0
        async for part in request.stream():
            size += len(part)
            if size <= self._state.limits.request_bytes:
                body += part
            else:
                body.clear()
        return bytes(body) if size <= self._state.limits.request_bytes else None

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        import anyio

        self._limiter = self._limiter or anyio.CapacityLimiter(self._threads)
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._limiter)


def _check_origin(request: Request) -> None:
    """Refuses other servers' pages: their scripts could spend what a gateway's source costs."""
    origin = request.headers.get("origin")
    if origin is None:
        return
    check_host(request)
    if urlsplit(origin).netloc != request.headers.get("host"):
        raise ServingError(
            f"Pages of other servers may not ask. Received: Origin {origin[:200]!r}.",
            "PERMISSION_DENIED",
        )


async def _refused(request: Request, error: Exception) -> Response:
    return _json(error_text(str(error)), getattr(error, "http_status", 500))


async def _failed(request: Request, error: Exception) -> Response:
    # Starlette raises it again, so that the web server logs it.
    return _json(error_text(FAULT), 500)


def _json(content: bytes, status: int = 200) -> Response:
    from starlette.responses import Response

    return Response(content, status, media_type="application/json")
