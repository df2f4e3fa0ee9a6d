"""HTTPSource: any JSON API that takes images and answers with scores."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import keras

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.errors import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.client import ServiceClient, hide_key, key_from, untrusted
from keras_reprogram.source.remote.remote_source import RemoteSource

_TOO_MANY = 429
# The service gave up a request that it had taken.
_NOBODY_KNOWS = (408, 409, 499)
_HINTS = {
    400: "Check `build_request`: the service does not understand the request.",
    401: "Check the key in the environment.",
    403: "Check the key in the environment and what it may do.",
    404: "Check the URL and the model's name.",
    413: "The images are too large for the service: fewer per request, or JPEG.",
}


def _instances(payloads: list[bytes]) -> dict[str, Any]:
    return {"instances": [{"b64": base64.b64encode(image).decode()} for image in payloads]}


def _predictions(answer: Any) -> Any:
    return answer["predictions"]


@dataclass(frozen=True, kw_only=True)
class HTTPClient(ServiceClient):
    """Posts images to a URL; the answer is the body, as bytes.

    A subclass with another `body` is what `HTTPSource` takes as `client`.

    Args:
        build_request: encoded images -> the request's JSON.
        key_header: the header that carries the key.
        key_prefix: what stands before it there.
        certificates: a file of authorities to trust instead of the system's, or `None`.
        connections: that are kept to each host.
        options: as of `ServiceClient`: `key_variable`, `timeout`.

    Attributes:
        hints: status of HTTP -> what to do about it.

    Example:
    ```python
    from keras_reprogram.source.remote.http_source import HTTPClient

    client = HTTPClient(build_request=lambda images: {"count": len(images)}, timeout=5.0)
    assert client.body([b"a file"])[0] == b'{"count":1}'
    ```
    """

    build_request: Callable[[list[bytes]], Any] = _instances
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    certificates: str | None = None
    connections: int = 8

    hints: ClassVar[dict[int, str]] = _HINTS

    def send(self, payloads: list[bytes], endpoint: str) -> bytes:
        place = shown_url(endpoint)
        content, own = self._checked_body(payloads)
        headers = {"Accept-Encoding": "gzip"} | own | self.authorization(place)
        answer = self.pool(endpoint).post(endpoint, content, headers, place)
        self._check_status(answer, place)
        return answer.content

    def body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        """The request's body and headers.

        Args:
            payloads: encoded images.
        """
        return json_body(self.build_request(payloads))

    def authorization(self, place: str) -> dict[str, str]:
        """The header that carries the key; none without a `key_variable`.

        Args:
            place: what errors call the service.
        """
        if self.key_variable is None:
            return {}
        return {self.key_header: f"{self.key_prefix}{key_from(self.key_variable, place)}"}

    def pool(self, url: str) -> HTTPPool:
        """The connections of this process."""

        def made(stack: ExitStack) -> HTTPPool:
            pool = HTTPPool(
                url, timeout=self.timeout, size=self.connections, certificates=self.certificates
            )
            return stack.enter_context(closing(pool))

        return self.kept("pool", made)

    def _checked_body(self, payloads: list[bytes]) -> tuple[bytes, dict[str, str]]:
        try:
            return self.body(payloads)
        except Exception as error:
            # Nothing has left, so that nothing is billed.
            raise SourceRefusedError(
                f"`build_request` must turn encoded images into JSON. Received: "
                f"{type(error).__name__}: {error}. Correct it; nothing was sent."
            ) from error

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
                f"{place} must answer without a redirect. Received: {status}, a redirect to "
                f"{host}. Pass the URL that it leads to, if you trust it."
            )
        text = answer.content[:2000].decode("utf-8", "replace")
        said = hide_key(text, self.key_variable, 200)
        hint = self.hints.get(status, "See the service's documentation.")
        raise SourceRefusedError(f"{place} refused. Received: {status} {said!r}. {hint}")


@keras.saving.register_keras_serializable(package="keras_reprogram")
class HTTPSource(RemoteSource):
    """A web service that is sent images as JSON and answers with scores as JSON.

    The key is read from the environment when a request leaves, and is nowhere else. TLS is
    verified, redirects are refused, and answers are limited in size.

    Args:
        url: where requests are posted to; a list of URLs for replicas that answer alike.
        source_shape: `(H, W, C)`.
        class_names: names of the scores, in order.
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
        concurrency: requests at a time to a URL.
        client: makes the client that posts, of the arguments above; `None` for `HTTPClient`. Pass
            a subclass of it with a `body` of its own for requests that are no JSON.
        options: as of `RemoteSource`: `value_range`, `identity`, `ledger`, `encoding`,
            `images_per_request`, `queries_per_second`, `retries`, `missing`, ...

    Raises:
        ImportError: if urllib3 is not installed.
        ValueError: for a URL that is none or holds a password, or a key that is not there.

    Example:
    ```python
    from keras_reprogram import HTTPSource, QueryLedger

    source = HTTPSource(
        "http://127.0.0.1:8501/v1/models/signs:predict",
        (32, 32, 3),
        class_names=[f"sign {number}" for number in range(43)],
        value_range=(0, 255),
        identity="signs, version 1",
        ledger=QueryLedger("signs.ledger", budget=10_000, price_per_thousand=1.5),
    )
    assert source.num_labels == 43      # nothing was asked yet
    ```
    """

    client: HTTPClient

    def __init__(
        self,
        url: str | Sequence[str],
        source_shape: tuple[int, int, int],
        class_names: Sequence[str],
        *,
        build_request: Callable[[list[bytes]], Any] | None = None,
        read_answer: Callable[[Any], Any] | None = None,
        key_variable: str | None = None,
        key_header: str = "Authorization",
        key_prefix: str = "Bearer ",
        timeout: float = 30.0,
        certificates: str | None = None,
        concurrency: int = 8,
        client: Callable[..., HTTPClient] | None = None,
        **options: Any,
    ) -> None:
        if hasattr(self, "body"):
            raise TypeError(
                "`body` must be a method of a client. Received: "
                f"{type(self).__name__}.body. Move it to a subclass of `HTTPClient` and pass that "
                "as `client`."
            )
        urls = [checked_url(one) for one in ([url] if isinstance(url, str) else url)]
        options["client"] = (client or HTTPClient)(
            build_request=build_request or _instances,
            key_variable=key_variable,
            key_header=key_header,
            key_prefix=key_prefix,
            timeout=timeout,
            certificates=certificates,
            connections=concurrency,
        )
        super().__init__(
            source_shape, class_names, endpoints=urls, concurrency=concurrency, **options
        )
        self.read_answer = read_answer or _predictions
        # Missing packages and wrong certificates are found before the first request.
        self.client.pool(urls[0])

    def read(self, answer: bytes) -> Any:
        return self.read_answer(json.loads(answer))


def json_body(content: Any) -> tuple[bytes, dict[str, str]]:
    """JSON as `HTTPClient.body` returns it; raises a ValueError for what JSON does not hold."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode(), {"Content-Type": "application/json"}


def checked_url(url: str) -> str:
    """Returns the URL, or raises a ValueError: for one that is none, or holds a password."""
    parts = urlsplit(url)
    if "@" in parts.netloc or ("@" in url and not parts.netloc):
        raise ValueError(
            f"`url` must not hold a password. Received: one for {parts.hostname or 'a host'}. "
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
    """An answer: status, headers that ignore case, and the unpacked body."""

    status: int
    headers: Any
    content: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds that the service asked to wait, or `None`."""
        import urllib3

        try:
            return urllib3.Retry().parse_retry_after(self.headers.get("Retry-After", ""))
        except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
            return None


class HTTPPool:
    """Connections to the hosts of one source. TLS is verified, redirects are not followed.

    The proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`) are used.
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
        """Posts a body; errors call the service `place`."""
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
                raise untrusted(place, error) from error
            raise SourceUnavailableError(f"{place} broke off: {error}") from error
        except failures.HTTPError as error:
            what = f"{type(error).__name__} {error}"
            raise SourceUnavailableError(f"{place} broke off: {what}") from error


def _content(answer: Any) -> bytes:
    """The decompressed body; a note in its place if that fails."""
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
