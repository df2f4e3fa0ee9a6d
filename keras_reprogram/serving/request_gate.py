"""RequestGate: how many requests run, how many wait, and when one more is too many."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from keras_reprogram.serving.serving_error import ServingError


class RequestGate:
    """Lets requests run at most `in_flight` at once; each runs in a thread of its own.

    Args:
        in_flight: that run at once.
        queued: that wait for those.
    """

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
        """Waits for a turn, and holds it while the block runs.

        Raises:
            ServingError: if too many wait already.
        """
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
