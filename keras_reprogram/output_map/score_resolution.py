"""smallest_score: below which size a source's scores say nothing, seen in its answers."""

from __future__ import annotations

import numpy as np

# exp(-32): a float32 softmax is exact in its small values, and its logarithm stays tame.
SMALLEST_FLOAT_SCORE = 1e-14
# Steps of services and files: decimals, percent, bytes, 16-bit codes, float16 (whose small values
# lie on a grid too). Coarse ones first: multiples of a step are multiples of finer ones.
_STEPS = (
    *(10.0**-digits for digits in (1, 2)),
    1 / 256,
    1 / 255,
    *(10.0**-digits for digits in (3, 4)),
    1 / 65_536,
    1 / 65_535,
    *(10.0**-digits for digits in (5, 6, 7, 8)),
)
_FLOAT16_STEP = 2.0**-24
# float32 holds a score to half of this share of it.
_FLOAT32_PRECISION = 2.0**-23
_LARGEST_TELLING_MULTIPLE = 2.0**20
# Fewer scores may lie on a grid by chance. So many do not, each of which would pass one in four
# times at most; and a handful of images of two labels have hardly more.
_FEWEST_SCORES = 10


def smallest_score(scores: np.ndarray, score_step: float) -> float:
    """Half of the distance of neighbouring small scores: what is to be added before a logarithm.

    A float32 softmax says 1e-12 and means it. A service that rounds says 0 for everything below
    half of its step, and one that lists its best labels says 0 for all others. Both are seen in
    the answers: all scores are multiples of a step, or none lies between 0 and the smallest one.

    Args:
        scores: stored answers of any shape, probabilities or independent scores.
        score_step: declared distance of neighbouring scores, 0 where nothing is known. Answers
            can only show a coarser one.

    Returns:
        At least `SMALLEST_FLOAT_SCORE`.
    """
    scores = np.asarray(scores, np.float64)
    positive = scores[scores > 0]
    step = score_step
    if positive.size >= _FEWEST_SCORES:
        step = max(step, _common_step(positive))
        if positive.size < scores.size:
            step = max(step, float(positive.min()))
    return max(step / 2, SMALLEST_FLOAT_SCORE)


def _common_step(positive: np.ndarray) -> float:
    """The coarsest known step of which all scores are multiples, or 0."""
    for step in _STEPS:
        multiples = positive / step
        # Of large multiples float32 does not keep the fraction, so that they tell nothing.
        multiples = multiples[multiples < _LARGEST_TELLING_MULTIPLE]
        off = np.abs(multiples - np.round(multiples))
        if len(off) >= _FEWEST_SCORES and np.all(off <= _FLOAT32_PRECISION * multiples):
            return step
    as_float16 = positive.astype(np.float16).astype(np.float64)
    return _FLOAT16_STEP if np.array_equal(as_float16, positive) else 0.0
