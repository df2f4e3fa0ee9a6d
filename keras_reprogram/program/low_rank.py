"""Low-rank programs: `W = B A` a channel, and what its two factors can reach."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_reprogram.arguments import positive_integer

# Both factors are one array `(programs, C, r, h + w)`: the columns of B, then the rows of A. So the
# program stays one vector for estimators, files and optimizers.


def rank_or_none(rank: int | None, size: tuple[int, int]) -> int | None:
    """The argument `rank` for a pattern of `size` rows and columns."""
    if rank is None:
        return None
    largest = min(size)
    if positive_integer("rank", rank) > largest:
        raise ValueError(
            f"`rank` must be at most {largest}, the shorter side of a pattern of {size[0]} x "
            f"{size[1]} weights. Received: rank={rank}. Leave it out for every pattern."
        )
    return int(rank)


def first_factors(shape: tuple[int, ...], rows: int, spread: float, seed: int) -> np.ndarray:
    """B of zeros and A of normal draws: the program changes nothing, but B has a gradient."""
    factors = np.random.default_rng(seed).normal(0.0, spread, shape).astype(np.float32)
    factors[..., :rows] = 0.0
    return factors


def product(factors: Any, rows: int) -> Any:
    """`B A`: `(..., C, r, h + w)` to `(..., h, w, C)`."""
    return ops.einsum("...crh,...crw->...hwc", factors[..., :rows], factors[..., rows:])


def live_factors(live: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Flat factors of `shape` that reach a live weight of the pattern `(programs, h, w)`."""
    either = np.concatenate([live.any(axis=2), live.any(axis=1)], axis=1)
    return np.broadcast_to(either[:, None, None, :], shape).reshape(-1)
