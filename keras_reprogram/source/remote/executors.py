"""Requests that an executor sends: when they have surely not left."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from typing import Any

from keras_reprogram.source.remote.failures import NeverSentError, SourceRefusedError
from keras_reprogram.source.remote.stop import Stop

# Their futures are waiting, running or done, and what waits can be called back. Others, such as
# Dask's, let themselves be cancelled while the request is under way.
_OF_PYTHON = (ThreadPoolExecutor, ProcessPoolExecutor)
_LOOK_SECONDS = 0.1


def executed(executor: Executor, stop: Stop, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns that an executor calls.

    Args:
        executor: any.
        stop: set when nobody wants it any more.
        function: sends a request.
        arguments: of the function.

    Raises:
        NeverSentError: if Ctrl-C came while it waited in the queue of a pool of Python's.
        SourceRefusedError: if such a pool takes nothing any more.
    """
    if not isinstance(executor, _OF_PYTHON):
        return executor.submit(function, *arguments).result()
    try:
        future = executor.submit(function, *arguments)
    except RuntimeError as error:
        raise SourceRefusedError(
            f"The executor must take requests. Received: {type(error).__name__}: {error}. Make the "
            "source with a new one; nothing was sent."
        ) from error
    while not wait([future], timeout=_LOOK_SECONDS).done:
        if stop.interrupted and future.cancel():
            raise NeverSentError("The request was stopped in the queue of its executor.")
    return future.result()


def most_at_once(executor: Executor | None, wanted: int) -> int:
    """Most requests that are sent at a time: no more than a pool of Python's has workers.

    Args:
        executor: any, or `None`.
        wanted: requests.
    """
    workers = getattr(executor, "_max_workers", None) if isinstance(executor, _OF_PYTHON) else None
    return min(wanted, workers or wanted)
