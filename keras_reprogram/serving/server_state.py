"""ServerState: what both interfaces share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from keras_reprogram.serving.model_calls import ModelCalls
from keras_reprogram.serving.model_versions import ModelVersions
from keras_reprogram.serving.request_gate import RequestGate
from keras_reprogram.serving.server_limits import ServerLimits
from keras_reprogram.serving.server_metrics import Call, ServerMetrics
from keras_reprogram.serving.serving_error import ServingError


@dataclass
class ServerState:
    """The model, and what is counted and limited.

    Args:
        versions: of the model.
        limits: of requests.
        metrics: what is counted.
        gate: who runs and who waits.
        calls: the model, within limits.
        draining: set when no new requests are taken.
    """

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
        """Counts a request and waits for its turn; the block answers it.

        Args:
            interface: `"rest"` or `"grpc"`.
            method: such as `"predict"`.

        Raises:
            ServingError: if the server is busy or about to end, and what the block raises.
        """
        with self.metrics.call(interface, method) as call:
            if self.draining.is_set():
                raise ServingError("The server is shutting down.", "UNAVAILABLE")
            with self.gate.turn():
                yield call
