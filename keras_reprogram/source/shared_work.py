"""SharedWork: independent calls of native code, done by several threads."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# Pixel values of one part of a call: what a network's layers compute stays in a processor's cache.
_MOST_VALUES = 400_000
# Fewer are not worth another thread.
_LEAST_VALUES = 25_000


class SharedWork:
    """Shares work among the calling thread and helpers.

    Args:
        threads: threads that work for one caller. More callers bring their own thread each, and
            share the helpers: the work uses `threads + callers - 1` threads at most.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._helpers = threading.Semaphore(threads - 1)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """`function` of each item, in their order; the first error ends the work and is raised."""
        answers: list[Any] = [None] * len(items)
        waiting = deque(enumerate(items))

        def work() -> None:
            try:
                while (task := _next(waiting)) is not None:
                    place, item = task
                    answers[place] = function(item)
            except BaseException:
                waiting.clear()
                raise

        helpers = self._take_helpers(min(self.threads, len(items)) - 1)
        try:
            if not helpers:
                work()
                return answers
            with ThreadPoolExecutor(helpers) as threads:
                helping = [threads.submit(work) for _ in range(helpers)]
                work()
                for helper in helping:
                    helper.result()
        finally:
            for _ in range(helpers):
                self._helpers.release()
        return answers

    def images_a_part(self, count: int, image_shape: tuple[int, ...]) -> int:
        """How many of a call's `count` images one thread takes at a time."""
        values = math.prod(image_shape)
        most, least = (max(1, limit // values) for limit in (_MOST_VALUES, _LEAST_VALUES))
        return min(most, max(least, math.ceil(count / self.threads)))

    def _take_helpers(self, wanted: int) -> int:
        """How many helpers are free for this call, `wanted` at most."""
        taken = 0
        while taken < wanted and self._helpers.acquire(blocking=False):
            taken += 1
        return taken


def _next(waiting: deque[Any]) -> Any:
    try:
        return waiting.popleft()
    except IndexError:
        return None
