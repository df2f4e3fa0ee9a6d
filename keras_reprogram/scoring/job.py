"""ScoringJob: one shard, from its images to its files; whoever runs shards sends it to workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keras_reprogram.scoring.inputs import Shard
from keras_reprogram.scoring.models import BatchScorer, ScoringModel
from keras_reprogram.scoring.output import ScoredImage, ScoreFolder


@dataclass(frozen=True)
class ScoringJob:
    """What a worker needs for a shard; can be pickled.

    Args:
        model: what scores.
        folder: where the parts go.
        batch_size: images a call of the model; `None` for what suits the model.
    """

    model: ScoringModel
    folder: ScoreFolder
    batch_size: int | None = None

    def score(
        self, shard: Shard, scorer: BatchScorer, progress: Callable[[int], None] | None = None
    ) -> int:
        """Scores a shard and writes its files; returns the number of its images."""
        scored: list[ScoredImage] = []
        for batch in scorer.score_all(shard.part.read(), self.batch_size):
            scored += batch
            if progress is not None:
                progress(len(scored))
        if len(scored) != len(shard.part):
            raise ValueError(
                f"Shard {shard.number} must have {len(shard.part)} images. Received: {len(scored)}."
                " Its file has changed since it was listed: start again with another output."
            )
        self.folder.write(shard.number, scored)
        return len(scored)
