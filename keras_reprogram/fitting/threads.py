"""How many threads a product is worth."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

# Imported before the libraries are looked for: NumPy and SciPy bring one of linear algebra each.
import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController

from keras_reprogram.threads import allowed_threads

# So many multiplications take about ten times as long as waking a thread for them.
_WORTH_A_THREAD = 2_000_000


def one_thread() -> AbstractContextManager:
    """Limits the libraries of linear algebra to one thread."""
    # Waking others for a small product costs more than the product.
    return _libraries().limit(limits=1)


@contextmanager
def threads_for(multiplications: int) -> Iterator[tuple[int, Callable[..., Any]]]:
    """Into how many parts work of this size is split, and the `map` that does them at once."""
    # Each part is done by one thread of ours. Libraries that split a thin product among their own
    # threads were slower with two of them than with one, and on a busy machine eighty times.
    parts = min(allowed_threads(), 1 + multiplications // _WORTH_A_THREAD)
    with one_thread():
        if parts == 1:
            yield 1, map
        else:
            with ThreadPoolExecutor(parts) as threads:
                yield parts, threads.map


@functools.cache
def _libraries() -> ThreadpoolController:
    # Looking through all loaded libraries takes longer than a small fit.
    return ThreadpoolController().select(user_api="blas")
