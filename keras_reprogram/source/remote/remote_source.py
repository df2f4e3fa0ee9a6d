"""RemoteSource: base class of services: encoding, concurrency, limits, retries, the ledger."""

from __future__ import annotations

import uuid
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor
from contextlib import contextmanager
from typing import Any

import numpy as np

from keras_reprogram.arguments import check_channels_last
from keras_reprogram.source.errors import NeverSentError, SourceDriftedError
from keras_reprogram.source.ledger.paid_queries import Asking, ask_through_ledger
from keras_reprogram.source.ledger.query_ledger import QueryLedger, query_key
from keras_reprogram.source.python_source import PythonSource
from keras_reprogram.source.remote.client import ServiceClient, hide_key
from keras_reprogram.source.remote.dispatch import Dispatcher, Stop
from keras_reprogram.source.remote.payloads import (
    ENCODINGS,
    check_missing,
    encode_image,
    named_scores,
)

_SHOWN = 300


class RemoteSource(PythonSource):
    """A service that is sent encoded images and answers with scores.

    Images are sent in requests of `images_per_request`, `concurrency` at a time to each endpoint.
    A request that fails in a way that may pass is repeated, at another endpoint or after a random,
    growing wait, or the wait that the service asked for. With a ledger each repetition is an
    attempt of its own, and what was answered is never sent again. A `ServiceClient` talks; `read`,
    which a subclass may implement, understands.

    Args:
        source_shape: `(H, W, C)`.
        class_names: names of the scores, in order.
        value_range: `(low, high)` of the pixels that callers send; encoded as 8 bits.
        identity: a string that names the service and its version.
        client: a `ServiceClient`, whose `send` talks to the service.
        ledger: a `QueryLedger`, or `None`.
        encoding: `"png"` or `"jpeg"`. PNG loses nothing but the rounding to 8 bits.
        images_per_request: at most.
        concurrency: requests at a time to an endpoint.
        queries_per_second: that the service allows, over all endpoints, or `None`.
        retries: repetitions of a request that failed in a way that may pass.
        endpoints: addresses of replicas that give the same answers.
        missing: score of a label that an answer does not list, as of `named_scores`.
        ignore_undeclared: leave names in answers out that `class_names` does not have.
        drift_tolerance: with a ledger, ask one fixed image in each run that sends something, and
            stop if a score of it moved further than this since the ledger began; `None` asks
            nothing.
        executor: calls `client.send` instead of threads of this process: any
            `concurrent.futures.Executor`, those of Dask and Ray too. Ledger, limits and retries
            stay here. What waits in its queue stands in the ledger as sent: let it have as many
            workers as there may be requests in flight (a pool of Python's with fewer is never
            given more than it has).
        options: as of `PythonSource`: `score_kind`, `score_step`, `sum_tolerance`, `name`.

    Raises:
        ImportError: if tenacity is not installed.
        ValueError: for wrong arguments.
    """

    rounds_images = True
    # The environment variable that holds the service's key, which no error may show.
    key_variable: str | None = None
    # What a subclass with a `request` of its own needs in another process; see `request`.
    request_fields: tuple[str, ...] = ()
    client: ServiceClient

    def __init__(
        self,
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        value_range: tuple[float, float],
        identity: str,
        client: ServiceClient | None = None,
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
                "`images_per_request` and `concurrency` must be at least 1, and `retries` at "
                f"least 0. Received: {images_per_request}, {concurrency}, {retries}."
            )
        way = "and let the service transpose the images, or write your own source that does"
        check_channels_last("source_shape", source_shape, way)
        super().__init__(
            source_shape,
            len(class_names),
            value_range=value_range,
            class_names=class_names,
            **options,
        )
        self.identity, self.ledger, self.encoding = identity, ledger, encoding
        self.images_per_request = images_per_request
        self.missing = check_missing(missing, unit_range=self.score_kind == "independent")
        self.ignore_undeclared = ignore_undeclared
        self.drift_tolerance, self._drift_checked = drift_tolerance, False
        self.client = client or ServiceClient()
        self.key_variable = self.client.key_variable or type(self).key_variable
        self.dispatcher = Dispatcher(endpoints, concurrency, queries_per_second, retries, executor)
        weakref.finalize(self, self.client.close)
        if _requests_itself(type(self)):
            warnings.warn(
                f"A source should send its requests through a client. Received: "
                f"{type(self).__name__}.request, which the next version will not call. Make it "
                "`send` of a `ServiceClient` and pass `client=`.",
                DeprecationWarning,
                stacklevel=2,
            )

    def request(self, payloads: list[bytes], endpoint: str) -> Any:
        """`client.send`. Deprecated: a subclass that implements it should pass a client."""
        return self.client.send(payloads, endpoint)

    def prepare(self, endpoint: str) -> None:
        """`client.prepare`: asks what must be known before the first image; costs no query."""
        self.client.prepare(endpoint)

    def read(self, answer: Any) -> Any:
        """Rows of scores of an answer; raises what Python raises if it is not understood.

        Args:
            answer: what `client.send` returned.
        """
        return answer

    def row_of(self, pairs: Any) -> list[float]:
        """Scores in the order of `class_names` from `(name, score)` pairs; see `named_scores`."""
        return named_scores(
            pairs,
            self.class_names or (),
            missing=self.missing,
            ignore_undeclared=self.ignore_undeclared,
        )

    @property
    def request_options(self) -> str:
        """Request settings that change the answer; part of the ledger's key."""
        return self.client.request_options

    @property
    def fingerprint(self) -> str:
        reading = f"{self.class_names} {self.missing} {self.ignore_undeclared}"
        return query_key(self.identity, f"{self.encoding} {reading}", b"").hex()

    def payload(self, image: np.ndarray) -> bytes:
        return encode_image(image, self.value_range, self.encoding)

    def _answer_all(self, images: np.ndarray) -> np.ndarray:
        self._check_drift(images)
        starts = range(0, len(images), self.images_per_request)
        parts = [images[start : start + self.images_per_request] for start in starts]
        return np.concatenate(self.dispatcher.results(parts, self._answer_part))

    def _answer_part(self, images: np.ndarray, stop: Stop) -> np.ndarray:
        """Scores of one request's images; repeated while that may help."""
        # Encoded here, while other requests are in flight.
        payloads = [self.payload(image) for image in images]
        return self.dispatcher.repeated(
            lambda again: self._answer_once(payloads, again, stop), stop
        )

    def _answer_once(self, payloads: list[bytes], again: bool, stop: Stop) -> np.ndarray:
        if self.ledger is not None:
            return self._ask_ledger(self.ledger, self._keys(payloads), payloads, again, stop)
        with self._may_ask(len(payloads), stop) as ask:
            answer = ask(payloads)
        return self._check(answer, len(payloads))

    def _keys(self, payloads: list[bytes]) -> list[bytes]:
        fingerprint, options = self.fingerprint, self.request_options
        return [query_key(fingerprint, options, payload) for payload in payloads]

    def _check_drift(self, images: np.ndarray) -> None:
        """Checks for drift before the first request of this run."""
        ledger = self.ledger
        if ledger is None or self.drift_tolerance is None or self._drift_checked:
            return
        if self.answers_at_random:
            return
        if not ledger.missing(self._keys([self.payload(image) for image in images])):
            return
        stop = Stop()
        check_drift(
            ledger,
            f"{self.fingerprint} {self.request_options}",
            self.payload(watched_image(self.source_shape, self.value_range)),
            self.drift_tolerance,
            lambda keys, some: self.dispatcher.repeated(
                lambda again: self._ask_ledger(ledger, keys, some, again, stop), stop
            ),
        )
        self._drift_checked = True

    def _ask_ledger(
        self,
        ledger: QueryLedger,
        keys: list[bytes],
        payloads: list[bytes],
        again: bool,
        stop: Stop,
    ) -> np.ndarray:
        def pause(seconds: float) -> None:
            if stop.wait(seconds):
                raise CancelledError

        asking = Asking(
            ledger,
            may_ask=lambda count: self._may_ask(count, stop),
            check=self._check,
            even_answer=self._even_answer(),
            again=again,
            # Answers that were paid for before need no turn.
            look_first=self.dispatcher.rate_limit.per_second is not None,
            pause=pause,
        )
        return ask_through_ledger(asking, keys, payloads, payloads)

    @contextmanager
    def _may_ask(self, count: int, stop: Stop) -> Iterator[Callable[[Any], Any]]:
        """Waits for a turn; yields the function that sends payloads."""
        with self.dispatcher.turn(count, self.prepare, stop) as endpoint:
            yield lambda payloads: self._send_counted(payloads, endpoint, stop)

    def _send_counted(self, payloads: list[bytes], endpoint: str, stop: Stop) -> Any:
        if stop.interrupted:
            # While the ledger was written.
            raise NeverSentError("The request was stopped before it was sent.")
        with self._counting:
            self.queries_used += len(payloads)
        send = _Requests(self) if _requests_itself(type(self)) else self.client.send
        try:
            return self.dispatcher.send(send, payloads, endpoint, stop)
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
        return hide_key(repr(answer), self.key_variable, _SHOWN)


