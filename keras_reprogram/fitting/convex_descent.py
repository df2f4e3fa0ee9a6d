"""L-BFGS for smooth convex objectives in unknowns that are scaled well."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

# Unknowns -> value and gradient.
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]

# Differences of so many last steps stand for the Hessian.
_MEMORY = 10
# A step is long enough to count where the value falls by this share of what the slope promises,
_SUFFICIENT_DECREASE = 1e-4
# or where the slope along it is at most this share of the first one, uphill, and the value rises
# by no more than rounding (Hager and Zhang's approximate Wolfe condition). Close to the minimum
# values cannot be told apart, and slopes can.
_LARGEST_SLOPE = 0.8
_ROUNDING = 1e-6
_MAX_TRIALS = 20
# The gradient has not been smaller for so many steps: what is left of it is rounding.
_PATIENCE = 50


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where a descent ended.

    Args:
        unknowns: `(N,)`.
        gradient: largest absolute entry of the gradient there.
        iterations: steps taken.
    """

    unknowns: np.ndarray = field(repr=False)
    gradient: float
    iterations: int


@dataclass(frozen=True, eq=False)
class _Point:
    unknowns: np.ndarray
    value: float
    gradient: np.ndarray


@dataclass(frozen=True, eq=False)
class _Difference:
    """Of two points: step, change of the gradient, and their product."""

    step: np.ndarray
    change: np.ndarray
    product: float


def descend(
    objective: Objective, start: np.ndarray, *, tolerance: float, max_iterations: int
) -> Minimum:
    """Steps down until no entry of the gradient is above the tolerance, or nothing is gained.

    SciPy's L-BFGS-B also keeps bounds, which takes as long as the products of a fit with some ten
    thousand unknowns.

    References:
        Nocedal and Wright, "Numerical Optimization", 2006, algorithm 7.4; Hager and Zhang, "A new
        conjugate gradient method with guaranteed descent and an efficient line search", SIAM
        Journal on Optimization 2005, equation 4.1.
    """
    point = _Point(start, *objective(start))
    differences: deque[_Difference] = deque(maxlen=_MEMORY)
    smallest, since, iterations = np.inf, 0, 0
    while iterations < max_iterations:
        largest = float(np.abs(point.gradient).max())
        smallest, since = (largest, 0) if largest < smallest else (smallest, since + 1)
        if largest <= tolerance or since > _PATIENCE:
            break
        following = _step(objective, point, _direction(point.gradient, differences))
        if following is None:
            break
        iterations += 1
        step = following.unknowns - point.unknowns
        change = following.gradient - point.gradient
        product = float(step @ change)
        # Positive in a convex objective, but for rounding.
        if product > 0:
            differences.append(_Difference(step, change, product))
        point = following
    return Minimum(point.unknowns, float(np.abs(point.gradient).max()), iterations)


def _direction(gradient: np.ndarray, differences: Iterable[_Difference]) -> np.ndarray:
    """Minus the approximate inverse Hessian times the gradient."""
    known = list(differences)
    left, shares = -gradient, []
    for one in reversed(known):
        share = float(one.step @ left) / one.product
        shares.append(share)
        left -= share * one.change
    if known:
        left *= known[-1].product / float(known[-1].change @ known[-1].change)
    for one, share in zip(known, reversed(shares), strict=True):
        left += (share - float(one.change @ left) / one.product) * one.step
    return left


def _step(objective: Objective, point: _Point, direction: np.ndarray) -> _Point | None:
    """The point after a step along the direction; `None` where rounding hides every descent."""
    slope = float(point.gradient @ direction)
    share = 1.0
    for _ in range(_MAX_TRIALS):
        unknowns = point.unknowns + share * direction
        tried = _Point(unknowns, *objective(unknowns))
        last_slope = float(tried.gradient @ direction)
        if tried.value <= point.value + _SUFFICIENT_DECREASE * share * slope or (
            last_slope <= -_LARGEST_SLOPE * slope
            and tried.value <= point.value + _ROUNDING * abs(point.value)
        ):
            return tried
        # Where the slope would be zero if it grew evenly.
        share *= min(max(slope / (slope - last_slope), 0.1), 0.5) if last_slope > slope else 0.1
    return None
