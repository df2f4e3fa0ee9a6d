"""HTTPSource: any JSON API that takes images and answers with scores."""

from __future__ import annotations

import base64
import email.utils
import json
import ssl
import time
import urllib.request
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import keras

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.errors import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.payloads import hide_key, key_from
from keras_reprogram.source.remote.remote_source import RemoteSource

_TOO_MANY = 429
# The service gave up a request that it had taken.
_NOBODY_KNOWS = (408, 409, 499)
_HINTS = {
    400: "Check `build_request`: the service does not understand the request.",
    401: "Check the key in the environment.",
    403: "Check the key in the environment and what it may do.",
    404: "Check the URL and the model's name.",
    413: "The images are too large for the service: fewer a request, or JPEG.",
}


@keras.saving.register_keras_serializable(package="keras_reprogram")
class HTTPSource(RemoteSource):
    """A web service that is sent images as JSON and answers with scores as JSON.

    The key is read from the environment when a request leaves, and is nowhere else. TLS is
    verified, redirects are refused, and answers are limited in size.

    Args:
        url: where requests are posted to; a list of URLs for replicas that answer alike.
        source_shape: `(H, W, C)`.
        labels: names of the scores, in order.
        build_request: encoded images -> the request's JSON. `None` for TF Serving's
            `{"instances": [{"b64": ...}, ...]}`.
        read_answer: the answer's JSON -> one row of scores an image. `None` for TF Serving's
            `{"predictions": [[...], ...]}`; see `named_scores` for lists of names and scores.
            A ledger knows requests by `identity`: change it when either of the two changes.
        key_variable: the environment variable that holds the key, or `None`.
        key_header: the header that carries it.
        key_prefix: what stands before it there.
        timeout: seconds without a sign of life of the service.
        certificates: a file of authorities to trust instead of the system's, or `None`.
        options: as of `RemoteSource`: `value_range`, `identity`, `ledger`, `encoding`,
            `images_per_request`, `concurrency`, `queries_per_second`, `retries`, `missing`, ...

    Raises:
        ImportError: if urllib3 is not installed.
        ValueError: for a URL that is none or holds a password, or a key that is not there.

    Example:
    ```python
    from keras_reprogram import HTTPSource, QueryLedger

    source = HTTPSource(
        "http://127.0.0.1:8501/v1/models/signs:predict",
        (32, 32, 3),
        labels=[f"sign {number}" for number in range(43)],
        value_range=(0, 255),
        identity="signs, version 1",
        ledger=QueryLedger("signs.ledger", budget=10_000, price_per_thousand=1.5),
    )
    assert source.num_labels == 43      # nothing was asked yet
    ```
    """

    hints = _HINTS
    request_fields: tuple[str, ...] = (
        "build_request", "key_variable", "key_header", "key_prefix", "timeout", "certificates"
    )  # fmt: skip

    def __init__(
        self,
        url: str | Sequence[str],
        source_shape: tuple[int, int, int],
        labels: Sequence[str],
        *,
        build_request: Callable[[list[bytes]], Any] | None = None,
        read_answer: Callable[[Any], Any] | None = None,
        key_variable: str | None = None,
        key_header: str = "Authorization",
        key_prefix: str = "Bearer ",
        timeout: float = 30.0,
        certificates: str | None = None,
        **options: Any,
    ) -> None:
        urls = [checked_url(one) for one in ([url] if isinstance(url, str) else url)]
        super().__init__(source_shape, labels, endpoints=urls, **options)
        self.build_request = build_request or _instances
        self.read_answer = read_answer or _predictions
        self.key_variable, self.key_header, self.key_prefix = key_variable, key_header, key_prefix
        self.timeout, self.certificates = timeout, certificates
        weakref.finalize(self, self._pool(urls[0]).close)

    def request(self, payloads: list[bytes], endpoint: str) -> bytes:
        """Posts images; the answer's bytes, whatever they say.

        Args:
            payloads: encoded images.
            endpoint: the URL.
        """
        place = shown_url(endpoint)
        content, own = self._checked_body(payloads)
        headers = {"Accept-Encoding": "gzip"} | own | self._headers(place)
        answer = self._pool(endpoint).post(endpoint, content, headers, place)
        self._check_status(answer, place)
        return answer.content

    def body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        """What is posted, and the headers that say what it is.

        Args:
            payloads: encoded images.
        """
        return json_body(self.build_request(payloads))

    def _checked_body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        try:
            return self.body(payloads)
        except Exception as error:
            # Nothing has left, so that nothing is billed.
            raise SourceRefusedError(
                f"`build_request` must turn encoded images into JSON. Received: "
                f"{type(error).__name__}: {error}. Correct it; nothing was sent."
            ) from error

    def read(self, answer: bytes) -> Any:
        return self.read_answer(json.loads(answer))

    def _pool(self, url: str) -> HTTPPool:
        """One a process; a copy that an executor works with makes its own."""
        pool = self.__dict__.get("_http_pool")
        if pool is None:
            # As many connections as there are requests in flight.
            size = self.endpoints.at_a_time if "endpoints" in self.__dict__ else 1
            pool = HTTPPool(url, timeout=self.timeout, size=size, certificates=self.certificates)
            self.__dict__["_http_pool"] = pool
        return pool

    def _check_status(self, answer: Posted, place: str) -> None:
        status = answer.status
        if status < 300:
            return
        if status == _TOO_MANY:
            raise SourceBusyError(f"{place} is asked too fast (429)", answer.retry_after)
        if status >= 500 or status in _NOBODY_KNOWS:
            raise SourceUnavailableError(f"{place} failed ({status})", answer.retry_after)
        if status < 400:
            host = urlsplit(answer.headers.get("location", "")).hostname or "nowhere"
            raise SourceRefusedError(
                f"{place} must answer itself. Received: {status}, a redirect to {host}. "
                "Pass the URL that it leads to, if you trust it."
            )
        text = answer.content[:2000].decode("utf-8", "replace")
        # Hidden before it is cut: half a key is a secret too.
        said = hide_key(text, self.key_variable)[:200]
        hint = self.hints.get(status, "See the service's documentation.")
        raise SourceRefusedError(f"{place} refused. Received: {status} {said!r}. {hint}")

    def _headers(self, place: str) -> dict[str, str]:
        if self.key_variable is None:
            return {}
        return {self.key_header: f"{self.key_prefix}{key_from(self.key_variable, place)}"}


