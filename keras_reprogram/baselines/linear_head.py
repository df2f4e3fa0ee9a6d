"""What a new linear head on the source's own features reaches: the classic transfer baseline."""

from functools import partial

import numpy as np
from sklearn.linear_model import LogisticRegression

from keras_reprogram.baselines.baseline import Baseline
from keras_reprogram.baselines.fit_best import Candidate, fit_best

# Inputs have a mean squared norm of 1 (`fit_rotation`), so the grid suits any number of features.
HEAD_C = (0.1, 1.0, 10.0, 100.0)
MAX_ITERATIONS = 300


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
    candidates = [
        Candidate(
            "linear head on features", partial(LogisticRegression, C=c, max_iter=MAX_ITERATIONS)
        )
        for c in HEAD_C
    ]
    return fit_best(
        candidates,
        features,
        labels,
        num_classes=num_classes,
        validation_fraction=validation_fraction,
        seed=seed,
        groups=groups,
        sample_weight=sample_weight,
    )
