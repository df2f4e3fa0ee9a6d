"""ExactFit: the output map fitted on answers that were paid for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from keras_reprogram.data_batches import batches, check_end, is_array
from keras_reprogram.data_checks import DataChecks
from keras_reprogram.image_checks import (
    EMPTY,
    check_every_class,
    check_labels,
    most_probable_labels,
)
from keras_reprogram.query_bar import QueryBar
from keras_reprogram.tensorflow_steps import TensorFlowSteps
from keras_reprogram.training.map_fitting import MapFit, fit_logistic_regression


class ExactFit(TensorFlowSteps):
    """The half of `ReprogrammedModel` that asks once and solves, instead of training.

    Expects `program`, `source`, `output_map`, `class_names`, `seed` and `data_checks` to be set.
    """

    data_checks: DataChecks

    @cached_property
    def _answer_batch(self) -> Callable[[Any], Any]:
        if not self.source.in_graph:
            return self.source_scores
        image = tf.TensorSpec((None, *self.data_checks.target_shape), tf.float32)
        # A concrete function: TensorFlow warns of `tf.function`s that several models trace.
        return tf.function(self.source_scores, autograph=False).get_concrete_function(image)

    def collect_scores(
        self, x: Any, *, batch_size: int = 64, steps: int | None = None, verbose: Any = "auto"
    ) -> np.ndarray:
        """Asks the source once per image and view.

        Args:
            x: images `(n, h, w, c)`, or anything that yields batches of them.
            batch_size: images at once.
            steps: batches that are asked, of what yields batches; `None` for all. Needed where
                it has no end, and where a source that costs is asked and the data do not say how
                many batches they have, as a generator does not.
            verbose: 0 for silence.

        Returns:
            Scores `(n, V, S)`, for `fit_output_map(scores=...)`.

        Raises:
            ValueError: for images that do not fit.
        """
        self._check_before_asking(x, labelled=False, steps=steps)
        return self._ask(x, None, None, batch_size, steps, verbose)[0]

    def fit_output_map(
        self,
        x: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        validation_split: float = 0.2,
        groups: np.ndarray | None = None,
        scores: np.ndarray | None = None,
        batch_size: int = 64,
        steps: int | None = None,
        verbose: Any = "auto",
    ) -> Any:
        """Asks the source once per image and view, and fits the output map exactly.

        Args:
            x: images `(n, h, w, c)`, or a `tf.data.Dataset`, `PyDataset` or other iterable of
                `(x, y)` or `(x, y, sample_weight)` batches.
            y: integer or one-hot labels, with arrays. Of rows of probabilities the most probable
                class counts, and a warning says so.
            sample_weight: `(n,)`, with arrays.
            class_weight: weight for each class, by index.
            validation_split: share held out to choose the regularisation; the map is fitted on
                all images afterwards.
            groups: `(n,)`; images of one value (a patient's, a track's) stay on one side of that
                split. In the order of the images, also where they come in batches.
            scores: answers `(n, V, S)` that were paid for; then `x` is not needed, and nothing
                is asked.
            batch_size: images at once.
            steps: batches that are asked, as of `collect_scores`.
            verbose: 0 for silence.

        Returns:
            A `MapFit` for maps that are solved, `None` for those that assign labels.

        Raises:
            ValueError: for images or labels that do not fit, and for a class without an image.
        """
        if scores is None:
            self._check_before_asking(x, y, sample_weight, labelled=True, steps=steps)
            scores, y, sample_weight = self._ask(x, y, sample_weight, batch_size, steps, verbose)
        scores = self._checked_scores(scores)
        labels = self._labels(y, len(scores))
        weight = image_weights(labels, sample_weight, class_weight)
        groups = check_groups(groups, len(labels))

        def solver(features: np.ndarray, labels: np.ndarray, weight: np.ndarray | None) -> MapFit:
            return fit_logistic_regression(
                features,
                labels,
                num_classes=self.output_map.num_classes,
                sample_weight=weight,
                validation_split=validation_split,
                seed=self.seed,
                groups=groups,
            )

        return self.output_map.fit_answers(scores, labels, solver=solver, sample_weight=weight)

    def _check_before_asking(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        labelled: bool,
        steps: int | None,
    ) -> None:
        """Everything that can be known before the first image is paid for."""
        checks = self.data_checks
        if is_array(x):
            if steps is not None:
                raise ValueError(
                    "`steps` counts batches of data that come in batches. Received: arrays and "
                    f"steps={steps}. Pass a part of the arrays."
                )
            if labelled:
                self._check_labels(checks.arrays(x, y, sample_weight)[1], len(x))
            else:
                checks.images(x)
            return
        check_end(x, steps, costs=not self.source.in_graph)
        if not self.source.in_graph:
            # Answers may cost money: the data set is read twice rather than asked in vain.
            labels = checks.all_batches(x, labelled=labelled, steps=steps)
            if labels is not None:
                self._check_labels(labels, len(labels))

    def _labels(self, y: Any, count: int) -> np.ndarray:
        labels = most_probable_labels(y, count, self.output_map.num_classes)
        check_every_class(labels, self.output_map.num_classes, self.class_names)
        return labels

    def _check_labels(self, y: Any, count: int) -> None:
        num_classes = self.output_map.num_classes
        check_every_class(check_labels(y, count, num_classes), num_classes, self.class_names)

    def _checked_scores(self, scores: Any) -> np.ndarray:
        scores = np.asarray(scores, np.float32)
        expected = (self.queries_per_prediction, self.source.num_labels)
        if scores.ndim != 3 or scores.shape[1:] != expected or not np.isfinite(scores).all():
            raise ValueError(
                f"`scores` must be finite answers (n, {expected[0]}, {expected[1]}). Received: "
                f"shape {scores.shape}. Pass what `collect_scores` of this model returned."
            )
        return scores

    def _ask(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int,
        steps: int | None,
        verbose: Any,
    ) -> tuple[np.ndarray, Any, Any]:
        """Scores, labels and weights of all batches."""
        total = None
        if is_array(x):
            x = self.data_checks.images(x)
            total = len(x) * self.queries_per_prediction
            y, sample_weight = (None if a is None else np.asarray(a) for a in (y, sample_weight))
        bar = QueryBar(self, total, verbose)
        asked = self.asked_queries
        parts: list[tuple[Any, Any, Any]] = []
        for batch, labels, weight in batches(x, y, sample_weight, batch_size, steps):
            images = self.data_checks.images(batch)
            with self.counting(len(images) * self.queries_per_prediction):
                answer = np.asarray(self._answer_batch(tf.constant(images)))
            parts.append((answer, labels, weight))
            bar.update(self.asked_queries - asked)
        if not parts:
            raise ValueError(EMPTY)
        bar.finish()
        scores, labels, weights = zip(*parts, strict=True)
        return np.concatenate(scores), _joined(labels), _joined(weights)


def image_weights(
    labels: np.ndarray, sample_weight: Any, class_weight: dict[int, float] | None
) -> np.ndarray | None:
    """One weight an image from weights of images and of classes."""
    if sample_weight is None and class_weight is None:
        return None
    weight = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, float)
    if weight.reshape(-1).shape != labels.shape:
        raise ValueError(
            f"`sample_weight` must be {labels.shape}, a number for each image. "
            f"Received: shape {weight.shape}."
        )
    if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise ValueError(
            "`sample_weight` must be finite, non-negative and not all zero. "
            f"Received: values from {weight.min()} to {weight.max()}."
        )
    by_class = class_weight or {}
    unknown = [name for name in by_class if not isinstance(name, int | np.integer)]
    if unknown:
        raise ValueError(
            "`class_weight` must map class numbers to weights. "
            f"Received: {', '.join(map(repr, unknown))}. Use the position in `class_names`."
        )
    of_class = np.array([by_class.get(int(label), 1.0) for label in labels], float)
    if (
        not np.isfinite(of_class).all()
        or (of_class < 0).any()
        or not (weight.reshape(-1) * of_class).any()
    ):
        raise ValueError(
            "`class_weight` must hold finite, non-negative weights that leave images which count. "
            f"Received: {class_weight}."
        )
    return weight.reshape(-1) * of_class


def check_groups(groups: Any, count: int) -> np.ndarray | None:
    """One group an image, `(n,)`.

    Args:
        groups: numbers or names, or `None`.
        count: images.

    Raises:
        ValueError: for another number of groups.
    """
    if groups is None:
        return None
    if np.size(groups) != count:
        raise ValueError(
            f"`groups` must be ({count},), one for each image. Received: shape {np.shape(groups)}."
        )
    return np.reshape(groups, -1)


def _joined(parts: Sequence[Any]) -> Any:
    return None if parts[0] is None else np.concatenate([np.asarray(part) for part in parts])
