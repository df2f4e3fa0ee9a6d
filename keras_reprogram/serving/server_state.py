"""ServerState: state that REST and gRPC share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.image_headers import check_pixels
from keras_reprogram.serving.model_versions import ModelVersions
from keras_reprogram.serving.request_checks import (
    check_classifier,
    check_inputs,
    check_outputs,
    check_regressor,
    classes_of,
    rows_of,
    values_of,
)
from keras_reprogram.serving.servable import Servable, signature_key
from keras_reprogram.serving.tensors import array_of_texts
from keras_reprogram.source import Source


@dataclass
class ServerState:
    """The model, its metrics and its limits."""

    versions: ModelVersions
    limits: ServerLimits
    metrics: ServerMetrics
    gate: RequestGate = field(init=False)
    calls: ModelCalls = field(init=False)
    draining: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate = RequestGate(self.limits.in_flight, self.limits.queued)
        self.calls = ModelCalls(self.limits)

    @contextmanager
    def request(self, interface: str, method: str) -> Iterator[Call]:
        """Counts a request and waits for its turn; the block answers it."""
        with self.metrics.call(interface, method) as call:
            if self.draining.is_set():
                raise ServingError("The server is shutting down.", "UNAVAILABLE")
            with self.gate.turn():
                yield call


@dataclass(frozen=True)
class ServerLimits:
    """Limits of a server.

    Args:
        request_bytes: of a request, as sent and, where it was packed with gzip, unpacked.
        rows: images, or other rows, of a request.
        pixels: of an image file, as its header says, before it is decoded.
        in_flight: requests that run at once.
        queued: requests that wait for those; one more is refused as too many.

    Raises:
        ValueError: for a limit below 1 (`queued`: 0).

    Example:
    ```python
    from keras_reprogram.serving import ServerLimits

    small = ServerLimits(rows=64, in_flight=2)
    assert small.pixels == 50_000_000
    ```
    """

    request_bytes: int = 128 * 2**20
    rows: int = 4096
    pixels: int = 50_000_000
    in_flight: int = 8
    queued: int = 64

    def __post_init__(self) -> None:
        for limit in fields(self):
            value, least = getattr(self, limit.name), 0 if limit.name == "queued" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(
                    f"`{limit.name}` must be an integer of at least {least}. Received: {value!r}."
                )


class RequestGate:
    """Lets requests run at most `in_flight` at once; each runs in a thread of its own."""

    def __init__(self, in_flight: int, queued: int) -> None:
        self._admitted, self._most = 0, in_flight + queued
        self._counting = threading.Lock()
        self._running = threading.BoundedSemaphore(in_flight)

    @property
    def admitted(self) -> int:
        """Requests that run or wait."""
        return self._admitted

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for a turn, and holds it while the block runs."""
        with self._counting:
            if self._admitted >= self._most:
                raise ServingError(
                    f"The server is busy with {self._most} requests. Try again later.",
                    "RESOURCE_EXHAUSTED",
                )
            self._admitted += 1
        try:
            with self._running:
                yield
        finally:
            with self._counting:
                self._admitted -= 1


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LABELS = ("model", "signature", "interface", "method")


@dataclass
class Call:
    """Facts of one request, for the metrics.

    Args:
        interface: `"rest"` or `"grpc"`.
        method: such as `"predict"`.
        signature: of the model; `""` until one was found, so that clients invent no names.
        images: rows that the model was asked for.
    """

    interface: str
    method: str
    signature: str = ""
    images: int = 0


