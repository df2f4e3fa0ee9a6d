"""Repetitions of what may pass, after random, growing waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_reprogram.source.remote.extras import needs_extra
from keras_reprogram.source.remote.failures import SourceUnavailableError

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0


def repeated(
    ask: Callable[[], Any],
    retries: int,
    may_go_on: Callable[[], bool],
    sleep: Callable[[float], Any],
) -> Any:
    """What `ask` returns, asked again while that may help.

    Args:
        ask: raises a `SourceUnavailableError` if it may be answered later, and a `ValueError` for
            a malformed answer, which was billed and is asked for once more.
        retries: most repetitions of an unavailable service.
        may_go_on: whether there is somebody else to ask at once, so that nobody need wait.
        sleep: waits so many seconds, or less where nobody wants the answer any more.

    Raises:
        ImportError: if tenacity is not installed.
    """
    with needs_extra("tenacity", "http"):
        import tenacity

    def pause(state: Any) -> float:
        if may_go_on():
            return 0.0
        asked_for = getattr(state.outcome.exception(), "retry_after", None) or 0.0
        spread = tenacity.wait_random_exponential(_FIRST_WAIT, _LONGEST_WAIT)
        return max(asked_for, spread(state))

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(SourceUnavailableError),
        stop=tenacity.stop_after_attempt(1 + retries),
        wait=pause,
        sleep=sleep,
        reraise=True,
    )
    try:
        return retrying(ask)
    except ValueError:
        return retrying(ask)