def _requests_itself(kind: type[RemoteSource]) -> bool:
    """Whether a subclass implements the deprecated `request`."""
    return kind.request is not RemoteSource.request


class _Requests:
    """A picklable `source.request` for executors of other processes."""

    def __init__(self, source: RemoteSource) -> None:
        self.source = source

    def __call__(self, payloads: list[bytes], endpoint: str) -> Any:
        return self.source.request(payloads, endpoint)

    def __reduce__(self) -> Any:
        names = ("client", "key_variable", *self.source.request_fields)
        fields = {name: getattr(self.source, name) for name in names}
        return _requests_here, (type(self.source), self.source.client.name, fields)


_copies: dict[str, _Requests] = {}


def _requests_here(kind: type[RemoteSource], name: str, fields: dict[str, Any]) -> _Requests:
    if name not in _copies:
        copy = kind.__new__(kind)
        copy.__dict__.update(fields)
        _copies[name] = _Requests(copy)
    return _copies[name]


def check_drift(
    ledger: QueryLedger,
    fingerprint: str,
    payload: bytes,
    tolerance: float,
    ask: Callable[[list[bytes], list[bytes]], np.ndarray],
) -> None:
    """Asks one fixed image, a query: a SourceDriftedError if the first run's answer was another."""
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
            f"A source must give an image the same scores as before, within {tolerance:g}. "
            f"Received: "
            f"score {label} is {now[label]:.4g} and was {before[label]:.4g} when the ledger "
            f"{ledger.path} began. The model was replaced: start a new ledger, or name the old "
            "version of the model."
        )


def watched_image(
    source_shape: tuple[int, int, int], value_range: tuple[float, float]
) -> np.ndarray:
    """The image of every run, float32: smooth waves, so that JPEG and resizing keep it."""
    height, width, channels = source_shape
    low, high = value_range
    rows = np.linspace(0, 3, height)[:, None, None]
    columns = np.linspace(0, 2, width)[None, :, None]
    waves = np.sin(2 * np.pi * (rows + columns + np.arange(channels) / 3))
    return (low + (high - low) * (0.5 + 0.4 * waves)).astype(np.float32)
