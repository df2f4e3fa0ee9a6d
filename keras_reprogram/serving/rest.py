"""The web application: TF Serving's REST interface, health, metrics, and an optional page."""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.serving.errors import FAULT, ServingError, listening_socket
from keras_reprogram.serving.json_answers import (
    classes_text,
    error_text,
    outputs_text,
    parse_object,
    predictions_text,
    values_text,
)
from keras_reprogram.serving.json_examples import examples_of_json
from keras_reprogram.serving.json_requests import inputs_of_json, signature_name_of
from keras_reprogram.serving.page_routes import check_host, limited_body, page_routes
from keras_reprogram.serving.servable import Servable, signature_key
from keras_reprogram.serving.server_state import Call, ServerState
from keras_reprogram.serving.status_messages import metadata_text, status_message, status_text

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def rest_app(state: ServerState, *, page: bool = False) -> Starlette:
    """The Starlette application, with the demo page at `/` if `page`."""
    with needs_extra("starlette", "server"):
        from starlette.applications import Starlette
        from starlette.routing import Route
    endpoints = _Endpoints(state)
    routes: list[BaseRoute] = [
        Route("/health", endpoints.health),
        Route("/metrics", endpoints.metrics),
        Route("/monitoring/prometheus/metrics", endpoints.metrics),
        *(page_routes(state.versions, state.versions.model_name) if page else []),
        Route("/{path:path}", endpoints.serve, methods=METHODS),
    ]
    return Starlette(routes=routes, exception_handlers={ServingError: _refused, Exception: _failed})


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
        body = await limited_body(request, most)
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
            f"Pages from other origins may not send requests. Received: Origin {origin[:200]!r}.",
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


class RestServer:
    """Listens from the beginning, answers from `start` on."""

    def __init__(self, state: ServerState, host: str, port: int, *, page: bool) -> None:
        with needs_extra("uvicorn", "server"):
            import uvicorn
        config = uvicorn.Config(
            rest_app(state, page=page), log_config=None, access_log=False, lifespan="off"
        )
        self._socket = listening_socket(host, port, "--rest-port")
        self.port: int = self._socket.getsockname()[1]
        self._server: uvicorn.Server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="rest", daemon=True
        )

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Refuses new requests, and waits for running ones."""
        # uvicorn counts whole seconds, and waits without end at 0.
        self._server.config.timeout_graceful_shutdown = max(1, round(seconds))
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()


_WHICH = r"(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(rf"/v1/models/([^/:]+){_WHICH}:(classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/([^/:]+))?{_WHICH}(?:/(metadata))?", re.IGNORECASE)
_LARGEST_VERSION = 2**63 - 1


class RestAnswers:
    """Answers the requests under `/v1/`."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def get(self, path: str) -> bytes:
        """The status of versions, or the metadata of one."""
        match = _GET.fullmatch(path)
        if match is None:
            raise ServingError(f"Malformed request: GET {path}")
        name, version, label = _spec(match)
        if not name:
            raise ServingError("Missing model name in request.")
        versions = self._state.versions
        with self._state.metrics.call("rest", "metadata" if match[4] else "status"):
            if match[4]:
                return metadata_text(versions.find(name, version, label), versions.model_name)
            return status_text(status_message(versions.statuses(name, version, label)))

    def post(self, path: str, body: bytes) -> bytes:
        """The model's answer."""
        match = _POST.fullmatch(path)
        if match is None:
            raise ServingError(f"Malformed request: POST {path}")
        method = match[4].lower()
        with self._state.request("rest", method) as call:
            document = parse_object(body)
            signature_name = signature_name_of(document)
            servable = self._state.versions.find(*_spec(match))
            if servable.signature(signature_name) is not None:
                call.signature = signature_key(signature_name)
            answer = {"predict": self._predict, "classify": self._classify}.get(
                method, self._regress
            )
            return answer(call, servable, signature_name, document)

    def _predict(
        self, call: Call, servable: Servable, name: str, document: dict[str, Any]
    ) -> bytes:
        signature = servable.signature(name)
        if signature is None:
            raise ServingError(
                f'Serving signature name: "{signature_key(name)}" not found in signature def'
            )
        inputs = inputs_of_json(document, signature)
        outputs = self._state.calls.predict(call, servable, name, inputs)
        return predictions_text(outputs) if "instances" in document else outputs_text(outputs)

    def _classify(
        self, call: Call, servable: Servable, name: str, document: dict[str, Any]
    ) -> bytes:
        examples = examples_of_json(document)
        return classes_text(self._state.calls.classify(call, servable, name, examples))

    def _regress(
        self, call: Call, servable: Servable, name: str, document: dict[str, Any]
    ) -> bytes:
        examples = examples_of_json(document)
        return values_text(self._state.calls.regress(call, servable, name, examples))


def _spec(match: re.Match[str]) -> tuple[str, int | None, str | None]:
    """Model, version and label of a path."""
    name = unquote(match[1] or "")
    label = unquote(match[3]) if match[3] else None
    if not match[2]:
        return name, None, label
    # Python reads numbers of any length slowly; a version has 64 bits.
    if len(match[2]) > 19 or not match[2].isascii() or int(match[2]) > _LARGEST_VERSION:
        raise ServingError(f"Failed to convert version: {match[2][:40]} to numeric.")
    return name, int(match[2]), label


# zlib's number for gzip's own header and checksum.
_GZIP = 31
# A gzip body may have several members. Each one copies the rest, so their number is limited.
_MOST_MEMBERS = 16


def unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes | None:
    """A decompressed body, or `None` if it is longer than `most_bytes`."""
    # A few kilobytes may become gigabytes, so no more than that is unpacked.
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "x-gzip"):
        raise ServingError(
            f"A request's body must be plain or compressed with gzip. Received: Content-Encoding "
            f"{name[:40]!r}. Compress it with gzip, or send it plain."
        )
    try:
        return _unpacked(body, most_bytes)
    except zlib.error:
        raise _damaged("other data") from None


def _unpacked(body: bytes, most_bytes: int) -> bytes | None:
    content = b""
    for _ in range(_MOST_MEMBERS):
        member = zlib.decompressobj(wbits=_GZIP)
        content += member.decompress(body, most_bytes - len(content) + 1)
        if len(content) > most_bytes:
            return None
        if not member.eof:
            raise _damaged("its beginning alone")
        body = member.unused_data
        if not body:
            return content
    raise _damaged(f"more than {_MOST_MEMBERS} files in one")


def _damaged(received: str) -> ServingError:
    return ServingError(
        f"The request says that its body is gzip. Received: {received}. Compress it again, or "
        f"leave out the header Content-Encoding."
    )
