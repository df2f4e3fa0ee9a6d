"""Processes that start with the package imported, and may be killed."""

import multiprocessing
import random
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from typing import Any

import numpy as np

# A server imports TensorFlow once and forks, for which it has one thread only.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["keras_reprogram"])


def started(function: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A process that runs a function of a module; `exitcode` says how it ended."""
    process = _CONTEXT.Process(target=_run, args=(function, arguments))
    process.start()
    return process


def _run(function: Callable[..., None], arguments: tuple) -> None:
    # Forks share the random state of the server, as processes of their own would not.
    random.seed()
    np.random.seed()
    function(*arguments)
