"""Probe of a new source: do its answers move when the image does?"""

from __future__ import annotations

import warnings

import numpy as np

# Blocks a side of the patterns.
_PATTERNS = (3, 8)
# Scores below this say little.
_SMALLEST_SCORE = 1e-6
# Natural logarithms. EfficientNet-Lite0 moves by 3.9 between the probe images, and by .15 if it
# gets pixels of 0 to 1 in place of 0 to 255.
_LEAST_MOVE = 0.5


def probe_images(
    source_shape: tuple[int, int, int], value_range: tuple[float, float]
) -> np.ndarray:
    """A mid-range image and two patterns of coloured blocks, `(3, H, W, C)` in `value_range`."""
    (height, width, channels), (low, high) = source_shape, value_range
    random = np.random.default_rng(0)
    images = [np.full(source_shape, 0.5)]
    for blocks in _PATTERNS:
        colours = random.uniform(size=(blocks, blocks, channels))
        rows, columns = (np.arange(size) * blocks // size for size in (height, width))
        images.append(colours[rows][:, columns])
    return (low + (high - low) * np.stack(images)).astype(np.float32)


def warn_if_still(answers: np.ndarray, score_kind: str, who: str) -> None:
    """Warns if the answers to the probe images are nearly the same."""
    if score_kind == "features":
        return
    move = _largest_move(answers, score_kind)
    if move < _LEAST_MOVE:
        warnings.warn(
            f"{who} answers nearly alike to a grey image and to two patterns of coloured blocks: "
            f"no score moves by more than {move:.2g} in its logarithm. Check `value_range` "
            "(--value-range), the preprocessing, and the order of axes and channels: a network "
            "that gets other pixels than it was trained on hardly sees them.",
            stacklevel=4,
        )


def _largest_move(answers: np.ndarray, score_kind: str) -> float:
    """The largest difference of a score between images, in logarithms."""
    if score_kind in ("logits", "independent_logits"):
        return float(np.ptp(answers, axis=0).max())
    sides = [answers, 1.0 - answers] if score_kind == "independent" else [answers]
    moves = [np.ptp(np.log(np.maximum(side, 0) + _SMALLEST_SCORE), axis=0) for side in sides]
    return float(max(move.max() for move in moves))
