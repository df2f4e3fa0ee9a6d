"""Baseline: a classifier whose settings were chosen on a validation split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from keras_reprogram.baselines.lossless_rotation import LosslessRotation


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
                "Expected at least one image, and one integer label per image. "
                f"Received: {len(images)} images, labels of shape {labels.shape}."
            )
        return float(np.mean(self.predict(images) == labels))


def check_images(images: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    """Refuses images and labels that a network cannot be trained on."""
    if images.ndim != 4:
        raise ValueError(
            "Expected images of shape (num_images, height, width, channels). Received: images "
            f"{images.shape}. For grey images add an axis: `images[..., None]`."
        )
    check_labelled(images, labels, num_classes)


def check_labelled(inputs: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    """Refuses inputs and integer labels that a classifier cannot be fitted on."""
    if inputs.ndim < 2 or labels.dtype.kind not in "iu" or labels.shape != inputs.shape[:1]:
        raise ValueError(
            "Expected inputs of shape (num_images, ...) with one integer label per "
            f"input. Received: inputs {inputs.shape}, labels {labels.shape} of {labels.dtype}. "
            "For one-hot labels pass `labels.argmax(axis=1)`."
        )
    present = np.unique(labels)
    if len(present) < 2 or present[0] < 0 or present[-1] >= num_classes:
        raise ValueError(
            f"Expected labels of two or more classes in 0..{num_classes - 1}. "
            f"Received: {len(present)} classes, {present[:5].tolist()} first."
        )
    if not np.isfinite(inputs).all():
        raise ValueError("Expected finite inputs. Received: NaN or infinity. Remove those rows.")


# Large test sets of large images would not fit into memory as float32 all at once.
ROWS_AT_ONCE = 1024


def fit_rotation(inputs: np.ndarray) -> tuple[LosslessRotation, np.ndarray]:
    """The rotation of the training inputs, and their rotated features."""
    # Several threads on a shared machine wait for each other: 11.6 s were measured for 0.7 s.
    with threadpool_limits(1):
        rotation, rows = LosslessRotation.fit(inputs)
    if rotation.axes is not None:
        rows = np.column_stack([rows, np.zeros(len(rows))])
    return rotation, rows


def rotate(rotation: LosslessRotation, inputs: np.ndarray) -> np.ndarray:
    """Rotates inputs so that their distances to the training inputs are kept."""
    # The rotation keeps the part in the span of the training inputs. A new input also has a part
    # outside of it, which adds its squared length to every squared distance. An RBF kernel needs
    # that length, so it is the last feature. It is 0 for all training inputs, so a regularised
    # linear model gives it no weight.
    inputs = np.asarray(inputs)
    parts = [
        _rotate_part(rotation, inputs[start : start + ROWS_AT_ONCE])
        for start in range(0, len(inputs), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts)


def _rotate_part(rotation: LosslessRotation, inputs: np.ndarray) -> np.ndarray:
    with threadpool_limits(1):
        rows = rotation.apply(inputs)
    if rotation.axes is None:
        return rows
    centred = (inputs.reshape(len(inputs), -1) - rotation.mean) / rotation.scale
    outside = np.square(centred).sum(axis=1) - np.square(rows).sum(axis=1)
    return np.column_stack([rows, np.sqrt(np.maximum(outside, 0.0))])
