"""MultiLabelMap: several source labels speak for a target class."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.output_map.label_assignment import METHODS, assign_labels, check_label_budget
from keras_reprogram.output_map.output_map import OutputMap, Solver, check_num_views

# Small enough to leave any mass that float32 can hold apart, and its logarithm finite.
_SMALLEST_MASS = 1e-30


@keras.saving.register_keras_serializable(package="keras_reprogram")
class MultiLabelMap(OutputMap):
    """Mean score of m source labels a class, renormalised over the classes.

    `h_t(F(X)) = mean of F_s(X) over the source labels s of class t` (Tsai et al. 2020, eq. 3),
    averaged over the views. The paper's rows do not sum to 1; these are renormalised in log
    space, so that they do even if nearly all mass lies on labels that stand for no class.

    Args:
        num_classes: target classes K.
        labels_per_class: m source labels a class.
        assignment: `"frequency"` (from stored scores, by `ReprogrammedModel.fit_output_map`) or
            `"random"` (drawn at once from `seed`).
        weights: `(S, K)` non-negative matrix instead of an assignment: class t gets
            `sum_s weights[s, t] * F_s(X)`.
        seed: for `"random"`.
        name: layer name.

    Input shape:
        `(n, views, S)` scores of the source.

    Output shape:
        `(n, K)` probabilities.

    Raises:
        ValueError: if `K * m` exceeds S, or for a weight matrix of another shape.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import MultiLabelMap

    output_map = MultiLabelMap(num_classes=2, weights=np.array([[1., 0.], [0., 1.], [0., 0.]]))
    probabilities = output_map(np.array([[[.01, .03, .96]]], "float32"))
    assert np.allclose(probabilities, [[.25, .75]])
    ```

    References:
        Tsai, Chen, Ho, "Transfer Learning without Knowing", ICML 2020.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        labels_per_class: int = 1,
        assignment: str = "frequency",
        weights: Any = None,
        seed: int = 0,
        name: str = "output_map",
    ) -> None:
        super().__init__(num_classes, name=name)
        if assignment not in METHODS:
            raise ValueError(f"`assignment` must be one of {METHODS}. Received: {assignment!r}.")
        self.labels_per_class = int(labels_per_class)
        self.assignment = assignment
        self.seed = seed
        self._given = None if weights is None else _weight_matrix(weights, num_classes)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _, num_source_labels = check_num_views(input_shape, self.name)
        self.input_spec = keras.InputSpec(shape=(None, *input_shape[1:]))
        if self._given is not None and len(self._given) != num_source_labels:
            raise ValueError(
                f"`weights` must have a row for each of the source's {num_source_labels} labels. "
                f"Received: shape {self._given.shape}."
            )
        if self._given is None:
            check_label_budget(self.num_classes, num_source_labels, self.labels_per_class)
        self.label_weights = self.add_weight(
            shape=(num_source_labels, self.num_classes),
            initializer="zeros",
            trainable=False,
            name="label_weights",
        )
        if self._given is not None:
            self.label_weights.assign(self._given)
        elif self.assignment == "random":
            self._assign()

    @property
    def ready(self) -> bool:
        return self.built and bool(ops.any(self.label_weights > 0))

    @property
    def trains(self) -> bool:
        """Whether there is anything to fit: a given matrix and a random draw stay as they are."""
        return self._given is None and self.assignment == "frequency"

    def call(self, scores: Any) -> Any:
        if self.scores == "logits":
            scores = ops.softmax(scores, axis=-1)
        mass = ops.mean(ops.matmul(scores, self.label_weights), axis=1)
        return keras.activations.softmax(ops.log(ops.maximum(mass, _SMALLEST_MASS)))

    def fit_answers(
        self,
        scores: np.ndarray,
        labels: np.ndarray,
        *,
        solver: Solver,
        sample_weight: np.ndarray | None = None,
    ) -> None:
        del solver
        scores = self.build_for(scores)
        if self.trains:
            self._assign(scores=scores, labels=labels, sample_weight=sample_weight)

    def _assign(self, **answers: Any) -> None:
        num_source_labels = self.label_weights.shape[0]
        table = assign_labels(
            self.assignment,
            num_classes=self.num_classes,
            num_source_labels=num_source_labels,
            labels_per_class=self.labels_per_class,
            seed=self.seed,
            **answers,
        )
        matrix = np.zeros((num_source_labels, self.num_classes), np.float32)
        for target, source_labels in enumerate(table):
            matrix[source_labels, target] = 1.0 / self.labels_per_class
        self.label_weights.assign(matrix)

    def get_config(self) -> dict[str, Any]:
        return {
            **self.base_config(),
            "labels_per_class": self.labels_per_class,
            "assignment": self.assignment,
            "weights": None if self._given is None else self._given.tolist(),
            "seed": self.seed,
        }


def _weight_matrix(weights: Any, num_classes: int) -> np.ndarray:
    matrix = np.asarray(weights, np.float32)
    if matrix.ndim != 2 or matrix.shape[1] != num_classes:
        raise ValueError(
            f"`weights` must have shape (source labels, {num_classes}). "
            f"Received: shape {matrix.shape}."
        )
    if not np.isfinite(matrix).all() or (matrix < 0).any() or not (matrix.sum(axis=0) > 0).all():
        raise ValueError(
            "`weights` must be finite and non-negative, with some weight for every class. "
            f"Received: smallest {matrix.min()}, column sums {matrix.sum(axis=0)}."
        )
    return matrix
