"""Probe of a new source: do its answers move when the image does?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_reprogram.arguments import is_image

# Blocks a side of the patterns: a detector that looks for one thing moves little for each alone.
_PATTERNS = (2, 3, 8, 16)
# Scores below this say little.
_SMALLEST_SCORE = 1e-6
# Natural logarithms. Of twelve real files the one that moves least under its own pixels, person or
# no person in 8 bits, moves by 2.5. Nearly black pixels (0 to 1 in place of 0 to 255) move seven of
# them by .02 to .34 and traffic signs by .87. The table is in docs/models.md.
_LEAST_MOVE = 1.0


def probe_images(source_shape: Sequence[int], value_range: tuple[float, float]) -> np.ndarray:
    """A mid-range image and four patterns of coloured blocks, `(5, H, W, C)` in `value_range`."""
    (height, width, channels), (low, high) = source_shape, value_range
    random = np.random.default_rng(0)
    images = [np.full((height, width, channels), 0.5)]
    for blocks in _PATTERNS:
        colours = random.uniform(size=(blocks, blocks, channels))
        rows, columns = (np.arange(size) * blocks // size for size in (height, width))
        images.append(colours[rows][:, columns])
    return (low + (high - low) * np.stack(images)).astype(np.float32)


def probe_source(source: Any, who: str) -> None:
    """Asks a built source that costs nothing, and warns if its answers hardly move."""
    # Of a network in memory nobody asks this: it may have no weights yet that are worth a warning.
    if is_image(source.source_shape):
        images = probe_images(source.source_shape, source.value_range)
        answers = ops.convert_to_numpy(source.answer(images))
        warn_if_still(answers, source.score_kind, who)


def warn_if_still(answers: np.ndarray, score_kind: str, who: str, stacklevel: int = 4) -> None:
    """Warns if the answers to the probe images are nearly the same."""
    if score_kind == "features" or answers_move(answers, score_kind):
        return
    warnings.warn(
        f"{who} answers nearly alike to a grey image and to patterns of coloured blocks: no score "
        f"moves by more than {largest_move(answers, score_kind):.2g} in its logarithm. Check "
        "`value_range` (--value-range), the preprocessing, and the order of axes and channels: a "
        "network that gets other pixels than it was trained on hardly sees them. "
        "`keras-reprogram probe` shows what other pixels do.",
        stacklevel=stacklevel,
    )


def answers_move(answers: np.ndarray, score_kind: str) -> bool:
    """Whether some score of the answers `(n, S)` differs between images by more than little."""
    return largest_move(answers, score_kind) >= _LEAST_MOVE


def largest_move(answers: np.ndarray, score_kind: str) -> float:
    """The largest difference of a score between images, in logarithms."""
    if score_kind in ("logits", "independent_logits"):
        return float(np.ptp(answers, axis=0).max())
    sides = [answers, 1.0 - answers] if score_kind == "independent" else [answers]
    moves = [np.ptp(np.log(np.maximum(side, 0) + _SMALLEST_SCORE), axis=0) for side in sides]
    return float(max(move.max() for move in moves))
