"""RemoteSource: what all services share: encoding, concurrency, limits, retries, the ledger."""

from __future__ import annotations

import itertools
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_EXCEPTION,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from typing import Any

import numpy as np

from keras_reprogram.arguments import check_channels_last
from keras_reprogram.source.errors import NeverSentError, SourceDriftedError
from keras_reprogram.source.ledger.asking import Asking, ask_through_ledger
from keras_reprogram.source.ledger.query_ledger import QueryLedger, query_key
from keras_reprogram.source.python_source import PythonSource
from keras_reprogram.source.remote.dispatch import (
    Endpoints,
    RateLimit,
    Stop,
    executed,
    most_at_once,
    repeated,
)
from keras_reprogram.source.remote.payloads import (
    ENCODINGS,
    check_missing,
    encode_image,
    hide_key,
    named_scores,
)

_SHOWN = 300
# Threads that prepare requests, as a share of those that wait for answers.
_AHEAD = 0.5
_LOOK_SECONDS = 0.25


class RemoteSource(PythonSource):
    """A service that is sent encoded images and answers with scores.

    Images are sent in requests of `images_per_request`, `concurrency` at a time to each endpoint.
    A request that fails in a way that may pass is repeated, at another endpoint or after a random,
    growing wait, or the wait that the service asked for. With a ledger each repetition is an
    attempt of its own, and what was answered is never sent again. A subclass implements
    `request(payloads, endpoint)`, which talks, and `read(answer)`, which understands.

    Args:
        source_shape: `(H, W, C)`.
        labels: names of the scores, in order.
        value_range: `(low, high)` of the pixels that callers send; encoded as 8 bits.
        identity: a string that names the service and its version.
        ledger: a `QueryLedger`, or `None`.
        encoding: `"png"` or `"jpeg"`. PNG loses nothing but the rounding to 8 bits.
        images_per_request: at most.
        concurrency: requests at a time to an endpoint.
        queries_per_second: that the service allows, over all endpoints, or `None`.
        retries: repetitions of a request that failed in a way that may pass.
        endpoints: addresses of replicas that give the same answers.
        missing: score of a label that an answer does not list, as of `named_scores`.
        ignore_undeclared: leave names in answers out that `labels` does not have.
        drift_tolerance: with a ledger, ask one fixed image in each run that sends something, and
            stop if a score of it moved further than this since the ledger began; `None` asks
            nothing.
        executor: runs the requests instead of threads of this process: any
            `concurrent.futures.Executor`, those of Dask and Ray too. Ledger, limits and retries
            stay here. What waits in its queue stands in the ledger as sent: let it have as many
            workers as there may be requests in flight (a pool of Python's with fewer is never
            given more than it has).
        options: as of `PythonSource`: `scores`, `score_step`, `sum_tolerance`, `name`.

    Raises:
        ImportError: if tenacity is not installed.
        ValueError: for wrong arguments.
    """

    rounds_images = True
    # The environment variable that holds the service's key, which no error may show.
    key_variable: str | None = None
    # What `request` needs of a copy that an executor of other processes gets.
    request_fields: tuple[str, ...] = ()

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        labels: Sequence[str],
        *,
        value_range: tuple[float, float],
        identity: str,
        ledger: QueryLedger | None = None,
        encoding: str = "png",
        images_per_request: int = 1,
        concurrency: int = 8,
        queries_per_second: float | None = None,
        retries: int = 5,
        endpoints: Sequence[str] = ("",),
        missing: float | str = 0.0,
        ignore_undeclared: bool = False,
        drift_tolerance: float | None = None,
        executor: Executor | None = None,
        **options: Any,
    ) -> None:
        if encoding not in ENCODINGS:
            raise ValueError(f"`encoding` must be one of {ENCODINGS}. Received: {encoding!r}.")
        if images_per_request < 1 or concurrency < 1 or retries < 0:
            raise ValueError(
                "`images_per_request` and `concurrency` must be at least 1, `retries` 0. Received: "
                f"{images_per_request}, {concurrency}, {retries}."
            )
        way = "and let the service turn the images, or write a source of your own that does"
        check_channels_last("source_shape", source_shape, way)
        super().__init__(
            source_shape, len(labels), value_range=value_range, labels=labels, **options
        )
        self.identity, self.ledger, self.encoding = identity, ledger, encoding
        self.images_per_request, self.retries = images_per_request, retries
        self.missing = check_missing(missing, unit_range=self.scores == "independent")
        self.ignore_undeclared = ignore_undeclared
        self.rate_limit = RateLimit(queries_per_second)
        self.endpoints = Endpoints(endpoints, concurrency)
        self.drift_tolerance, self._drift_checked = drift_tolerance, False
        self.executor, self._copy_name = executor, uuid.uuid4().hex
        in_flight = most_at_once(executor, concurrency * len(endpoints))
        # Where attempts are written: a crash leaves no more queries of unknown fate than that.
        self._room = threading.BoundedSemaphore(in_flight)
        # More threads than that: the next images are encoded while all of it is waited for.
        self._threads = ThreadPoolExecutor(
            in_flight + max(1, round(_AHEAD * in_flight)), thread_name_prefix="query"
        )
        weakref.finalize(self, self._threads.shutdown, wait=False)

    def request(self, payloads: list[bytes], endpoint: str) -> Any:
        """Sends encoded images and returns the answer as it came, understood or not.

        Args:
            payloads: at most `images_per_request`.
            endpoint: one of `endpoints`.

        Raises:
            SourceRefusedError: if asking again would be refused again.
            SourceBusyError: if the request was surely not taken; later it may be.
            SourceUnavailableError: if it may be answered later, and may have been billed.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must implement `request(payloads, endpoint)`."
        )

    def prepare(self, endpoint: str) -> None:
        """Asks a service what must be known before the first image is sent; costs no query.

        Args:
            endpoint: one of `endpoints`.

        Raises:
            SourceBusyError: if it may be known later.
        """

    def read(self, answer: Any) -> Any:
        """Rows of scores of an answer; raises what Python raises if it is not understood.

        Args:
            answer: what `request` returned.
        """
        return answer

    def row_of(self, pairs: Any) -> list[float]:
        """Scores in the order of `labels` from `(name, score)` pairs; see `named_scores`."""
        return named_scores(
            pairs,
            self.labels or (),
            missing=self.missing,
            ignore_undeclared=self.ignore_undeclared,
        )

    @property
    def request_options(self) -> str:
        """What else a request says that changes its answer: part of the ledger's key."""
        return ""

    @property
    def fingerprint(self) -> str:
        reading = f"{self.labels} {self.missing} {self.ignore_undeclared}"
        return query_key(self.identity, f"{self.encoding} {reading}", b"").hex()

    def payload(self, image: np.ndarray) -> bytes:
        return encode_image(image, self.value_range, self.encoding)

    def _answer_all(self, images: np.ndarray) -> np.ndarray:
        self._check_drift(images)
        starts = range(0, len(images), self.images_per_request)
        parts = [images[start : start + self.images_per_request] for start in starts]
        stop = Stop()
        futures = [self._threads.submit(self._answer_part, part, stop) for part in parts]
        try:
            return np.concatenate(_results_of(futures))
        except BaseException as error:
            stop.end(error)
            # What has not left yet stays here; what is in flight is waited for and kept.
            for future in futures:
                future.cancel()
            for future in futures:
                if not future.cancelled():
                    future.exception()
            raise

    def _answer_part(self, images: np.ndarray, stop: Stop) -> np.ndarray:
        """Scores of one request's images; repeated while that may help."""
        # Encoded here, while other requests are in flight.
        payloads = [self.payload(image) for image in images]
        return self._repeated(lambda again: self._answer_once(payloads, again, stop), stop)

    def _repeated(self, ask: Callable[[bool], np.ndarray], stop: Stop) -> np.ndarray:
        number = itertools.count()

        def once() -> np.ndarray:
            self.endpoints.wait_as_asked(stop.wait)
            if stop.is_set():
                raise CancelledError
            return ask(next(number) > 0)

        return repeated(once, self.retries, self.endpoints.any_well, stop.wait)

    def _answer_once(self, payloads: list[bytes], again: bool, stop: Stop) -> np.ndarray:
        keys = None if self.ledger is None else self._keys(payloads)
        if keys is not None:
            return self._ask_ledger(keys, payloads, again, stop)
        with self._may_ask(len(payloads), stop) as ask:
            answer = ask(payloads)
        return self._check(answer, len(payloads))

    def _keys(self, payloads: list[bytes]) -> list[bytes]:
        fingerprint, options = self.fingerprint, self.request_options
        return [query_key(fingerprint, options, payload) for payload in payloads]

    def _check_drift(self, images: np.ndarray) -> None:
        """Before the first request of this run; what the ledger answers needs no check."""
        if self.ledger is None or self.drift_tolerance is None or self._drift_checked:
            return
        if not self.ledger.missing(self._keys([self.payload(image) for image in images])):
            return
        stop = Stop()
        check_drift(
            self.ledger,
            f"{self.fingerprint} {self.request_options}",
            self.payload(watched_image(self.source_shape, self.value_range)),
            self.drift_tolerance,
            lambda keys, some: self._repeated(
                lambda again: self._ask_ledger(keys, some, again, stop), stop
            ),
        )
        self._drift_checked = True

    def _ask_ledger(
        self, keys: list[bytes], payloads: list[bytes], again: bool, stop: Stop
    ) -> np.ndarray:
        def pause(seconds: float) -> None:
            if stop.wait(seconds):
                raise CancelledError

        boxes = np.empty(len(payloads), object)
        boxes[:] = payloads
        asking = Asking(
            may_ask=lambda count: self._may_ask(count, stop),
            check=self._check,
            even_answer=self._even_answer(),
            # Nobody waits a turn for what was paid before.
            look_first=self.rate_limit.per_second is not None,
            pause=pause,
        )
        # There is a ledger, or nobody came here.
        return ask_through_ledger(self.ledger, keys, boxes, asking, payloads, again)  # type: ignore[arg-type]

    @contextmanager
    def _may_ask(self, count: int, stop: Stop) -> Iterator[Callable[[Any], Any]]:
        """Waits for everything that may take long, so that a claim is sent as soon as it is made.

        Args:
            count: images.
            stop: set when nobody wants the answer any more.

        Yields:
            The function that sends them: `payloads` -> the answer as it came.

        Raises:
            CancelledError: if `stop` was set.
        """
        with self._room, self.endpoints.one(stop) as endpoint:
            if self.executor is None:
                with self.endpoints.watched(endpoint):
                    self.prepare(endpoint)
            self.rate_limit.wait(count, stop)
            if stop.is_set():
                raise CancelledError
            yield lambda payloads: self._request_counted(list(payloads), endpoint, stop)

    def _request_counted(self, payloads: list[bytes], endpoint: str, stop: Stop) -> Any:
        if stop.interrupted:
            # While the ledger was written.
            raise NeverSentError("The request was stopped before it was sent.")
        with self._counting:
            self.queries_used += len(payloads)
        with self.endpoints.watched(endpoint):
            if self.executor is None:
                return self.request(payloads, endpoint)
            try:
                return executed(self.executor, stop, _request_of, self, payloads, endpoint)
            except NeverSentError:
                with self._counting:
                    self.queries_used -= len(payloads)
                raise

    def _check(self, answer: Any, num_images: int) -> np.ndarray:
        try:
            scores = self.read(answer)
        except Exception as error:
            said = (
                f"{self.identity} must answer with scores that {type(self).__name__} can read. "
                f"Received: {self._shown(answer)} ({type(error).__name__}: {error})."
            )
            raise ValueError(hide_key(said, self.key_variable)) from None
        try:
            return super()._check(scores, num_images)
        except ValueError as error:
            said = f"{error} The answer was {self._shown(answer)}."
            raise ValueError(hide_key(said, self.key_variable)) from None

    def _shown(self, answer: Any) -> str:
        if isinstance(answer, bytes):
            answer = answer[: 4 * _SHOWN].decode("utf-8", "replace")
        # Before it is cut: half a key is a secret too.
        return hide_key(repr(answer), self.key_variable)[:_SHOWN]

    def __reduce__(self) -> Any:
        # Keras does not set an attribute to the value that its class has.
        fields = {name: getattr(self, name) for name in self.request_fields}
        return _copy_that_requests, (type(self), self._copy_name, fields)


