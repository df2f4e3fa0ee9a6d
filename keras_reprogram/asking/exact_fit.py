"""Exact fit of the output map, on new or stored answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_reprogram.asking.data import check_end, is_array
from keras_reprogram.fitting.fit_choice import fit_linear_map
from keras_reprogram.fitting.fit_device import check_fit_device
from keras_reprogram.fitting.fit_settings import MapFit
from keras_reprogram.fitting.joined_fit import fit_joined_parts
from keras_reprogram.output_map.output_map import Solver


def collect_scores(
    model: Any, x: Any, *, batch_size: int = 64, steps: int | None = None, verbose: Any = "auto"
) -> np.ndarray:
    """Asks the source once per image and view.

    Args:
        model: a `ReprogrammedModel`, `self` of its method.
        x: images `(n, h, w, c)`, or anything that yields batches of them.
        batch_size: images at once.
        steps: batches that are asked, of what yields batches; `None` for all. Needed where
            it has no end, and where a source that costs is asked and the data do not say how
            many batches they have, as a generator does not.
        verbose: 0 for silence.

    Returns:
        Scores `(n, V, S)`, of a joint source `(n, 1, A)`, for `fit_output_map(scores=...)`.

    Raises:
        ValueError: for images that do not fit.
    """
    _check_before_asking(model, x, labelled=False, steps=steps)
    return model.asker.ask(x, batch_size=batch_size, steps=steps, verbose=verbose)[0]


def fit_output_map(
    model: Any,
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
) -> MapFit | None:
    """Asks the source once per image and view, and fits the output map exactly.

    Args:
        model: a `ReprogrammedModel`, `self` of its method.
        x: images `(n, h, w, c)`, or a `tf.data.Dataset`, `PyDataset` or other iterable of
            `(x, y)` or `(x, y, sample_weight)` batches.
        y: integer or one-hot labels, with arrays. Of rows of probabilities the most probable
            class counts, and a warning says so. For a map of several findings rows `(n, K)` of 0
            and 1.
        sample_weight: `(n,)`, with arrays.
        class_weight: weight for each class, by index; of several findings what an image counts
            that has the finding, where one that has not counts 1.
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
        ValueError: for images or labels that do not fit, for a class without an image, and for a
            finding that no image has, or every image.
    """
    output_map = model.output_map
    _check_split(validation_split)
    model.data_checks.class_weights(class_weight)
    if scores is None:
        labels = _check_before_asking(model, x, y, sample_weight, labelled=True, steps=steps)
        if labels is not None:
            check_groups(groups, len(labels))
            model.data_checks.weights(labels, sample_weight, class_weight)
        how = {"batch_size": batch_size, "steps": steps, "verbose": verbose}
        scores, y, sample_weight = model.asker.ask(x, y, sample_weight, learned=True, **how)
    scores = checked_scores(model, scores)
    checks = model.data_checks
    labels = checks.learned_labels(y, len(scores))
    checks.every_class(labels, model.class_names)
    weight = checks.weights(labels, sample_weight, class_weight)
    groups = check_groups(groups, len(labels))

    solver = map_solver(output_map, model.seed, validation_split=validation_split, groups=groups)
    return output_map.fit_answers(scores, labels, solver=solver, sample_weight=weight)


def map_solver(
    output_map: Any, seed: int, *, validation_split: float, groups: np.ndarray | None
) -> Solver:
    """Solves a map exactly, see `OutputMap.fit_answers`."""

    def solver(
        features: np.ndarray, labels: np.ndarray, weight: np.ndarray | None, **options: Any
    ) -> MapFit:
        return (fit_joined_parts if "parts" in options else fit_linear_map)(
            features,
            labels,
            num_classes=output_map.num_classes,
            sample_weight=weight,
            validation_split=validation_split,
            seed=seed,
            groups=groups,
            method=output_map.fit,
            **options,
        )

    return solver


def _check_before_asking(
    model: Any,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    labelled: bool,
    steps: int | None,
) -> np.ndarray | None:
    """Checks everything that can be known before the first query; the labels, if they are."""
    if labelled:
        check_fit_device()
    checks, costly = model.data_checks, not model.source.in_graph
    if is_array(x):
        if steps is not None:
            raise ValueError(
                "`steps` counts batches of data that come in batches. Received: arrays and "
                f"steps={steps}. Pass a part of the arrays."
            )
        if not labelled:
            checks.images(x)
            return None
        labels = checks.labels(checks.arrays(x, y, sample_weight)[1], len(x))
        checks.every_class(labels, model.class_names)
        return labels
    check_end(x, steps, costs=costly)
    if not costly:
        return None
    # Answers may cost money: the data set is read twice rather than asked in vain.
    labels = checks.all_batches(x, labelled=labelled, steps=steps)
    if labels is not None:
        checks.every_class(labels, model.class_names)
    return labels


def _check_split(validation_split: float) -> None:
    if not 0 <= validation_split < 1:
        raise ValueError(
            "`validation_split` must be a share in [0, 1); 0 holds nothing out. Received: "
            f"validation_split={validation_split}. Pass 0.2, or leave it out."
        )


def checked_scores(model: Any, scores: Any) -> np.ndarray:
    """Stored answers `(n, V, S)` as float32; a ValueError for any other shape."""
    scores = np.asarray(scores, np.float32)
    expected = model.asker.answer_shape
    if scores.ndim != 3 or scores.shape[1:] != expected or not np.isfinite(scores).all():
        raise ValueError(
            f"`scores` must be finite answers (n, {expected[0]}, {expected[1]}). Received: "
            f"shape {scores.shape}. Pass what `collect_scores` of this model returned."
        )
    return scores


def check_groups(groups: Any, count: int) -> np.ndarray | None:
    """One group an image, `(n,)`."""
    if groups is None:
        return None
    if np.size(groups) != count:
        raise ValueError(
            f"`groups` must be ({count},), one group per image. Received: shape {np.shape(groups)}."
        )
    groups = np.reshape(groups, -1)
    # Only NaN differs from itself, and missing names of groups would become one group.
    if missing := int(np.sum(groups != groups)):
        raise ValueError(
            f"`groups` must name the group of every image. Received: NaN for {missing} images. "
            "Give each of them a group of its own."
        )
    return groups
