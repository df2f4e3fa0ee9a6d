"""Blocks of a joint source's answer: where each part's scores are, and what they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# Kernel features of the pixels, and the largest images that they are computed of: the directions
# are as many numbers as both together, 64 MiB at the most.
NUM_WAVES = 1024
_MOST_PIXELS = 2**14


@dataclass(frozen=True)
class Block:
    """The scores of one part in an answer `(n, 1, A)` of a joint source, view after view.

    Args:
        name: of the part.
        num_views: images that the part is shown of a target image.
        num_labels: scores of each.
        score_kind: see `Source`.
        score_step: distance of neighbouring scores, 0 for floats.
    """

    name: str
    num_views: int
    num_labels: int
    score_kind: str
    score_step: float = 0.0

    @property
    def size(self) -> int:
        """The number of columns."""
        return self.num_views * self.num_labels

    @property
    def has_waves(self) -> bool:
        """Whether it is read by its kernel features."""
        return self.score_kind == "pixels" and self.size <= _MOST_PIXELS

    @property
    def width(self) -> int:
        """The number of features that a map makes of it."""
        return NUM_WAVES if self.has_waves else self.size

    def get_config(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def slices_of(blocks: Iterable[Block]) -> list[slice]:
    """The columns of each block in an answer."""
    ends = np.cumsum([block.size for block in blocks])
    return [slice(int(end) - block.size, int(end)) for block, end in zip(blocks, ends, strict=True)]


def waves(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions `(width, NUM_WAVES)` and phases of `sqrt(2) cos(x @ directions + phases)`.

    Random Fourier features (Rahimi, Recht 2007) of the kernel `exp(-|x - y|^2 / width)`: that of
    scikit-learn's `gamma="scale"`, for x whose columns have a mean variance of 1.
    """
    # The legacy generator: NumPy promises that its numbers never change, and files rely on them.
    random = np.random.RandomState(0)
    directions = random.standard_normal((width, NUM_WAVES)) * np.sqrt(2 / width)
    phases = random.uniform(0, 2 * np.pi, NUM_WAVES)
    return directions.astype(np.float32), phases.astype(np.float32)
