"""HTTPSource: any JSON API that takes images and answers with scores."""

from __future__ import annotations

import base64
import json
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import keras
import numpy as np

from keras_reprogram.source.remote.failures import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.remote_source import RemoteSource, needs_extra

_LARGEST_ANSWER = 16 * 2**20
_TOO_MANY = 429
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
        url: where requests are posted to.
        source_shape: `(H, W, C)`.
        labels: names of the scores, in order.
        build_request: encoded images -> the request's JSON. `None` for TF Serving's
            `{"instances": [{"b64": ...}, ...]}`.
        read_answer: the answer's JSON -> one row of scores an image. `None` for TF Serving's
            `{"predictions": [[...], ...]}`; see `named_scores` for lists of names and scores.
        key_variable: the environment variable that holds the key, or `None`.
        key_header: the header that carries it.
        key_prefix: what stands before it there.
        timeout: seconds that a request may take.
        transport: an `httpx` transport, for tests and proxies.
        options: as of `RemoteSource`: `value_range`, `identity`, `ledger`, `encoding`,
            `images_per_request`, `concurrency`, `queries_per_second`, `retries`, ...

    Raises:
        ImportError: if httpx is not installed.
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

    def __init__(
        self,
        url: str,
        source_shape: tuple[int, int, int],
        labels: Sequence[str],
        *,
        build_request: Callable[[list[bytes]], Any] | None = None,
        read_answer: Callable[[Any], Any] | None = None,
        key_variable: str | None = None,
        key_header: str = "Authorization",
        key_prefix: str = "Bearer ",
        timeout: float = 30.0,
        transport: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(source_shape, labels, **options)
        self.url = _checked_url(url)
        self.build_request = build_request or _instances
        self.read_answer = read_answer or _predictions
        self.key_variable, self.key_header, self.key_prefix = key_variable, key_header, key_prefix
        with needs_extra("httpx", "http"):
            import httpx
        self._client = httpx.Client(timeout=timeout, follow_redirects=False, transport=transport)
        weakref.finalize(self, self._client.close)

    def request(self, payloads: list[bytes]) -> bytes:
        """Posts images; the answer's bytes, whatever they say.

        Args:
            payloads: encoded images.
        """
        import httpx

        try:
            with self._client.stream(
                "POST", self.url, json=self.build_request(payloads), headers=self._headers()
            ) as answer:
                self._check_status(answer)
                return _limited(answer.iter_bytes())
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            if "certificate" in str(error).lower() or "ssl" in str(error).lower():
                raise SourceRefusedError(
                    f"{self._place()} cannot be trusted. Received: {error}. Check the URL and the "
                    "certificates of this machine."
                ) from error
            raise SourceBusyError(f"{self._place()} cannot be reached: {error}") from error
        except httpx.TransportError as error:
            what = f"{type(error).__name__} {error}".strip()
            raise SourceUnavailableError(f"{self._place()} broke off: {what}") from error

    def _check(self, answer: Any, num_images: int) -> np.ndarray:
        try:
            scores = self.read_answer(json.loads(answer))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            shown = bytes(answer[:200]).decode("utf-8", "replace")
            raise ValueError(
                f"{self._place()} must answer with JSON that `read_answer` understands. Received: "
                f"{shown!r} ({type(error).__name__}: {error}). Check `read_answer`, or the service."
            ) from error
        return super()._check(scores, num_images)

    def _check_status(self, answer: Any) -> None:
        status = answer.status_code
        if status < 300:
            return
        if status == _TOO_MANY:
            raise SourceBusyError(f"{self._place()} is asked too fast (429)", _wait_of(answer))
        if status >= 500:
            raise SourceUnavailableError(f"{self._place()} failed ({status})", _wait_of(answer))
        if status < 400:
            host = urlsplit(answer.headers.get("location", "")).hostname or "nowhere"
            raise SourceRefusedError(
                f"{self._place()} must answer itself. Received: {status}, a redirect to {host}. "
                "Pass the URL that it leads to, if you trust it."
            )
        said = _limited(answer.iter_bytes())[:200].decode("utf-8", "replace")
        hint = _HINTS.get(status, "See the service's documentation.")
        raise SourceRefusedError(
            f"{self._place()} refused. Received: {status} {self._hidden(said)!r}. {hint}"
        )

    def _headers(self) -> dict[str, str]:
        if self.key_variable is None:
            return {}
        return {self.key_header: f"{self.key_prefix}{self._key()}"}

    def _key(self) -> str:
        key = os.environ.get(self.key_variable or "")
        if not key:
            raise SourceRefusedError(
                f"The key of {self._place()} must be in the environment. Received: no "
                f"{self.key_variable}. Set it: export {self.key_variable}=..."
            )
        return key

    def _hidden(self, text: str) -> str:
        """A service may repeat the key that it refuses."""
        key = os.environ.get(self.key_variable or "")
        return text.replace(key, "***") if key else text

    def _place(self) -> str:
        """The URL without its query, which may hold secrets."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"


def named_scores(
    pairs: Sequence[tuple[str, float]], labels: Sequence[str], missing: float = 0.0
) -> list[float]:
    """One row of scores from names and scores, as services list them.

    Args:
        pairs: `(name, score)`, in any order; labels that are not listed are missing.
        labels: the declared names.
        missing: the score of a label that is not listed: below the threshold, or beyond the top k.

    Returns:
        Scores in the order of `labels`.

    Raises:
        ValueError: for a name that is not declared.

    Example:
    ```python
    from keras_reprogram.source.remote import named_scores

    assert named_scores([("dog", 0.9)], ["cat", "dog"]) == [0.0, 0.9]
    ```
    """
    found = dict(pairs)
    if unknown := sorted(set(found) - set(labels)):
        raise ValueError(
            f"Expected the labels {', '.join(labels[:8])}. Received: {', '.join(unknown[:8])}."
        )
    return [float(found.get(label, missing)) for label in labels]


def _instances(payloads: list[bytes]) -> dict[str, Any]:
    return {"instances": [{"b64": base64.b64encode(image).decode()} for image in payloads]}


def _predictions(answer: Any) -> Any:
    return answer["predictions"]


def _limited(chunks: Any) -> bytes:
    content = b""
    for chunk in chunks:
        content += chunk
        if len(content) > _LARGEST_ANSWER:
            raise SourceRefusedError(
                f"An answer may have {_LARGEST_ANSWER:,} bytes. Received: more. Is this the right "
                "URL?"
            )
    return content


def _wait_of(answer: Any) -> float | None:
    """Seconds of a `Retry-After` header; dates are left to our own waits."""
    value = answer.headers.get("retry-after", "")
    return float(value) if value.strip().isdigit() else None


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`url` must begin with http:// or https://. Received: {url!r}.")
    if parts.username or parts.password:
        raise ValueError(
            f"`url` must not hold a password. Received: one for {parts.hostname}. Put it into an "
            "environment variable and pass its name as `key_variable`."
        )
    return url
