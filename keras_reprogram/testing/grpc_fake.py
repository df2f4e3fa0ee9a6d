"""GRPCFake: a gRPC service on a real socket of this machine, with faults to order."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.testing.hosted_model import Fake, Fault, HostedModel


class GRPCFake(Fake):
    """Serves a model on `127.0.0.1:<port>` over gRPC; a subclass adds a vendor's own servicer.

    A subclass calls `super().__init__`, adds its servicer to `self.server`, then `self.start()`.
    Each method of the servicer is `return self.serve(context, lambda fault: message)`.

    Args:
        hosted: the model and its bill.
        extra: of this package that brings grpcio.
        faults: a `Faults`, or a list of them, one a request. Statuses of HTTP are given as gRPC's
            own: 429 RESOURCE_EXHAUSTED, 500 INTERNAL, 503 UNAVAILABLE, 504 DEADLINE_EXCEEDED,
            401 UNAUTHENTICATED, 403 PERMISSION_DENIED, 404 NOT_FOUND, 400 INVALID_ARGUMENT.
        latency: seconds that a request takes at least.
        key: that clients must send, or `None` for none.
        threads: requests that are worked on at once.

    Attributes:
        most_together: largest number of requests in flight.
        requests: number of requests, faults included.
    """

    def __init__(
        self,
        hosted: HostedModel,
        extra: str,
        *,
        faults: Any = (),
        latency: float = 0.0,
        key: str | None = None,
        threads: int = 32,
    ) -> None:
        with needs_extra("grpcio", extra):
            import grpc
        super().__init__(hosted, faults, latency, key)
        # Two fakes never share a port, and a request may be as large as the vendor allows.
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
        self.server = grpc.server(ThreadPoolExecutor(threads), options=options)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"

    def start(self) -> None:
        """Begins to listen; to be called after the servicers were added."""
        self.server.start()

    def close(self) -> None:
        self.server.stop(grace=None).wait()

    def serve(self, context: Any, respond: Callable[[Fault], Any]) -> Any:
        """Answers a request, or applies the ordered fault.

        Args:
            context: of the call.
            respond: the fault (`"nan"`, `"wrong labels"` or `None`) -> the answer's message.
        """
        with self.in_flight():
            started = time.monotonic()
            fault = self.faults.take()
            if isinstance(fault, int | tuple):
                self._sleep_until(started + self.latency)
                return self.refuse(context, fault, respond)
            message = respond(fault)
            # The model's own time is part of it.
            self._sleep_until(started + self.latency)
            if fault in ("reset", "truncated"):
                # The work was done and is billed; the answer does not arrive.
                context.abort(_codes().UNAVAILABLE, "Socket closed")
            return message

    @staticmethod
    def _sleep_until(moment: float) -> None:
        time.sleep(max(0.0, moment - time.monotonic()))

    def refuse(
        self,
        context: Any,
        fault: int | tuple[int, dict[str, str]],
        respond: Callable[[Fault], Any],
    ) -> Any:
        """Ends a call with a status; a vendor that says it in its answer overrides this."""
        del respond
        status, headers = fault if isinstance(fault, tuple) else (fault, {})
        if "Retry-After" in headers:
            context.set_trailing_metadata((("retry-after", headers["Retry-After"]),))
        codes = _codes()
        code = {
            400: codes.INVALID_ARGUMENT,
            401: codes.UNAUTHENTICATED,
            403: codes.PERMISSION_DENIED,
            404: codes.NOT_FOUND,
            429: codes.RESOURCE_EXHAUSTED,
            500: codes.INTERNAL,
            503: codes.UNAVAILABLE,
            504: codes.DEADLINE_EXCEEDED,
        }.get(status, codes.UNKNOWN)
        context.abort(code, f"status {status}, to order")


def _codes() -> Any:
    import grpc

    return grpc.StatusCode
