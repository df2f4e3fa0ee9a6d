"""What a linear model of the target's pixels reaches."""

from functools import partial

import numpy as np
from sklearn.linear_model import LogisticRegression

from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.baselines.fit_best import Candidate, fit_best

NAME = "logistic regression on pixels"
# Inputs have a mean squared norm of 1 (`fit_rotation`), so the grid suits images of any size.
LOGISTIC_C = (0.1, 1.0, 10.0)
MAX_ITERATIONS = 300


def linear_candidates() -> list[Candidate]:
    """Multinomial logistic regression on pixels, a candidate for each `C`.

    Returns:
        Candidates for `fit_best`.

    Example:
        ```python
        from keras_reprogram.baselines.linear_pixels import linear_candidates

        print(len(linear_candidates()))  # 3
        ```
    """
    return [
        Candidate(NAME, partial(LogisticRegression, C=c, max_iter=MAX_ITERATIONS))
        for c in LOGISTIC_C
    ]


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
        linear_candidates(),
        train_images,
        train_labels,
        num_classes=num_classes,
        validation_fraction=validation_fraction,
        seed=seed,
        groups=groups,
    )
