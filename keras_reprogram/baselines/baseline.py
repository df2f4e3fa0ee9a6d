"""Baseline: a shallow classifier whose regularisation was chosen on a validation split."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from keras_reprogram.baselines.lossless_rotation import LosslessRotation
from keras_reprogram.training.validation_split import draw_stratified, split_validation

ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Candidate:
    """A classifier family with one setting of its regularisation.

    Args:
        name: What the family is called in a report.
        make: A function without arguments that returns an unfitted scikit-learn classifier.
        most_rows: Most training rows that the family is fitted on, or `None`; above it a stratified draw is
            taken (the cost of a kernel machine grows with the square of the rows).

    Example:
        ```python
        from sklearn.linear_model import LogisticRegression
        from keras_reprogram.baselines.baseline import Candidate

        print(Candidate("logistic regression", LogisticRegression).make())  # LogisticRegression()
        ```
    """

    name: str
    make: Callable[[], Any]
    most_rows: int | None = None


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted baseline, made by `fit_no_source` or `fit_linear_head`.

    Args:
        name: What was fitted, for example `"RBF-SVM on pixels"`.
        validation_accuracy: Accuracy 0..1 on the validation part, before the last fit on all images.
        num_train: How many images the last fit used.
        converged: Whether the solver of the last fit came to its end; if not, its last state is used.
        rotation: The scaling of the flattened inputs.
        classifier: The fitted scikit-learn classifier.

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
    rotation: LosslessRotation = field(repr=False)
    classifier: Any = field(repr=False)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Predicts labels.

        Args:
            images: Array of shape `(num_images, ...)` with the axes of the training images (or features).

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
        return _predict(self.rotation, self.classifier, np.asarray(images))

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


def fit_best(
    candidates: Iterable[Candidate],
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    validation_fraction: float = 0.2,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Baseline:
    """Fits every candidate, keeps the one that is best on validation and refits it on all inputs.

    Args:
        candidates: At least one; of equals the first is kept.
        inputs: Array of shape `(num_images, ...)`, flattened and scaled inside.
        labels: Integer array of shape `(num_images,)`, values `0..num_classes - 1`, at least two classes.
        num_classes: Number of classes of the task.
        validation_fraction: Share held out for the choice, above 0 and below 1.
        seed: Non-negative integer that decides the split.
        groups: Optional array of shape `(num_images,)`; images of one group are held out together.

    Returns:
        The fitted `Baseline`.

    Raises:
        ValueError: For inputs that are not finite, labels out of range, or fewer than two classes.

    Example:
        ```python
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        from keras_reprogram.baselines.baseline import Candidate, fit_best

        labels = np.arange(20) % 2
        best = fit_best([Candidate("lr", LogisticRegression)], np.eye(2)[labels], labels, num_classes=2)
        print(best.validation_accuracy)  # 1.0
        ```
    """
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    _check(inputs, labels, num_classes)
    train, held_out = split_validation(inputs, labels, validation_fraction, seed, groups)
    best, best_accuracy = None, -1.0
    reduced: dict[int | None, tuple[LosslessRotation, np.ndarray, np.ndarray]] = {}
    for candidate in candidates:
        if candidate.most_rows not in reduced:
            reduced[candidate.most_rows] = _reduce(inputs, labels, train, candidate.most_rows, seed)
        rotation, rows, rotated = reduced[candidate.most_rows]
        classifier, _ = _fit(candidate, rotated, labels[rows])
        accuracy = np.mean(_predict(rotation, classifier, inputs[held_out]) == labels[held_out])
        if accuracy > best_accuracy:
            best, best_accuracy = candidate, float(accuracy)
    if best is None:
        raise ValueError("Expected at least one candidate. Received: none.")
    everything = np.arange(len(labels))
    rotation, rows, rotated = _reduce(inputs, labels, everything, best.most_rows, seed)
    classifier, converged = _fit(best, rotated, labels[rows])
    name = best.name
    if len(rows) < len(labels):
        name += f" ({len(rows):,} of {len(labels):,} images)"
    return Baseline(name, best_accuracy, len(rows), converged, rotation, classifier)


def _reduce(
    inputs: np.ndarray, labels: np.ndarray, rows: np.ndarray, most_rows: int | None, seed: int
) -> tuple[LosslessRotation, np.ndarray, np.ndarray]:
    if most_rows is not None and len(rows) > most_rows:
        rows = rows[draw_stratified(labels[rows], most_rows, seed)]
    rotation, rotated = LosslessRotation.fit(inputs[rows])
    return rotation, rows, rotated


def _fit(candidate: Candidate, rotated: np.ndarray, labels: np.ndarray) -> tuple[Any, bool]:
    # A solver stopped early is a candidate like another: validation decides, `converged` reports.
    # One thread: on a shared machine several spend their time waiting for each other (10 s for 1 s measured).
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier = candidate.make().fit(rotated, labels)
    stopped_early = False
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            stopped_early = True
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return classifier, not stopped_early


def _predict(rotation: LosslessRotation, classifier: Any, inputs: np.ndarray) -> np.ndarray:
    parts = [
        classifier.predict(rotation.apply(inputs[start : start + ROWS_AT_ONCE]))
        for start in range(0, len(inputs), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


def _check(inputs: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    if inputs.ndim < 2 or labels.dtype.kind not in "iu" or labels.shape != inputs.shape[:1]:
        raise ValueError(
            "Expected inputs of shape (num_images, ...) with one integer label each. "
            f"Received: inputs {inputs.shape}, labels {labels.shape} of {labels.dtype}. "
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