def _instances(payloads: list[bytes]) -> dict[str, Any]:
    return {"instances": [{"b64": base64.b64encode(image).decode()} for image in payloads]}


def _predictions(answer: Any) -> Any:
    return answer["predictions"]


def json_body(content: Any) -> tuple[bytes, dict[str, str]]:
    """JSON as `HTTPSource.body` returns it; raises a ValueError for what JSON does not hold.

    Args:
        content: of the request.
    """
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode(), {"Content-Type": "application/json"}


def checked_url(url: str) -> str:
    """Returns the URL, or raises a ValueError: for one that is none, or holds a password."""
    parts = urlsplit(url)
    if "@" in parts.netloc or ("@" in url and not parts.netloc):
        raise ValueError(
            f"`url` must not hold a password. Received: one for {parts.hostname or 'somebody'}. "
            "Put it into an environment variable and pass its name as `key_variable`."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`url` must begin with http:// or https://. Received: {url!r}.")
    return url


def shown_url(url: str) -> str:
    """A URL without its query, which may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


_LARGEST_ANSWER = 16 * 2**20
_CHUNK = 2**16


@dataclass(frozen=True)
class Posted:
    """What came back.

    Attributes:
        status: of HTTP.
        headers: a mapping that ignores case.
        content: the body, unpacked.
    """

    status: int
    headers: Any
    content: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds that the service asked to wait, or `None`."""
        value = self.headers.get("Retry-After", "").strip()
        if value.isdigit():
            return float(value)
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        return max(0.0, moment.timestamp() - time.time())


class HTTPPool:
    """Connections to the hosts of one source. TLS is verified, redirects are not followed.

    The proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`) are used.

    Args:
        url: one of the source's.
        timeout: seconds without a sign of life.
        size: connections that are kept to each host.
        certificates: a file of authorities to trust instead of the system's, or `None`.

    Raises:
        ImportError: if urllib3 is not installed.
        ValueError: for certificates that cannot be read.
    """

    def __init__(
        self, url: str, *, timeout: float, size: int, certificates: str | Path | None = None
    ) -> None:
        with needs_extra("urllib3", "http"):
            import urllib3
        options: dict[str, Any] = {
            "timeout": urllib3.Timeout(connect=timeout, read=timeout),
            "retries": False,
            "maxsize": size,
            "ssl_context": _trust(certificates),
        }
        parts = urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme)
        if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
            self._manager: Any = urllib3.ProxyManager(proxy, **options)
        else:
            self._manager = urllib3.PoolManager(**options)
        self.close = self._manager.clear

    def post(self, url: str, content: bytes, headers: dict[str, str], place: str) -> Posted:
        """Posts a body.

        Args:
            url: where to.
            content: the body.
            headers: of the request.
            place: what errors call the service.

        Raises:
            SourceRefusedError: if the service's certificate is not trusted.
            SourceBusyError: if no connection was made.
            SourceUnavailableError: if the service may have taken the request.
        """
        import urllib3

        failures = urllib3.exceptions
        try:
            answer = self._manager.request(
                "POST", url, body=content, headers=headers, redirect=False, preload_content=False
            )
            return Posted(answer.status, answer.headers, _content(answer))
        except (failures.NewConnectionError, failures.ConnectTimeoutError) as error:
            raise SourceBusyError(f"{place} cannot be reached: {error}") from error
        except failures.SSLError as error:
            if "certificate" in str(error).lower():
                raise SourceRefusedError(
                    f"{place} cannot be trusted. Received: {error}. Check the URL and the "
                    "certificates of this machine."
                ) from error
            raise SourceUnavailableError(f"{place} broke off: {error}") from error
        except failures.HTTPError as error:
            what = f"{type(error).__name__} {error}"
            raise SourceUnavailableError(f"{place} broke off: {what}") from error


def _content(answer: Any) -> bytes:
    """The body, however it is packed; what cannot be unpacked comes back as a note of that."""
    import urllib3

    packed = answer.headers.get("content-encoding", "identity").strip().lower()
    if packed not in ("identity", "gzip"):
        # Others unpack without bounds. It came, and was billed: `read` refuses it.
        answer.close()
        return f"an answer packed as {packed}".encode()
    content = b""
    try:
        for chunk in answer.stream(_CHUNK):
            content += chunk
            if len(content) > _LARGEST_ANSWER:
                answer.close()
                # Not one of ours: this answer may have been billed, the next would be as large.
                raise RuntimeError(
                    f"An answer may have {_LARGEST_ANSWER:,} bytes. Received: more. Is this the "
                    "right URL?"
                )
    except urllib3.exceptions.DecodeError as error:
        answer.close()
        # It came, and was billed; `read` cannot read it either.
        return f"unreadable ({error})".encode()
    answer.release_conn()
    return content


def _trust(certificates: str | Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=certificates and str(certificates))
    except (OSError, ssl.SSLError) as error:
        raise ValueError(
            "`certificates` must be a file of certificates in PEM form. Received: "
            f"{str(certificates)!r} ({error}). Pass the authority that signed the service's."
        ) from error
