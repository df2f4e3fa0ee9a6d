"""MultiLabelMap: each target class is scored by several source labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.arguments import one_of
from keras_reprogram.output_map.label_counts import (
    BAYESIAN_METHODS,
    assign_labels,
    check_label_budget,
    label_counts,
    labels_from_counts,
    observed_counts,
    top_for,
    weights_from_counts,
)
from keras_reprogram.output_map.label_counts import BAYESIAN_METHODS as BAYESIAN
from keras_reprogram.output_map.output_map import OutputMap, Solver, check_num_views

# Small enough to leave any mass that float32 can hold apart, and its logarithm finite.
SMALLEST_MASS = 1e-30


@keras.saving.register_keras_serializable(package="keras_reprogram")
class MultiLabelMap(OutputMap):
    """Mean score of m source labels a class, renormalised over the classes.

    `h_t(F(X)) = mean of F_s(X) over the source labels s of class t` (Tsai et al. 2020, eq. 3),
    averaged over the views. The paper's rows do not sum to 1; these are renormalised in log
    space, so that they do even if nearly all mass lies on labels that stand for no class.

    Which labels stand for a class, `assignment` says:

    - `"random"`: drawn at once from `seed`.
    - `"frequency"`: from stored scores, by `ReprogrammedModel.fit_output_map`; see
      `assign_labels`.
    - `"iterative"` (ILM, Chen et al. 2023): as `"frequency"`, and again at the end of each epoch
      of `fit`, since the program changes what the source answers.
    - `"bayesian"`, `"bayesian_plus"` (BLM, BLM+, Cai et al. 2024): all labels with weights, see
      `bayesian_weights`; fitted and followed like `"iterative"`.
    - `"self-defined"` (AutoVP, Tsao et al. 2024): `label_table`.

    Deviations: ILM and BLM ask the source for all training images again after each epoch. Here
    the map counts the clean answers that the epoch's steps got anyway, under a program that
    moves meanwhile: no query is added. A class that an epoch did not show keeps its labels. BLM
    weighs logits and takes the softmax of the sums; here probabilities are weighed, which is all
    that an opaque source gives.

    Args:
        num_classes: target classes K.
        labels_per_class: m source labels a class, for `"random"`, `"frequency"`, `"iterative"`.
        assignment: one of the above.
        label_table: K rows of source labels for `"self-defined"`. Rows may differ in length; no
            label stands twice.
        weights: `(S, K)` non-negative matrix instead of an assignment: class t gets
            `sum_s weights[s, t] * F_s(X)`.
        seed: for `"random"`.
        name: layer name.

    Input shape:
        `(n, views, S)` scores of the source.

    Output shape:
        `(n, K)` probabilities.

    Raises:
        ValueError: if `K * m` exceeds S, for a weight matrix of another shape, a table that is
            none, or arguments that exclude each other.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import MultiLabelMap

    output_map = MultiLabelMap(2, assignment="self-defined", label_table=[[0], [1, 3]])
    probabilities = output_map(np.array([[[.02, .03, .86, .09]]], "float32"))
    assert np.allclose(probabilities, [[.25, .75]])
    ```

    References:
        Tsai, Chen, Ho, "Transfer Learning without Knowing", ICML 2020.
        Chen, Yao, Chen, Zhang, Liu, "Understanding and Improving Visual Prompting: A
        Label-Mapping Perspective", CVPR 2023.
        Cai, Ye, Feng, Qi, Liu, "Bayesian-Guided Label Mapping for Visual Reprogramming",
        NeurIPS 2024.
        Tsao, Hsiung, Chen, Liu, Ho, "AutoVP: An Automated Visual Prompting Framework and
        Benchmark", ICLR 2024.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        labels_per_class: int = 1,
        assignment: str = "frequency",
        label_table: Any = None,
        weights: Any = None,
        seed: int = 0,
        name: str = "output_map",
    ) -> None:
        super().__init__(num_classes, name=name)
        check_arguments(assignment, int(labels_per_class), label_table, weights)
        self.labels_per_class = int(labels_per_class)
        self.assignment = assignment
        self.label_table = None if label_table is None else checked_table(label_table, num_classes)
        self.seed = seed
        self._given = None if weights is None else checked_weights(weights, num_classes)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        _, num_source_labels = check_num_views(input_shape, self.name)
        self.input_spec = keras.InputSpec(shape=(None, *input_shape[1:]))
        if self._given is not None and len(self._given) != num_source_labels:
            raise ValueError(
                f"`weights` must have a row for each of the source's {num_source_labels} labels. "
                f"Received: shape {self._given.shape}."
            )
        if self._given is None and self.assignment in PICKED:
            check_label_budget(self.num_classes, num_source_labels, self.labels_per_class)
        self.label_weights = self._table_weight("label_weights", num_source_labels)
        if self.observes:
            self.observed_counts = self._table_weight("observed_counts", num_source_labels)
            self.observed_sums = self._table_weight("observed_sums", num_source_labels)
        start = self._fixed_weights(num_source_labels)
        if start is not None:
            self.label_weights.assign(start)

    def _table_weight(self, name: str, num_source_labels: int) -> Any:
        shape = (num_source_labels, self.num_classes)
        return self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name)

    def _fixed_weights(self, num_source_labels: int) -> np.ndarray | None:
        """Weights that are fixed by the arguments, or `None`."""
        if self._given is not None:
            return self._given
        if self.label_table is not None:
            return table_weights(self.label_table, num_source_labels)
        if self.assignment != "random":
            return None
        table = assign_labels(
            "random",
            num_classes=self.num_classes,
            num_source_labels=num_source_labels,
            labels_per_class=self.labels_per_class,
            seed=self.seed,
        )
        return table_weights(table.tolist(), num_source_labels)

    @property
    def ready(self) -> bool:
        return self.built and bool(ops.any(self.label_weights > 0))

    @property
    def trains(self) -> bool:
        """Whether the map learns from answers; given and random assignments do not."""
        return self._given is None and self.assignment in FITTED

    @property
    def observes(self) -> bool:
        return self._given is None and self.assignment in OBSERVING

    def call(self, scores: Any) -> Any:
        mass = ops.mean(ops.matmul(self._probabilities(scores), self.label_weights), axis=1)
        return keras.activations.softmax(ops.log(ops.maximum(mass, SMALLEST_MASS)))

    def _probabilities(self, scores: Any) -> Any:
        if self.score_kind == "logits":
            return ops.softmax(scores, axis=-1)
        return ops.sigmoid(scores) if self.score_kind == "independent_logits" else scores

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
        if not self.trains:
            return
        found = label_counts(
            ops.convert_to_numpy(self._probabilities(scores)),
            labels,
            num_classes=self.num_classes,
            sample_weight=sample_weight,
            top=self._top,
        )
        self.label_weights.assign(self._weights_from(*found, former=None))
        self.forget_observed()

    def observe(self, scores: Any, labels: Any, sample_weight: Any = None) -> None:
        if not self.observes:
            return
        counts, sums = observed_counts(
            self._probabilities(scores),
            labels,
            sample_weight,
            num_classes=self.num_classes,
            top=self._top,
        )
        self.observed_counts.assign_add(counts)
        self.observed_sums.assign_add(sums)

    def reassign(self) -> None:
        if not self.observes:
            return
        seen = (self.observed_counts, self.observed_sums)
        counts, sums = (ops.convert_to_numpy(each.value).astype(np.float64) for each in seen)
        former = ops.convert_to_numpy(self.label_weights.value)
        if counts.any():
            self.label_weights.assign(self._weights_from(counts, sums, former))
        self.forget_observed()

    def forget_observed(self) -> None:
        if self.observes and self.built:
            for seen in (self.observed_counts, self.observed_sums):
                seen.assign(ops.zeros_like(seen))

    @property
    def _top(self) -> int | None:
        return top_for(self.assignment, self.num_classes, self.label_weights.shape[0])

    def _weights_from(
        self, counts: np.ndarray, score_sums: np.ndarray, former: np.ndarray | None
    ) -> np.ndarray:
        """Weights from counted answers; classes without images keep their previous weights."""
        if self.assignment in BAYESIAN_METHODS:
            return weights_from_counts(counts, former=former)
        if former is not None:
            settled = (former > 0) & ~counts.any(axis=0)
            counts = np.where(settled, np.inf, counts)
        table = labels_from_counts(counts, score_sums, self.labels_per_class)
        return table_weights(table.tolist(), len(counts))

    def get_config(self) -> dict[str, Any]:
        return {
            **self.base_config(),
            "labels_per_class": self.labels_per_class,
            "assignment": self.assignment,
            "label_table": None if self.label_table is None else list(map(list, self.label_table)),
            "weights": None if self._given is None else self._given.tolist(),
            "seed": self.seed,
        }


SELF_DEFINED = "self-defined"
# Picks `labels_per_class` source labels a class.
PICKED = ("random", "frequency", "iterative")
# Assigned again at the end of each epoch.
OBSERVING = ("iterative", *BAYESIAN)
# Needs answers before it can be used.
FITTED = ("frequency", *OBSERVING)
ASSIGNMENTS = (*PICKED, *BAYESIAN, SELF_DEFINED)


def check_arguments(assignment: str, labels_per_class: int, label_table: Any, weights: Any) -> None:
    """Refuses arguments of a `MultiLabelMap` that exclude each other."""
    one_of("assignment", assignment, ASSIGNMENTS)
    if (assignment == SELF_DEFINED) != (label_table is not None):
        raise ValueError(
            f'`label_table` and `assignment="{SELF_DEFINED}"` belong together. Received: '
            f"assignment={assignment!r}, label_table={label_table!r}. Pass both or neither."
        )
    if label_table is not None and weights is not None:
        raise ValueError(
            "`label_table` and `weights` both say which labels stand for a class. Received: both. "
            "Leave one out."
        )
    if labels_per_class != 1 and assignment not in PICKED:
        raise ValueError(
            f"`labels_per_class` is for {', '.join(PICKED)}. Received: {labels_per_class} with "
            f"assignment={assignment!r}, which itself decides how many source labels each class "
            f"has. Leave it out."
        )


LabelTable = tuple[tuple[int, ...], ...]


def checked_weights(weights: Any, num_classes: int) -> np.ndarray:
    """A user's weight matrix as float32 `(S, K)`, finite and non-negative."""
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


def checked_table(label_table: Any, num_classes: int) -> LabelTable:
    """A user's table as tuples: for each class its source labels."""
    try:
        table = tuple(tuple(_label(label) for label in row) for row in label_table)
    except TypeError as error:
        raise ValueError(
            "`label_table` must be a list of lists of whole numbers, for each class the source "
            f"labels that stand for it. Received: {label_table!r}."
        ) from error
    if len(table) != num_classes or not all(table):
        raise ValueError(
            f"`label_table` must have a row for each of {num_classes} classes, with one source "
            f"label or more. Received: rows of lengths {[len(row) for row in table]}."
        )
    used = [label for row in table for label in row]
    if min(used) < 0 or len(set(used)) < len(used):
        twice = sorted({label for label in used if used.count(label) > 1})
        raise ValueError(
            "`label_table` must hold numbers >= 0, and no source label may occur twice. Received: "
            f"smallest {min(used)}, more than once {twice}. Pass `weights=` to share a label."
        )
    return table


def _label(label: Any) -> int:
    if isinstance(label, bool) or not isinstance(label, int | np.integer):
        raise TypeError(f"{label!r} is no whole number")
    return int(label)


def table_weights(table: Sequence[Sequence[int]], num_source_labels: int) -> np.ndarray:
    """The matrix `(S, K)` that takes the mean score of each class's source labels."""
    largest = max(max(row) for row in table)
    if largest >= num_source_labels:
        raise ValueError(
            f"`label_table` must hold labels in [0, {num_source_labels}), those of the source. "
            f"Received: label {largest}. Number them from 0, in the order of its scores."
        )
    matrix = np.zeros((num_source_labels, len(table)), np.float32)
    for target, source_labels in enumerate(table):
        matrix[list(source_labels), target] = 1.0 / len(source_labels)
    return matrix
