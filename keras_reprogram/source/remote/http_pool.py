"""HTTPPool: kept connections, over which requests are posted and answers read with bounds."""

from __future__ import annotations

import email.utils
import ssl
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from keras_reprogram.source.remote.extras import needs_extra
from keras_reprogram.source.remote.failures import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)

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
