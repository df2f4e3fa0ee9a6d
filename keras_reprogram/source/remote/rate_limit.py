"""RateLimit: no more than so many queries a second, over all threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError


class RateLimit:
    """Spaces queries evenly; a thread that comes early waits until its turn.

    Args:
        per_second: queries, or `None` for no limit.
    """

    def __init__(self, per_second: float | None) -> None:
        if per_second is not None and not per_second > 0:
            raise ValueError(
                f"`queries_per_second` must be above 0. Received: {per_second}. Pass None for no "
                "limit."
            )
        self.per_second = per_second
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self, count: int, stop: threading.Event) -> None:
        """Returns when `count` queries may leave.

        A turn is taken when it has come: whoever goes away while waiting leaves no gap.

        Args:
            count: queries of one request.
            stop: set when nobody wants them any more.

        Raises:
            CancelledError: if `stop` was set while this waited.
        """
        came = time.monotonic()
        if self.per_second is None:
            return
        lasts = count / self.per_second
        while (left := self._until_taken(lasts, came)) > 0.0:
            if stop.wait(left):
                raise CancelledError

    def _until_taken(self, lasts: float, came: float) -> float:
        """Seconds until the next turn; 0 or less if it was taken."""
        with self._lock:
            turn = max(self._next, came)
            left = turn - time.monotonic()
            if left <= 0.0:
                self._next = turn + lasts
            return left
