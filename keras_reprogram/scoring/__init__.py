"""Scores many images with an export or a program file: in shards, resumable, exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_reprogram.lazy_imports import lazy_names

if TYPE_CHECKING:
    from keras_reprogram.scoring.adapters import RayScorer, score_partition
    from keras_reprogram.scoring.run import ScoringResult, score_images

# The command line imports this package to show its help, which must not take seconds.
__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "adapters": (
            "RayScorer",
            "score_partition",
        ),
        "run": (
            "ScoringResult",
            "score_images",
        ),
    },
)
