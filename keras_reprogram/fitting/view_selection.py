"""View selection: greedy forward selection by exact leave-one-out errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from keras_reprogram.arguments import one_of
from keras_reprogram.fitting.fit_choice import fit_linear_map
from keras_reprogram.fitting.fit_settings import MapFit
from keras_reprogram.fitting.joined_fit import fit_joined_parts
from keras_reprogram.fitting.threads import one_thread

# Ridge penalties for one image, as shares of the mean squared norm of its features.
_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# A finding is predicted from here on.
_EVEN = 0.5


@dataclass(frozen=True)
class ViewOrder:
    """Views in the order in which they were chosen, each the best addition to those before it.

    Args:
        views: indices into the pool.
        errors: leave-one-out squared error after each choice; lower is better.
        accuracies: leave-one-out accuracy after each choice, in [0, 1]. In both, images count by
            their weights.
    """

    views: tuple[int, ...]
    errors: tuple[float, ...]
    accuracies: tuple[float, ...]


@dataclass(frozen=True)
class ViewPool:
    """Features of a pool of views on labelled images, from which views are selected.

    A set of views is judged by ridge regression on the one-hot labels, on the features of all its
    views, the error of each image measured by the fit on all others. That takes no refit: with
    the Gram matrix `K = sum_v F_v F_v^T` and `H = K (K + penalty I)^-1` the left-out residual is
    `(y - H y) / (1 - diag H)` (Allen's PRESS, 1974). Images with weights enter the fit and the mean
    error by them. The Gram matrix of a set is the sum of its
    views', so that a choice among hundreds of sets takes seconds.

    Args:
        features: `(n, P, d)`, standardised log-scores of n images under P views.
        labels: `(n,)` integers in [0, num_classes), or of several findings `(n, num_classes)` of 0
            and 1; accuracies are then shares of pairs of an image and a finding.
        num_classes: K.
        sample_weight: `(n,)` non-negative, or `None` for equal ones. Their scale plays no part.

    Raises:
        ValueError: for shapes that do not fit, numbers that are not finite, or fewer than 2 images
            with a weight.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.fitting import ViewPool

    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = random.normal(size=(60, 5, 4))
    features[:, 3] += np.eye(3, 4)[labels]  # only view 3 knows the class
    assert ViewPool(features, labels, num_classes=3).choose(1).views == (3,)
    ```

    References:
        Allen, "The relationship between variable selection and data augmentation and a method for
        prediction", Technometrics 1974.
    """

    features: np.ndarray
    labels: np.ndarray
    num_classes: int
    sample_weight: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.features)
        labelled = np.shape(self.labels) in (shape[:1], (*shape[:1], self.num_classes))
        if len(shape) != 3 or not labelled or shape[0] < 2:
            raise ValueError(
                "A pool needs features (n, views, d) of at least 2 images, and n labels. "
                f"Received: shapes {shape} and {np.shape(self.labels)}."
            )
        if not np.isfinite(self.features).all():
            raise ValueError("Features must be finite. Received: NaN or infinity among them.")
        weight = self.sample_weight
        if weight is not None and (
            np.shape(weight) != shape[:1] or np.min(weight) < 0 or np.count_nonzero(weight) < 2
        ):
            raise ValueError(
                f"`sample_weight` must be {shape[:1]}, non-negative, and above 0 for 2 images or "
                f"more. Received: shape {np.shape(weight)}, {np.count_nonzero(weight)} above 0."
            )

    def choose(self, num_views: int, *, among: tuple[int, ...] | None = None) -> ViewOrder:
        """The best views, added one by one.

        Args:
            num_views: how many, from 1 to the pool's size.
            among: indices to choose from, or `None` for the whole pool.

        Returns:
            A `ViewOrder`.

        Raises:
            ValueError: if there are fewer views than asked for.
        """
        left = list(range(self.features.shape[1]) if among is None else among)
        if not 1 <= num_views <= len(left):
            raise ValueError(
                f"`num_views` must lie between 1 and the pool's {len(left)} views. "
                f"Received: num_views={num_views}."
            )
        chosen: list[int] = []
        gram = np.zeros_like(self._grams[0])
        errors, accuracies = [], []
        with one_thread():  # waking threads costs more than products of this size
            for _ in range(num_views):
                trials = {view: self._left_out(gram + self._grams[view]) for view in left}
                best = min(left, key=lambda view: trials[view][:2])
                gram = gram + self._grams[best]
                chosen.append(best)
                left.remove(best)
                errors.append(trials[best][0])
                accuracies.append(-trials[best][1])
        return ViewOrder(tuple(chosen), tuple(errors), tuple(accuracies))

    def error(self, views: tuple[int, ...]) -> float:
        """Leave-one-out squared error of a given set of views."""
        return float(np.mean(self.errors(views)))

    def errors(self, views: tuple[int, ...]) -> np.ndarray:
        """Leave-one-out squared errors of the images that count, by their weights of mean 1."""
        with one_thread():
            return self._left_out(self._grams[list(views)].sum(axis=0))[2]

    @cached_property
    def _counted(self) -> np.ndarray:
        """Rows with positive weight."""
        if self.sample_weight is None:
            return np.arange(len(self.labels))
        return np.flatnonzero(self.sample_weight)

    @cached_property
    def _roots(self) -> np.ndarray:
        """`(n, 1)` square roots of weights of mean 1: rows times them make a weighted fit."""
        if self.sample_weight is None:
            return np.ones((len(self.labels), 1))
        weight = np.asarray(self.sample_weight, np.float64)[self._counted]
        return np.sqrt(weight / weight.mean())[:, None]

    @cached_property
    def _grams(self) -> np.ndarray:
        features = np.moveaxis(np.asarray(self.features, np.float64)[self._counted], 1, 0)
        features = self._roots * features
        with one_thread():
            return features @ np.swapaxes(features, 1, 2)

    def _left_out(self, gram: np.ndarray) -> tuple[float, float, np.ndarray]:
        """Squared error, negative accuracy and squared errors, left out one by one.

        All at the best penalty.
        """
        labels, roots = np.asarray(self.labels, int)[self._counted], self._roots
        several = labels.ndim == 2
        targets = labels.astype(float) if several else np.eye(self.num_classes)[labels]
        middle = np.mean(roots**2 * targets, axis=0)
        targets = roots * (targets - middle)
        scale = np.trace(gram) / len(gram)
        spectrum, axes = np.linalg.eigh(gram / (scale or 1.0))
        spectrum = np.maximum(spectrum, 0.0)
        along = axes.T @ targets
        results = []
        for penalty in _PENALTIES:
            shrink = spectrum / (spectrum + penalty * len(gram))
            leverage = np.minimum(np.square(axes) @ shrink, 1.0 - 1e-9)
            residuals = (targets - axes @ (shrink[:, None] * along)) / (1.0 - leverage)[:, None]
            hits = self._hits((targets - residuals) / roots, labels, middle)
            accuracy = float(np.mean(roots[:, 0] ** 2 * hits))
            errors = np.mean(residuals**2, axis=1)
            results.append((float(np.mean(errors)), -accuracy, errors))
        return min(results, key=lambda result: result[:2])

    @staticmethod
    def _hits(predicted: np.ndarray, labels: np.ndarray, middle: np.ndarray) -> np.ndarray:
        """Which images are read right, `(n,)`; of several findings the share of each image's."""
        if labels.ndim == 1:
            return predicted.argmax(axis=1) == labels
        return ((predicted + middle > _EVEN) == (labels == 1)).mean(axis=1)


FIRST_VIEW = "first view"
READINGS = ("each view", "mean of the views", FIRST_VIEW)


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
    parts: Sequence[int] = (),
    **options: Any,
) -> MapFit:
    """A linear fit whose kernel treats the views as the reading says.

    Unlike views tell different things, and weights of their own make the most of them. Views that
    are much alike tell the same thing several times: their mean has as little noise and V times
    fewer weights to overfit. Where a further view does harm, the first may be read alone.

    Args:
        num_views: V.
        reading: one of `READINGS`.
        features: `(n, V * d)`, view after view.
        labels: `(n,)` integers in [0, num_classes), or `(n, num_classes)` of 0 and 1.
        sample_weight: `(n,)` or `None`.
        num_classes: K.
        seed: draws the validation part that chooses the regularisation.
        groups: `(n,)` or `None`; rows of one value stay on one side of that split.
        parts: of a joint source, as `fit_joined_parts` takes them: the first is the views', whose
            columns are followed by those of the others.
        **options: of the fit, as `fit_linear_map` takes them.

    Returns:
        A `MapFit` on all features.

    Raises:
        ValueError: for an unknown reading.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.fitting import solve_views

    features = np.random.default_rng(0).normal(size=(60, 2 * 4))
    labels = (features[:, 0] + features[:, 4] > 0).astype(int)
    fit = solve_views(2, "mean of the views", features, labels, None, num_classes=2)
    assert np.allclose(fit.kernel[:4], fit.kernel[4:])
    ```
    """
    one_of("reading", reading, READINGS)
    width = parts[0] if parts else features.shape[1]
    views = features[:, :width].reshape(len(features), num_views, -1)
    shares = np.full(num_views, 1.0 / num_views)
    if reading == FIRST_VIEW:
        shares = np.eye(num_views)[0]
    each = reading == "each view"
    read = features[:, :width] if each else np.einsum("nvd,v->nd", views, shares)
    how: dict[str, Any] = {"num_classes": num_classes, "sample_weight": sample_weight}
    how |= {"seed": seed, "groups": groups, **options}
    if parts:
        columns = np.concatenate([read, features[:, width:]], axis=1)
        fit = fit_joined_parts(columns, labels, parts=(read.shape[1], *parts[1:]), **how)
    else:
        fit = fit_linear_map(read, labels, **how)
    if each:
        return fit
    own, others = np.split(fit.kernel, [read.shape[1]])
    kernel = np.concatenate([*(share * own for share in shares), others])
    return replace(fit, kernel=kernel.astype(np.float32))
