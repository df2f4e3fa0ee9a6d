"""How a linear map reads several views: each by itself, their mean, or the first one only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from keras_reprogram.training.map_fitting import MapFit, fit_logistic_regression

READINGS = ("each view", "mean of the views", "first view")


def solve_views(
    num_views: int,
    reading: str,
    features: np.ndarray,
    labels: np.ndarray,
    sample_weight: np.ndarray | None,
    *,
    num_classes: int,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> MapFit:
    """Logistic regression whose kernel treats the views as the reading says.

    Unlike views tell different things, and weights of their own make the most of them. Views that
    are much alike tell the same thing several times: their mean has as little noise and V times
    fewer weights to overfit. Where a further view does harm, the first may be read alone.

    Args:
        num_views: V.
        reading: one of `READINGS`.
        features: `(n, V * d)`, view after view.
        labels: `(n,)` integers in [0, num_classes).
        sample_weight: `(n,)` or `None`.
        num_classes: K.
        seed: draws the validation part that chooses the regularisation.
        groups: `(n,)` or `None`; rows of one value stay on one side of that split.

    Returns:
        A `MapFit` on all `V * d` features.

    Raises:
        ValueError: for an unknown reading.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.training import solve_views

    features = np.random.default_rng(0).normal(size=(60, 2 * 4))
    labels = (features[:, 0] + features[:, 4] > 0).astype(int)
    fit = solve_views(2, "mean of the views", features, labels, None, num_classes=2)
    assert np.allclose(fit.kernel[:4], fit.kernel[4:])
    ```
    """
    if reading not in READINGS:
        raise ValueError(f"`reading` must be one of {READINGS}. Received: reading={reading!r}.")
    views = features.reshape(len(features), num_views, -1)
    shares = np.full(num_views, 1.0 / num_views)
    if reading == "first view":
        shares = np.eye(num_views)[0]
    read = features if reading == "each view" else np.einsum("nvd,v->nd", views, shares)
    fit = fit_logistic_regression(
        read,
        labels,
        num_classes=num_classes,
        sample_weight=sample_weight,
        seed=seed,
        groups=groups,
    )
    if reading == "each view":
        return fit
    kernel = np.concatenate([share * fit.kernel for share in shares])
    return replace(fit, kernel=kernel.astype(np.float32))
