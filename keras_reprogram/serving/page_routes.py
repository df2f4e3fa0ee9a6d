"""The routes of the demo page: its files, what it must know, and a question to the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_reprogram.serving.page_facts import read_page_facts
from keras_reprogram.serving.page_guard import (
    PAGE_HEADERS,
    check_host,
    check_origin,
    limited_body,
)
from keras_reprogram.serving.page_images import decode_file
from keras_reprogram.serving.page_steps import show_steps
from keras_reprogram.serving.request_gate import RequestGate
from keras_reprogram.serving.server_packages import needs_server_package
from keras_reprogram.serving.serving_error import ServingError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    Endpoint = Callable[[Request], Awaitable[Response]]

_FOLDER = Path(__file__).parent / "page"
# What an operating system's table of types says of scripts differs.
_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def page_routes(versions: Any, model_name: str) -> list[Route]:
    """Makes the routes of a page on which a person draws an image and sees what becomes of it.

    A loopback connection must name the loopback host, and only the page itself may ask.

    Args:
        versions: `latest()` returns the `Servable` to ask.
        model_name: what the page calls the model.

    Returns:
        `/`, `/ui/facts`, `/ui/steps` and `/ui/<file>`.
    """
    with needs_server_package("starlette"):
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
            shown |= read_page_facts(servable)._asdict()
        except ServingError as error:
            shown["problem"] = error.text
        return JSONResponse(shown)

    async def steps(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse

        check_origin(request)
        file = await limited_body(request)
        return JSONResponse(await run_in_threadpool(self._answer, file))

    def _answer(self, file: bytes) -> dict[str, Any]:
        with self._gate.turn():
            servable = self._versions.latest()
            facts = read_page_facts(servable)
            target = decode_file(file, facts.target_shape, facts.target_range)
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
