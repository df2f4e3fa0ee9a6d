"""Faults: what a fake service does wrong, to order."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Iterable, Sequence

Fault = int | str | tuple[int, dict[str, str]] | None

# What a client may not blame on the answer: each is told from a wrong answer.
TRANSPORT_FAULTS: tuple[Fault, ...] = (
    429,
    (429, {"Retry-After": "0"}),
    500,
    503,
    "reset",
    "drip",
)
MALFORMED_ANSWERS: tuple[Fault, ...] = ("truncated", "wrong labels", "nan")


class Faults:
    """One fault a request, or none: from a list, then from a share of all requests.

    A fault is a status (429, 500, 503, ...), `(status, headers)`, or a word. `"reset"`: the image
    is billed, the connection breaks before the answer. `"drip"`: the answer comes in small pieces.
    `"truncated"`, `"wrong labels"`, `"nan"`: billed, and the answer is malformed.

    Args:
        listed: taken one a request, first to last.
        share: of the requests after those, between 0 and 1, that get one of `kinds`.
        kinds: what is drawn from.
        seed: of the draw.

    Raises:
        ValueError: for a share outside 0 to 1, or a word that is none.

    Example:
    ```python
    from keras_reprogram.testing import Faults

    faults = Faults([503, "reset"])
    assert [faults.take() for _ in range(3)] == [503, "reset", None]
    ```
    """

    def __init__(
        self,
        listed: Iterable[Fault] = (),
        *,
        share: float = 0.0,
        kinds: Sequence[Fault] = TRANSPORT_FAULTS,
        seed: int = 0,
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"`share` must be from 0 to 1. Received: {share}.")
        words: set[str] = {"reset", "drip", *map(str, MALFORMED_ANSWERS)}
        self.left = deque(listed)
        for fault in (*self.left, *kinds):
            if isinstance(fault, str) and fault not in words:
                raise ValueError(f"A fault must be one of {sorted(words)}. Received: {fault!r}.")
        self.share, self.kinds = share, tuple(kinds)
        self._random, self._lock = random.Random(seed), threading.Lock()

    def take(self) -> Fault:
        """The fault of the next request, or `None`."""
        with self._lock:
            if self.left:
                return self.left.popleft()
            if self._random.random() < self.share:
                return self._random.choice(self.kinds)
            return None