class ServerMetrics:
    """Counts requests by method and outcome."""

    def __init__(self, model_name: str) -> None:
        with needs_extra("prometheus-client", "server"):
            import prometheus_client as prometheus
        self.model_name = model_name
        # Its own: two servers in a process do not count into each other's.
        self._registry = prometheus.CollectorRegistry()
        prefix, registry = "keras_reprogram", self._registry
        self._requests = prometheus.Counter(
            f"{prefix}_requests", "Requests that ended.", (*_LABELS, "code"), registry=registry
        )
        self._seconds = prometheus.Histogram(
            f"{prefix}_request_seconds",
            "Time of a request in the server, waiting included.",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )
        self._images = prometheus.Counter(
            f"{prefix}_images", "Rows that the model answered.", _LABELS, registry=registry
        )
        self._in_flight = prometheus.Gauge(
            f"{prefix}_requests_in_flight", "Requests that run or wait.", registry=registry
        )

    @contextmanager
    def call(self, interface: str, method: str) -> Iterator[Call]:
        """Counts and times what happens in the block."""
        call, code, started = Call(interface, method), "INTERNAL", time.monotonic()
        with self._in_flight.track_inprogress():
            try:
                yield call
                code = "OK"
            except ServingError as error:
                code = error.code
                raise
            finally:
                labels = (self.model_name, call.signature, interface, method)
                self._requests.labels(*labels, code).inc()
                self._seconds.labels(*labels).observe(time.monotonic() - started)
                if code == "OK":
                    self._images.labels(*labels).inc(call.images)

    def watch_source(self, source: Source) -> None:
        """Shows queries and cost of a gateway's source."""
        if source.queries_used is not None:
            self._gauge("source_queries", "Images sent.", lambda: source.queries_used)
        ledger = source.ledger
        if ledger is None:
            return
        self._gauge("ledger_spent", "Queries of all runs on the ledger.", lambda: ledger.spent)
        if ledger.limit is not None:
            self._gauge("ledger_left", "Queries that the budget still pays.", lambda: ledger.left)
        if ledger.price_per_thousand is not None:
            self._gauge("ledger_money_spent", "What they cost.", lambda: ledger.money_spent)

    def text(self) -> tuple[bytes, str]:
        """The figures as Prometheus reads them, and their content type."""
        import prometheus_client as prometheus

        return prometheus.generate_latest(self._registry), prometheus.CONTENT_TYPE_LATEST

    def _gauge(self, name: str, what: str, value: Callable[[], Any]) -> None:
        import prometheus_client as prometheus

        gauge = prometheus.Gauge(f"keras_reprogram_{name}", what, registry=self._registry)
        gauge.set_function(value)


class ModelCalls:
    """Calls of signatures within limits."""

    def __init__(self, limits: ServerLimits) -> None:
        self.limits = limits

    def predict(
        self,
        call: Call,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        wanted: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature, all or the `wanted` ones."""
        signature = servable.signature(signature_name)
        check_inputs(signature, inputs)
        check_outputs(signature, wanted)
        rows = rows_of(signature, inputs)
        if rows > self.limits.rows:
            raise ServingError(
                f"A request must have at most {self.limits.rows} rows. Received: {rows}."
            )
        check_pixels(inputs.values(), self.limits.pixels)
        call.images = rows
        outputs = servable.run(signature_key(signature_name), inputs)
        return {name: outputs[name] for name in wanted or sorted(outputs)}

    def classify(
        self, call: Call, servable: Servable, signature_name: str, examples: Sequence[bytes]
    ) -> list[list[tuple[bytes, float]]]:
        """`(label, score)` of each class of each example."""
        check_classifier(_signature(servable, signature_name))
        outputs = self.predict(call, servable, signature_name, _column(examples))
        return classes_of(outputs, len(examples))

    def regress(
        self, call: Call, servable: Servable, signature_name: str, examples: Sequence[bytes]
    ) -> np.ndarray:
        """A number for each example."""
        check_regressor(_signature(servable, signature_name))
        outputs = self.predict(call, servable, signature_name, _column(examples))
        return values_of(outputs, len(examples))


def _signature(servable: Servable, name: str) -> object:
    signature = servable.signature(name)
    if signature is None:
        raise ServingError(f"No signature was found with the name: {signature_key(name)}")
    return signature


def _column(examples: Sequence[bytes]) -> dict[str, np.ndarray]:
    if not examples:
        raise ServingError("Input is empty.")
    return {"inputs": array_of_texts(examples)}
