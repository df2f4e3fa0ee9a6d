"""What the scripts that measure speed share: rounds in turn, ratios inside them, their spread."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def fresh_process() -> ProcessPoolExecutor:
    """One process that shares nothing with this one and does what it is given, in turn."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def in_turns(
    ways: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    warm_up: int = 0,
    done: Callable[[int], None] = lambda number: None,
) -> dict[str, list[Any]]:
    """What each way gives in each round. Who comes first takes turns too.

    Args:
        ways: name -> what is called.
        rounds: how often, after the warm-up.
        warm_up: rounds whose results are dropped.
        done: called after each round with the number of rounds so far, those of the warm-up too.
    """
    found: dict[str, list[Any]] = {name: [] for name in ways}
    for number in range(warm_up + rounds):
        for name in list(ways) if number % 2 else reversed(ways):
            result = ways[name]()
            if number >= warm_up:
                found[name].append(result)
        done(number + 1)
    return found


def seconds_of(work: Callable[[], Any]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """`above / below` of each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    return statistics.median(values), min(values), max(values)


def spread_text(values: Sequence[float], digits: int = 2) -> str:
    """`median (least to most)`."""
    median, least, most = spread(values)
    return f"{median:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def machine() -> dict[str, Any]:
    """How busy this machine is, and how many processors it has."""
    return {"load_average": round(os.getloadavg()[0], 2), "processors": os.cpu_count()}


def machine_line() -> str:
    """The same as a sentence."""
    facts = machine()
    return f"Load average {facts['load_average']:.1f} on {facts['processors']} processors."
