"""AnswerDistance: how far a source's answers are from its answers to known images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import ops

# Of a nearest answer; the first alone may be an outlier itself.
_NEIGHBOUR = 5
# The known answers take at most 4 MiB, wherever they go.
_MOST_ANSWERS, _FEWEST_ANSWERS, _MOST_NUMBERS = 256, 16, 2**20
# Answers that are equal for all labels have no direction.
_SHORTEST = 1e-12
_LOGITS = ("logits", "independent_logits", "features")
_NORMALISED = ("probabilities", "logits")


@dataclass(frozen=True, eq=False)
class AnswerDistance:
    """`1 - cos` of the angle between an answer and its fifth nearest known answer, in [0, 2].

    Nearest neighbours of normalised features tell foreign inputs best where a network is trained
    for them (Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors"). Here
    the features are the source's own log-scores of all views, so that any source has them: of
    "probabilities" and "logits" the logarithm less its mean in each answer, of "independent" the
    log-odds, others as they are. The energy of Liu et al. 2020, `-log sum exp` of the logits, is
    the same number for all images where a source gives probabilities, and measured worse where it
    gives logits: see examples/benchmark/none_of_these.py.

    Args:
        references: float32 `(r, V * S)`, directions of the known answers.
        reads: kind of the source's scores.
        epsilon: added before a logarithm.
    """

    references: np.ndarray = field(repr=False)
    reads: str
    epsilon: float

    @classmethod
    def fit(cls, scores: np.ndarray, reads: str, epsilon: float) -> AnswerDistance:
        """Keeps known answers `(n, V, S)`, or as many of them as 4 MiB hold."""
        most = max(_FEWEST_ANSWERS, _MOST_NUMBERS // scores[0].size)
        count = min(len(scores), most, _MOST_ANSWERS)
        rows = np.linspace(0, len(scores) - 1, count).astype(int)
        directions = _directions(scores[rows], reads, epsilon)
        return cls(ops.convert_to_numpy(directions), reads, epsilon)

    def __call__(self, scores: Any) -> Any:
        """Distances `(n,)` of answers `(n, V, S)`."""
        cosines = ops.matmul(
            _directions(scores, self.reads, self.epsilon), ops.transpose(self.references)
        )
        nearest, _ = ops.top_k(cosines, min(_NEIGHBOUR, len(self.references)))
        return 1.0 - nearest[:, -1]

    def to_plain(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Numbers and texts for JSON, and arrays."""
        settings = {"reads": self.reads, "epsilon": self.epsilon}
        return settings, {"references": self.references}

    @classmethod
    def from_plain(
        cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> AnswerDistance:
        """Rebuilds what `to_plain` gave."""
        return cls(np.asarray(arrays["references"], np.float32), **settings)


def _directions(scores: Any, reads: str, epsilon: float) -> Any:
    logs = ops.cast(scores, "float32")
    if reads not in _LOGITS:
        rest = 1.0 - logs
        logs = ops.log(ops.maximum(logs, 0.0) + epsilon)
        if reads == "independent":
            # float32 leaves no less than 2 ** -25 of 1 - p.
            logs = logs - ops.log(ops.maximum(rest, 0.0) + max(epsilon, 2.0**-25))
    if reads in _NORMALISED:
        logs = logs - ops.mean(logs, axis=-1, keepdims=True)
    rows = ops.reshape(logs, (-1, logs.shape[-2] * logs.shape[-1]))
    lengths = ops.sqrt(ops.sum(ops.square(rows), axis=1, keepdims=True))
    return rows / ops.maximum(lengths, _SHORTEST)
