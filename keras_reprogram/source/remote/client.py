"""ServiceClient: sends requests to a service, in this process or in an executor's."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from keras_reprogram.source.errors import (
    NotBilledError,
    SourceRefusedError,
    SourceUnavailableError,
)


@dataclass(frozen=True, kw_only=True)
class ServiceClient:
    """Sends the requests of a `RemoteSource`.

    A client is a frozen dataclass that can be pickled, so that executors of other processes can
    call `send`. It holds the name of the environment variable of a key, never the key, and no
    connection: each process makes its own when it first needs one, see `kept`.

    Args:
        key_variable: the environment variable that holds the key, or `None`.
        timeout: seconds that a request may take.
        name: copies of one client in other processes have the same name; random unless given.

    Example:
    ```python
    from dataclasses import dataclass

    import numpy as np
    from keras_reprogram.source.remote import RemoteSource, ServiceClient

    @dataclass(frozen=True, kw_only=True)
    class Scanner(ServiceClient):
        factor: float = 1.0

        def send(self, payloads, endpoint):
            return [[0.9 * self.factor, 0.1] for _ in payloads]     # ask the service here

    source = RemoteSource(
        (8, 8, 3), ["cat", "dog"], client=Scanner(), value_range=(0, 255), identity="scanner 1"
    )
    assert source(np.zeros((3, 8, 8, 3))).shape == (3, 2)
    ```
    """

    key_variable: str | None = None
    timeout: float = 30.0
    name: str = field(default_factory=lambda: uuid.uuid4().hex, repr=False)

    def send(self, payloads: list[bytes], endpoint: str) -> Any:
        """Sends encoded images and returns the answer as it came, understood or not.

        Args:
            payloads: at most `images_per_request` of the source.
            endpoint: one of the source's `endpoints`.

        Returns:
            What the source's `read` understands. An executor of other processes pickles it.

        Raises:
            SourceRefusedError: if asking again would be refused again.
            SourceBusyError: if the request was surely not taken; later it may be.
            SourceUnavailableError: if it may be answered later, and may have been billed.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must implement `send(payloads, endpoint)`."
        )

    def prepare(self, endpoint: str) -> None:
        """Asks a service what must be known before the first image is sent; costs no query.

        Args:
            endpoint: one of the source's `endpoints`.

        Raises:
            SourceBusyError: if it may be known later.
        """

    @property
    def request_options(self) -> str:
        """Request settings that change the answer; part of the ledger's key."""
        return ""

    def kept(self, what: str, make: Callable[[ExitStack], Any]) -> Any:
        """The result of `make`, cached for this process, such as a connection.

        Args:
            what: a name, such as an endpoint.
            make: `(ExitStack)` -> anything. Closing the client closes the stack.
        """
        kept = _kept.setdefault((os.getpid(), self.name), _Kept())
        with kept.lock:
            if what not in kept.things:
                kept.things[what] = make(kept.closing)
            return kept.things[what]

    def close(self) -> None:
        """Closes the connections of this process; the next request opens new ones."""
        if kept := _kept.pop((os.getpid(), self.name), None):
            kept.closing.close()


class _Kept:
    """Cached objects of one client in this process."""

    def __init__(self) -> None:
        self.lock, self.closing = threading.RLock(), ExitStack()
        self.things: dict[str, Any] = {}


# Keyed by process and client. Stored here because the client is pickled; a forked process does not
# use its parent's connections.
_kept: dict[tuple[int, str], _Kept] = {}


def key_from(variable: str, service: str) -> str:
    """The key in an environment variable; a `SourceRefusedError` if there is none."""
    if key := os.environ.get(variable, "").strip():
        if not (key.isascii() and key.isprintable()):
            raise SourceRefusedError(
                f"The key in {variable} must be printable ASCII. Received: other characters. "
                "Copy it again."
            )
        return key
    raise SourceRefusedError(
        f"The key of {service} must be in the environment. Received: no {variable}. "
        f"Set it: export {variable}=..."
    )


def hide_key(text: str, variable: str | None, length: int | None = None) -> str:
    """A service's text with the key hidden, cut to `length` characters."""
    key = os.environ.get(variable or "", "").strip()
    # Hidden before it is cut: half a key is a secret too.
    return (text.replace(key, "***") if key else text)[:length]


def untrusted(service: str, said: Any) -> SourceRefusedError:
    """The error for a service whose certificate is not trusted."""
    return SourceRefusedError(
        f"{service} cannot be trusted. Received: {said}. Check the address and the certificates "
        "of this machine."
    )


def check_images(failures: Sequence[Exception | None]) -> None:
    """Raises an error that all images of a request share; `read` reports single failures."""
    failed = [one for one in failures if one is not None]
    if failed and len(failed) == len(failures):
        raise next((one for one in failed if not isinstance(one, NotBilledError)), failed[0])
    if any(isinstance(one, SourceUnavailableError) for one in failed):
        # Never busy or refused: the others are billed.
        raise SourceUnavailableError(f"{len(failed)} of {len(failures)} images failed: {failed[0]}")


def check_images_per_request(options: dict[str, Any], most: int, service: str) -> None:
    """Raises a ValueError if more images are to go into a request than a service takes."""
    if (wanted := options.get("images_per_request", 1)) > most:
        images = "one image" if most == 1 else f"at most {most} images"
        raise ValueError(
            f"{service} takes {images} per request. Received: images_per_request={wanted}. Pass "
            "a smaller one and more `concurrency`."
        )