def _results_of(futures: Sequence[Future[np.ndarray]]) -> list[np.ndarray]:
    """All results, or the first error, as soon as there is one."""
    waiting: Any = futures
    while waiting:
        # On Windows Ctrl-C interrupts no wait, but comes through after one.
        done, waiting = wait(futures, timeout=_LOOK_SECONDS, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    return [future.result() for future in futures]


def _request_of(source: RemoteSource, payloads: list[bytes], endpoint: str) -> Any:
    return source.request(payloads, endpoint)


# In an executor's process: one copy of a source, which keeps its connections.
_copies: dict[str, RemoteSource] = {}


def _copy_that_requests(
    kind: type[RemoteSource], name: str, fields: dict[str, Any]
) -> RemoteSource:
    """A copy for another process: it can `request`, and has no ledger, no limits, no layers."""
    if name not in _copies:
        copy = kind.__new__(kind)
        copy.__dict__.update(fields)
        _copies[name] = copy
    return _copies[name]


def check_drift(
    ledger: QueryLedger,
    fingerprint: str,
    payload: bytes,
    tolerance: float,
    ask: Callable[[list[bytes], list[bytes]], np.ndarray],
) -> None:
    """Asks one fixed image again, a query, and compares with the answer of the first run.

    Args:
        ledger: that keeps the first answer.
        fingerprint: of the source.
        payload: the image, encoded; the same in every run.
        tolerance: largest difference of a score that is no drift.
        ask: `(keys, payloads)` -> scores, through the ledger.

    Raises:
        SourceDriftedError: if the answer moved further.
    """
    first = query_key(fingerprint, "watched image", payload)
    is_new = bool(ledger.missing([first]))
    before = ask([first], [payload])[0]
    if is_new:
        return
    again = query_key(fingerprint, f"watched image, {uuid.uuid4()}", payload)
    now = ask([again], [payload])[0]
    moved = np.abs(now - before)
    if moved.max() > tolerance:
        label = int(moved.argmax())
        raise SourceDriftedError(
            f"A source must answer an image as it did before, within {tolerance:g}. Received: "
            f"score {label} is {now[label]:.4g} and was {before[label]:.4g} when the ledger "
            f"{ledger.path} began. The model was exchanged: start a new ledger, or name the old "
            "version of the model."
        )


def watched_image(
    source_shape: tuple[int, int, int], value_range: tuple[float, float]
) -> np.ndarray:
    """The image that is asked in every run: smooth waves, so that JPEG and resizing keep it.

    Args:
        source_shape: `(H, W, C)`.
        value_range: `(low, high)`.

    Returns:
        float32 `(H, W, C)`.
    """
    height, width, channels = source_shape
    low, high = value_range
    rows, columns = (
        np.linspace(0, 3, height)[:, None, None],
        np.linspace(0, 2, width)[None, :, None],
    )
    waves = np.sin(2 * np.pi * (rows + columns + np.arange(channels) / 3))
    return (low + (high - low) * (0.5 + 0.4 * waves)).astype(np.float32)
