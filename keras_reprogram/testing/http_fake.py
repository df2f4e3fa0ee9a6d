"""HTTPFake: a web service on a real socket of this machine, with faults to order."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from keras_reprogram.testing.hosted_model import Fake, Fault, HostedModel

_DRIP_SECONDS, _DRIP_PIECES = 0.02, 8


@dataclass
class Answer:
    """A service's answer: status, JSON or bytes, headers.

    Args:
        status: of HTTP.
        content: bytes, or anything that JSON can hold.
        headers: more than length and type.
    """

    status: int
    content: Any
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The content as it is sent."""
        if isinstance(self.content, bytes):
            return self.content
        return json.dumps(self.content).encode()


class HTTPFake(Fake):
    """Serves a model on `http://127.0.0.1:<port>`; a subclass knows how one vendor talks.

    A subclass implements `respond(method, path, headers, body, fault) -> Answer`, which may call
    `self.hosted.score(images, fault)`, and `refusal(status) -> content`, an error as the vendor
    writes it. Keys are never printed.

    Args:
        hosted: the model and its bill.
        faults: a `Faults`, or a list of them, one a request.
        latency: seconds that a request takes at least.
        at_a_time: more requests than this at once get a 429, or `None`.
        key: that clients must send, or `None` for none.
        certificate: `(certificate file, key file)` for TLS, or `None` for plain HTTP.

    Attributes:
        most_together: largest number of requests in flight.
        requests: number of requests, faults included.
    """

    def __init__(
        self,
        hosted: HostedModel,
        *,
        faults: Any = (),
        latency: float = 0.0,
        at_a_time: int | None = None,
        key: str | None = None,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(hosted, faults, latency, key)
        self.at_a_time = at_a_time
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """`http://127.0.0.1:<port>`, without a path."""
        return f"{self.scheme}://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def respond(self, method: str, path: str, headers: Any, body: bytes, fault: Fault) -> Answer:
        """The vendor's answer to a request without a transport fault.

        Args:
            method: `"GET"` or `"POST"`.
            path: with its query.
            headers: a mapping that ignores case.
            body: as sent.
            fault: `"nan"` or `"wrong labels"`, to hand to `hosted.score`, or another word.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `respond`.")

    def refusal(self, status: int) -> Any:
        """The content of an error to order as the vendor writes it, or a whole `Answer`."""
        return {"error": f"status {status}, to order"}

    def _serve(self, handler: Any) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        # It ends before the answer leaves: a client that has it may send its next one at once.
        with self.in_flight() as together:
            too_many = self.at_a_time is not None and together > self.at_a_time
            fault = 429 if too_many else self.faults.take()
            if isinstance(fault, int | tuple):
                status, more = fault if isinstance(fault, tuple) else (fault, {})
                refused = self.refusal(status)
                answer = refused if isinstance(refused, Answer) else Answer(status, refused)
                answer.headers.update(more)
            else:
                answer = self.respond(handler.command, handler.path, handler.headers, body, fault)
            if not too_many:
                # The model's own time is part of it.
                time.sleep(max(0.0, handler.arrived + self.latency - time.monotonic()))
        _send(handler, answer, fault)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that hang up or do not trust the certificate."""


def _handler_of(fake: HTTPFake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        # A small answer is not held back until the next one, and leaves in one piece.
        disable_nagle_algorithm = True
        wbufsize = -1

        def parse_request(self) -> bool:
            # The latency is counted from the request's first bytes on.
            self.arrived = time.monotonic()
            return super().parse_request()

        def do_GET(self) -> None:  # noqa: N802, D102
            fake._serve(self)

        def do_POST(self) -> None:  # noqa: N802, D102
            fake._serve(self)

        def log_message(self, *_: Any) -> None:
            """Silent: a request may hold a key."""

    return Handler


def _send(handler: BaseHTTPRequestHandler, answer: Answer, fault: Fault) -> None:
    if fault == "reset":
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()
        handler.close_connection = True
        return
    content = answer.encoded()
    if fault == "truncated":
        content = content[: len(content) // 2]
    handler.send_response(answer.status)
    for name, value in ({"Content-Type": "application/json"} | answer.headers).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    step = -(-len(content) // _DRIP_PIECES) if fault == "drip" else max(len(content), 1)
    for start in range(0, len(content), max(step, 1)):
        handler.wfile.write(content[start : start + step])
        if fault == "drip":
            handler.wfile.flush()
            time.sleep(_DRIP_SECONDS)
