"""One thread for products so small that waking others for them costs more."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

# Imported before the libraries are looked for: NumPy and SciPy bring one of linear algebra each.
import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager:
    """Limits the libraries of linear algebra to one thread."""
    return _libraries().limit(limits=1)


@functools.cache
def _libraries() -> ThreadpoolController:
    # Looking through all loaded libraries takes longer than a small fit.
    return ThreadpoolController()
