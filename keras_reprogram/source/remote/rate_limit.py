"""RateLimit: no more than so many queries a second, over all threads."""

from __future__ import annotations

import threading
import time


class RateLimit:
    """Spaces queries evenly; a thread that comes early sleeps until its turn.

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

    def wait(self, count: int) -> None:
        """Returns when `count` queries may leave.

        Args:
            count: queries of one request.
        """
        if self.per_second is None:
            return
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + count / self.per_second
        time.sleep(max(0.0, turn - time.monotonic()))
