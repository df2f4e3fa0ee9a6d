"""ServerMetrics: what a server did, as Prometheus reads it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from keras_reprogram.serving.server_packages import needs_server_package
from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.source import Source

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LABELS = ("model", "signature", "interface", "method")


@dataclass
class Call:
    """One request, as it becomes known.

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
    """Counts requests by what they asked and how they ended.

    Args:
        model_name: the model's.

    Raises:
        ImportError: if prometheus-client is not installed.
    """

    def __init__(self, model_name: str) -> None:
        with needs_server_package("prometheus-client"):
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
        """Counts and times what happens in the block.

        Args:
            interface: `"rest"` or `"grpc"`.
            method: such as `"predict"`.
        """
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
        """Shows what a gateway's source was asked, and what that cost.

        Args:
            source: the source model.
        """
        if hasattr(source, "queries_used"):
            self._gauge("source_queries", "Images sent.", lambda: source.queries_used)
        ledger = getattr(source, "ledger", None)
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
