"""Wilson score interval of a proportion."""

import math
from statistics import NormalDist


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Gives the Wilson score interval of a proportion.

    With `p = successes / trials`, `n = trials` and `z` the normal quantile of
    `(1 + confidence) / 2`, the interval is

    `(p + z^2 / 2n ± z * sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)`

    Unlike `p ± z * sqrt(p (1 - p) / n)` it stays inside [0, 1] and keeps a width when
    every trial, or none, is a success; a class with few test images needs both.

    Args:
        successes: Number of successes, 0 to `trials`.
        trials: Number of trials, at least 1.
        confidence: Wanted coverage, strictly between 0 and 1.

    Returns:
        The lower and upper end, `0 <= low <= successes / trials <= high <= 1`.

    Raises:
        ValueError: If the counts or the confidence are outside their ranges.

    Example:
        ```python
        from keras_reprogram.report import wilson_interval

        low, high = wilson_interval(9, 10)
        assert 0.59 < low < 0.60 and 0.98 < high < 0.99
        ```

    Reference:
        E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
        Inference", Journal of the American Statistical Association 22 (1927), 209-212.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            "Expected at least one trial and 0 <= successes <= trials. Received: "
            f"successes={successes}, trials={trials}. Leave a proportion of nothing out."
        )
    if not 0.0 < confidence < 1.0:
        raise ValueError(
            "Expected `confidence` strictly between 0 and 1. Received: "
            f"confidence={confidence}. Pass 0.95 for a 95 % interval."
        )
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    proportion = successes / trials
    shrink = 1.0 + z * z / trials
    center = (proportion + z * z / (2 * trials)) / shrink
    margin = (z / shrink) * math.sqrt(
        proportion * (1.0 - proportion) / trials + (z / (2 * trials)) ** 2
    )
    # Both ends are exact in theory at these counts; rounding would leave 1e-17 there.
    low = 0.0 if successes == 0 else center - margin
    high = 1.0 if successes == trials else center + margin
    return low, high
