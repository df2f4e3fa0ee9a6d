"""How many threads this process may use."""

from __future__ import annotations

import os

# Users limit the threads of a process by these; 0 leaves the choice to the library.
_LIMITS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")


def allowed_threads() -> int:
    """The processors that this process may use, or fewer where the user limits threads."""
    # `os.process_cpu_count` came with Python 3.13; macOS and Windows know no affinity.
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    limits = [int(text) for name in _LIMITS if (text := os.environ.get(name, "")).isdecimal()]
    return min([processors, *(limit for limit in limits if limit > 0)])
