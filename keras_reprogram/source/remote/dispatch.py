"""Dispatcher: schedules requests: endpoints, rate limit, retries, threads, executor."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_EXCEPTION,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from typing import Any

from keras_reprogram.source.errors import NeverSentError, SourceRefusedError
from keras_reprogram.source.remote.endpoints import Endpoints
from keras_reprogram.source.remote.retries import repeated

# Threads that prepare requests, as a share of those that wait for answers.
_AHEAD = 0.5
# On Windows Ctrl-C interrupts no wait, but comes through after one.
_LOOK_SECONDS = 0.25


class Stop(threading.Event):
    """An event that cancels all waiting threads when an error or Ctrl-C ends a call.

    Attributes:
        interrupted: whether it was Ctrl-C. Then claimed requests that were not sent are released.
            After an error they are still sent, because the ledger already counts them.
    """

    interrupted = False

    def end(self, error: BaseException) -> None:
        """Cancels the call because of an error."""
        self.interrupted = not isinstance(error, Exception)
        self.set()


class Dispatcher:
    """Sends the requests of one source concurrently, and retries temporary failures.

    Args:
        endpoints: names of the replicas.
        concurrency: requests at a time to each.
        queries_per_second: over all endpoints, or `None` for no limit.
        retries: repetitions of a request that failed in a way that may pass.
        executor: sends them instead of threads of this process, or `None`.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        concurrency: int,
        queries_per_second: float | None,
        retries: int,
        executor: Executor | None,
    ) -> None:
        self.endpoints = Endpoints(endpoints, concurrency)
        self.rate_limit = RateLimit(queries_per_second)
        self.retries, self.executor = retries, executor
        in_flight = most_at_once(executor, concurrency * len(endpoints))
        # Where attempts are written: a crash leaves no more queries of unknown fate than that.
        self._room = threading.BoundedSemaphore(in_flight)
        # More threads than that: the next images are encoded while all of it is waited for.
        self._threads = ThreadPoolExecutor(
            in_flight + max(1, round(_AHEAD * in_flight)), thread_name_prefix="query"
        )
        weakref.finalize(self, self._threads.shutdown, wait=False)

    def results(self, parts: Sequence[Any], answer: Callable[[Any, Stop], Any]) -> list[Any]:
        """`answer(part, stop)` of every part, in order; the first error ends all of them."""
        stop, futures = Stop(), []
        try:
            # Ctrl-C may come while the last parts are not handed over yet.
            for part in parts:
                futures.append(self._threads.submit(answer, part, stop))
            return _results_of(futures)
        except BaseException as error:
            stop.end(error)
            # Requests that were not sent are cancelled; answers in flight are waited for and kept.
            for future in futures:
                future.cancel()
            for future in futures:
                if not future.cancelled():
                    future.exception()
            raise

    def repeated(self, ask: Callable[[bool], Any], stop: Stop) -> Any:
        """Calls `ask(again)`, with repetitions for temporary failures."""
        number = itertools.count()

        def once() -> Any:
            self.endpoints.wait_as_asked(stop.wait)
            if stop.is_set():
                raise CancelledError
            return ask(next(number) > 0)

        return repeated(once, self.retries, self.endpoints.any_well, stop.wait)

    @contextmanager
    def turn(self, count: int, prepare: Callable[[str], None], stop: Stop) -> Iterator[str]:
        """Waits for the rate limit and an endpoint for `count` images.

        Everything that may take long is waited for here, so that a claim is sent when it is made.
        """
        with self._room, self.endpoints.one(stop) as endpoint:
            if self.executor is None:
                with self.endpoints.watched(endpoint):
                    prepare(endpoint)
            self.rate_limit.wait(count, stop)
            if stop.is_set():
                raise CancelledError
            yield endpoint

    def send(
        self,
        send: Callable[[list[bytes], str], Any],
        payloads: list[bytes],
        endpoint: str,
        stop: Stop,
    ) -> Any:
        """Calls `send(payloads, endpoint)`, here or in the executor; a failed endpoint pauses."""
        with self.endpoints.watched(endpoint):
            if self.executor is None:
                return send(payloads, endpoint)
            return executed(self.executor, stop, send, payloads, endpoint)


def _results_of(futures: Sequence[Future[Any]]) -> list[Any]:
    """All results; raises the first error as soon as it occurs."""
    waiting: Any = futures
    while waiting:
        done, waiting = wait(futures, timeout=_LOOK_SECONDS, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    return [future.result() for future in futures]


class RateLimit:
    """Rate limiter: spaces queries evenly."""

    def __init__(
        self, per_second: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if per_second is not None and not per_second > 0:
            raise ValueError(
                f"`queries_per_second` must be above 0. Received: {per_second}. Pass None for no "
                "limit."
            )
        self.per_second, self._clock = per_second, clock
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, count: int, stop: threading.Event) -> None:
        """Returns when `count` queries may leave; a CancelledError if `stop` comes first.

        A slot is taken only when it is due: a cancelled wait leaves no gap.
        """
        came = self._clock()
        if self.per_second is None:
            return
        lasts = count / self.per_second
        while (left := self._until_taken(lasts, came)) > 0.0:
            if stop.wait(left):
                raise CancelledError

    def _until_taken(self, lasts: float, came: float) -> float:
        """Seconds until the next free slot; 0 or less if this call took it."""
        with self._lock:
            turn = max(self._next, came)
            left = turn - self._clock()
            if left <= 0.0:
                self._next = turn + lasts
            return left


# Their futures are waiting, running or done, and waiting ones can be cancelled. Futures of others,
# such as Dask's, can be cancelled while the request is under way.
_OF_PYTHON = (ThreadPoolExecutor, ProcessPoolExecutor)
_QUEUE_SECONDS = 0.1


def executed(executor: Executor, stop: Stop, function: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a function in an executor and returns its result.

    Raises:
        NeverSentError: if Ctrl-C came while it waited in the queue of a pool of Python's.
        SourceRefusedError: if such a pool takes nothing any more.
    """
    if not isinstance(executor, _OF_PYTHON):
        return executor.submit(function, *arguments).result()
    try:
        future = executor.submit(function, *arguments)
    except RuntimeError as error:
        raise SourceRefusedError(
            f"The executor must accept requests. Received: {type(error).__name__}: {error}. Build "
            f"the source with a new executor; nothing was sent."
        ) from error
    while not wait([future], timeout=_QUEUE_SECONDS).done:
        if stop.interrupted and future.cancel():
            raise NeverSentError("The request was stopped in the queue of its executor.")
    return future.result()


def most_at_once(executor: Executor | None, wanted: int) -> int:
    """The limit of concurrent requests: at most the workers of a Python pool."""
    workers = getattr(executor, "_max_workers", None) if isinstance(executor, _OF_PYTHON) else None
    return min(wanted, workers or wanted)
