"""repeated: a request is asked again, after random growing waits, while its service may recover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.source.errors import SourceUnavailableError

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0


def repeated(
    ask: Callable[[], Any],
    retries: int,
    may_go_on: Callable[[], bool],
    sleep: Callable[[float], Any],
) -> Any:
    """Calls `ask`, with up to `retries` repetitions while the service is unavailable.

    A ValueError is a malformed answer: it was billed, and is asked for once more. Where
    `may_go_on`, another endpoint can be asked at once.
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
