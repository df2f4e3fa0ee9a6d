"""Baseline: a classifier whose settings were chosen on a validation split."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from keras_reprogram.baselines.rotated_inputs import rotate
from keras_reprogram.training.lossless_rotation import LosslessRotation


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted baseline, made by one of the `fit_...` functions beside it.

    Args:
        name: What was fitted, for example `"RBF-SVM on pixels"`.
        validation_accuracy: Accuracy 0..1 on the validation part, before the last fit on all
            images.
        num_train: How many images the last fit used.
        converged: Whether the solver of the last fit came to its end; if not, its last state is
            used.
        rotation: The scaling of the flattened inputs, or `None` for a classifier of images.
        classifier: What was fitted, with scikit-learn's `predict`.
        note: What a table should say beside the figures (`ResultRow.note`), or nothing.

    Example:
        ```python
        from keras_reprogram.baselines import fit_no_source
        from keras_reprogram.datasets import load_target

        digits = load_target("digits").draw(200, None, seed=0)
        baseline = fit_no_source(digits.train_images, digits.train_labels, num_classes=10)
        print(baseline.name, baseline.evaluate(digits.test_images, digits.test_labels) > 0.9)
        ```
    """

    name: str
    validation_accuracy: float
    num_train: int
    converged: bool
    rotation: LosslessRotation | None = field(repr=False)
    classifier: Any = field(repr=False)
    note: str = ""

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Predicts labels.

        Args:
            images: Array of shape `(num_images, ...)` with the axes of the training images (or
                features).

        Returns:
            int64 array of shape `(num_images,)`.

        Raises:
            ValueError: If the images have another size than those for training.

        Example:
            ```python
            import numpy as np
            from keras_reprogram.baselines import fit_linear_head

            features, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
            print(fit_linear_head(features, labels, num_classes=2).predict(features).shape)  # (20,)
            ```
        """
        if len(images) == 0:
            return np.zeros(0, np.int64)
        rows = images if self.rotation is None else rotate(self.rotation, images)
        with threadpool_limits(1):
            return self.classifier.predict(rows).astype(np.int64)

    def evaluate(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Measures the accuracy.

        Args:
            images: As for `predict`, at least one.
            labels: Integer array of shape `(num_images,)`.

        Returns:
            Share of right answers, 0..1.

        Raises:
            ValueError: If there are no images, or not one label for each.

        Example:
            ```python
            import numpy as np
            from keras_reprogram.baselines import fit_linear_head

            labels = np.arange(20) % 2
            head = fit_linear_head(np.eye(2)[labels], labels, num_classes=2)
            print(head.evaluate(np.eye(2), np.array([0, 1])))  # 1.0
            ```
        """
        labels = np.asarray(labels)
        if len(images) == 0 or labels.shape != (len(images),):
            raise ValueError(
                "Expected at least one image and one integer label for each. "
                f"Received: {len(images)} images, labels of shape {labels.shape}."
            )
        return float(np.mean(self.predict(images) == labels))
