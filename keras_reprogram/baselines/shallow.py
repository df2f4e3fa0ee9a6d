"""Baselines without a network: linear models and SVMs on pixels or features."""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.baselines.fit_best import Candidate, fit_best

# Inputs have a mean squared norm of 1 (`fit_rotation`), where gamma=1 is scikit-learn's
# gamma="scale".
RBF_GAMMA = 1.0
SVM_C = (1.0, 10.0, 100.0)
MOST_SVM_IMAGES = 10_000


def fit_no_source(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    *,
    num_classes: int,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Baseline:
    """Fits the better of multinomial logistic regression and an RBF-SVM on raw pixels.

    Every reprogramming result is printed beside it: a source that does not beat it has given
    nothing. Family and `C` are chosen on a validation part of the training images, then the choice
    is fitted on all of them. Above 10,000 images the SVM learns from a stratified draw of 10,000,
    and its name says so.

    Args:
        train_images: Array of shape `(num_images, height, width, channels)`, any range.
        train_labels: Integer array of shape `(num_images,)`, values `0..num_classes - 1`.
        num_classes: Number of classes of the task.
        validation_fraction: Share held out for the choice, above 0 and below 1.
        seed: Non-negative integer that decides the split.
        groups: Optional array of shape `(num_images,)`; images of one group are held out together.
        sample_weight: Optional array of shape `(num_images,)`, non-negative: what each image counts
            in the fits and in the choice.

    Returns:
        A `Baseline` named `"logistic regression on pixels"` or `"RBF-SVM on pixels"`.

    Raises:
        ValueError: For NaN, labels out of range, fewer than two classes, or too few images to hold
            one out.

    Example:
        ```python
        from keras_reprogram.baselines import fit_no_source
        from keras_reprogram.datasets import load_target

        digits = load_target("digits").draw(200, None, seed=0)
        baseline = fit_no_source(digits.train_images, digits.train_labels, num_classes=10)
        print(baseline.name, round(baseline.validation_accuracy, 2))
        ```
    """
    candidates = logistic_candidates(NAME, LOGISTIC_C) + [
        Candidate("RBF-SVM on pixels", partial(RbfSvm, C=c, gamma=RBF_GAMMA), MOST_SVM_IMAGES)
        for c in SVM_C
    ]
    return fit_best(
        candidates,
        train_images,
        train_labels,
        num_classes=num_classes,
        validation_fraction=validation_fraction,
        seed=seed,
        groups=groups,
        sample_weight=sample_weight,
    )


NAME = "logistic regression on pixels"
# Inputs have a mean squared norm of 1 (`fit_rotation`), so the grid suits images of any size.
LOGISTIC_C = (0.1, 1.0, 10.0)
MAX_ITERATIONS = 300


def logistic_candidates(name: str, grid: tuple[float, ...]) -> list[Candidate]:
    """Multinomial logistic regression, a candidate for each `C`."""
    make = partial(LogisticRegression, max_iter=MAX_ITERATIONS)
    return [Candidate(name, partial(make, C=c)) for c in grid]


def fit_linear_pixels(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    *,
    num_classes: int,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Baseline:
    """Fits multinomial logistic regression on raw pixels, `C` chosen on a validation part.

    The least that can be asked of a source: one that does not beat a linear model of the images
    themselves has given nothing. `fit_no_source` is the stronger of this and an RBF-SVM.

    Args:
        train_images: Array of shape `(num_images, height, width, channels)`, any range.
        train_labels: Integer array of shape `(num_images,)`, values `0..num_classes - 1`.
        num_classes: Number of classes of the task.
        validation_fraction: Share held out for the choice, above 0 and below 1.
        seed: Non-negative integer that decides the split.
        groups: Optional array of shape `(num_images,)`; images of one group are held out together.

    Returns:
        A `Baseline` named `"logistic regression on pixels"`.

    Raises:
        ValueError: For NaN, labels out of range, fewer than two classes, or too few images to hold
            one out.

    Example:
        ```python
        from keras_reprogram.baselines import fit_linear_pixels
        from keras_reprogram.datasets import load_target

        digits = load_target("digits").draw(200, None, seed=0)
        baseline = fit_linear_pixels(digits.train_images, digits.train_labels, num_classes=10)
        print(baseline.name, round(baseline.validation_accuracy, 2))
        ```
    """
    return fit_best(
        logistic_candidates(NAME, LOGISTIC_C),
        train_images,
        train_labels,
        num_classes=num_classes,
        validation_fraction=validation_fraction,
        seed=seed,
        groups=groups,
    )


ROWS_AT_ONCE = 1024


class RbfSvm:
    """scikit-learn's `SVC(kernel="rbf")` on a precomputed kernel: the same answers, faster.

    libsvm computes the kernel pair by pair; here a matrix product does it, for `n * n * 8` bytes of
    memory.
    """

    def __init__(self, C: float = 1.0, gamma: float = 1.0) -> None:
        self.C = C
        self.gamma = gamma

    def fit(
        self, rows: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> RbfSvm:
        """Fits the machine; scikit-learn gives no support vector to weight 0."""
        kernel = rbf_kernel(rows, gamma=self.gamma)
        self._svc = SVC(C=self.C, kernel="precomputed").fit(kernel, labels, sample_weight)
        self._rows = rows
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Labels, integers `(m,)`."""
        parts = [
            self._svc.predict(rbf_kernel(part, self._rows, gamma=self.gamma))
            for part in np.array_split(rows, -(-len(rows) // ROWS_AT_ONCE))
        ]
        return np.concatenate(parts)


# Inputs have a mean squared norm of 1 (`fit_rotation`), so the grid suits any number of features.
HEAD_C = (0.1, 1.0, 10.0, 100.0)


def fit_linear_head(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Baseline:
    """Fits multinomial logistic regression on given features, `C` chosen on a validation part.

    It needs the source's penultimate features, which an opaque source does not show: there it is a
    bound that only the owner of the source could reach.

    Args:
        features: Array of shape `(num_images, num_features)`, finite.
        labels: Integer array of shape `(num_images,)`, values `0..num_classes - 1`.
        num_classes: Number of classes of the task.
        validation_fraction: Share held out for the choice, above 0 and below 1.
        seed: Non-negative integer that decides the split.
        groups: Optional array of shape `(num_images,)`; images of one group are held out together.
        sample_weight: Optional array of shape `(num_images,)`, non-negative: what each image counts
            in the fits and in the choice.

    Returns:
        A `Baseline` named `"linear head on features"`; its `predict` and `evaluate` take features.

    Raises:
        ValueError: If `features` is not of rank 2, for NaN, labels out of range, fewer than two
            classes, or too few images to hold one out.

    Example:
        ```python
        import numpy as np
        from keras_reprogram.baselines import fit_linear_head

        labels = np.arange(40) % 4
        features = np.eye(4)[labels] + np.random.default_rng(0).normal(scale=0.1, size=(40, 4))
        head = fit_linear_head(features, labels, num_classes=4)
        print(head.name, head.evaluate(features, labels))  # linear head on features 1.0
        ```
    """
    features = np.asarray(features)
    if features.ndim != 2:
        raise ValueError(
            "Expected `features` of shape (num_images, num_features). "
            f"Received: shape {features.shape}. Pool or flatten them."
        )
    return fit_best(
        logistic_candidates("linear head on features", HEAD_C),
        features,
        labels,
        num_classes=num_classes,
        validation_fraction=validation_fraction,
        seed=seed,
        groups=groups,
        sample_weight=sample_weight,
    )
