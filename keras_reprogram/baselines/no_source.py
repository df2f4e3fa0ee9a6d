"""What the target's pixels give away without any source model."""

from functools import partial

import numpy as np

from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.baselines.fit_best import Candidate, fit_best
from keras_reprogram.baselines.linear_pixels import linear_candidates
from keras_reprogram.baselines.rbf_svm import RbfSvm

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
    candidates = linear_candidates() + [
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
