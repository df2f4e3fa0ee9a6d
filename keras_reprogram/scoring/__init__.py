"""Scores many images with an export or a program file: in shards, resumable, exactly once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_reprogram.scoring.adapters import RayScorer, score_partition
    from keras_reprogram.scoring.run import ScoringResult, score_images

# The command line imports this package to show its help, which must not take seconds.
_PLACES = {
    "score_images": "run",
    "ScoringResult": "run",
    "RayScorer": "adapters",
    "score_partition": "adapters",
}

__all__ = ["RayScorer", "ScoringResult", "score_images", "score_partition"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = value
    return value
