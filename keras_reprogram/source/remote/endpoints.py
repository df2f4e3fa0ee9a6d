"""Endpoints: replicas of one service take turns; one that fails pauses for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from keras_reprogram.source.errors import SourceUnavailableError

_FIRST_REST, _LONGEST_REST = 1.0, 60.0


class Endpoints:
    """Chooses the endpoint with the fewest requests in flight; failed endpoints pause.

    An endpoint that fails is left out for a time that doubles with every failure, and then tried
    again. If all rest, the one whose rest ends first is tried: waiting is up to the caller. But
    where all have asked for a wait (`Retry-After`), `wait_as_asked` waits for the first of them.
    """

    def __init__(
        self,
        names: Sequence[str],
        at_a_time: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not names or len(set(names)) < len(names):
            raise ValueError(
                f"Expected one endpoint or more, each once. Received: {list(names)}. "
                "Pass the URLs of the replicas."
            )
        self.names, self.at_a_time, self._clock = tuple(names), at_a_time, clock
        self._in_flight = dict.fromkeys(names, 0)
        self._failures = dict.fromkeys(names, 0)
        self._rests_until = dict.fromkeys(names, 0.0)
        self._asked_until = dict.fromkeys(names, 0.0)
        self._turn = threading.Condition()

    @contextmanager
    def one(self, stop: threading.Event) -> Iterator[str]:
        """An endpoint for one request; waits until one has room, or raises a CancelledError."""
        name = self._take(stop)
        try:
            yield name
        finally:
            with self._turn:
                self._in_flight[name] -= 1
                self._turn.notify()

    @contextmanager
    def watched(self, name: str) -> Iterator[None]:
        """Records the outcome of a request; a failed endpoint pauses."""
        try:
            yield
        except SourceUnavailableError as error:
            self._rest(name, error.retry_after)
            raise
        else:
            self._failures[name] = 0

    def wait_as_asked(self, sleep: Callable[[float], Any]) -> None:
        """Waits until some endpoint may be asked, if all of them asked for a wait."""
        left = min(self._asked_until.values()) - self._clock()
        if left > 0.0:
            sleep(left)

    def any_well(self) -> bool:
        """Whether some endpoint is not pausing, so that a retry need not wait."""
        now = self._clock()
        return any(until <= now for until in self._rests_until.values())

    def _take(self, stop: threading.Event) -> str:
        with self._turn:
            while not stop.is_set():
                now = self._clock()
                well = [name for name in self.names if self._rests_until[name] <= now]
                near = min(self.names, key=self._rests_until.__getitem__)
                name = min(well or [near], key=self._in_flight.__getitem__)
                if self._in_flight[name] < self.at_a_time:
                    self._in_flight[name] += 1
                    return name
                # In time for an endpoint whose rest ends, too.
                self._turn.wait(timeout=_FIRST_REST / 4)
        raise CancelledError

    def _rest(self, name: str, asked: float | None) -> None:
        with self._turn:
            self._failures[name] += 1
            rest = min(_FIRST_REST * 2.0 ** (self._failures[name] - 1), _LONGEST_REST)
            now = self._clock()
            self._rests_until[name] = now + max(rest, asked or 0.0)
            if asked is not None:
                self._asked_until[name] = now + asked
