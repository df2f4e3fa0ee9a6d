"""fit_opaque: data and budget are checked and planned, then the recipe runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_reprogram.asking.asker import QueryBar
from keras_reprogram.asking.data import LabelledImages
from keras_reprogram.asking.exact_fit import check_groups, image_weights
from keras_reprogram.asking.images import check_every_class, most_probable_labels
from keras_reprogram.asking.label_forms import labels_for
from keras_reprogram.opaque.plan import plan_opaque
from keras_reprogram.opaque.recipe import OpaqueRecipe
from keras_reprogram.opaque.result import OpaqueFit


def fit_opaque(
    model: Any,
    x: Any,
    y: Any,
    *,
    query_budget: int,
    validation_data: Any,
    validation_split: float,
    sample_weight: Any,
    class_weight: dict[int, float] | None,
    groups: np.ndarray | None,
    choose_views: bool | None,
    batch_size: int,
    progress: Callable[[int], None] | None,
    verbose: Any,
) -> OpaqueFit:
    """`ReprogrammedModel.fit_opaque`."""
    everything = _labelled(model, x, y, sample_weight, class_weight)
    check_every_class(everything.labels, model.output_map.num_classes, model.class_names)
    everything.groups = check_groups(groups, len(everything))
    held_out = everything
    if validation_data is not None:
        held_x, held_y, weight = keras.utils.unpack_x_y_sample_weight(validation_data)
        held_out = _labelled(model, held_x, held_y, weight, class_weight)
    plan = plan_opaque(
        model,
        everything.labels,
        groups=everything.groups,
        weight=everything.weight,
        validation_labels=None if validation_data is None else held_out.labels,
        validation_split=validation_split,
        query_budget=int(query_budget),
        choose_views=choose_views,
    )
    train, validation = everything.take(plan.train), held_out.take(plan.validation)
    _check_weights(train, validation)
    bar = QueryBar(model.source, int(query_budget), verbose)
    fit = OpaqueRecipe(
        model,
        plan,
        train,
        validation,
        refit_on_all=validation_data is None,
        query_budget=int(query_budget),
        batch_size=batch_size,
        progress=progress or bar.update,
    ).run()
    if progress is None:
        bar.finish()
    return fit


def _labelled(
    model: Any, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None
) -> LabelledImages:
    images, targets = model.data_checks.arrays(x, y, sample_weight)[:2]
    num_classes = model.output_map.num_classes
    labels = most_probable_labels(y, len(images), num_classes)
    weight = image_weights(labels, sample_weight, class_weight)
    # The labels as the steps' loss takes them: as they came, if it reads those.
    steps = model.compiled and model.steps.estimates
    targets = labels_for(model.loss, targets, labels, num_classes) if steps else labels
    return LabelledImages(images, labels, targets, weight)


def _check_weights(train: LabelledImages, validation: LabelledImages) -> None:
    for part, said in ((train, "to learn from"), (validation, "held out")):
        if part.weight is not None and not part.weight.any():
            raise ValueError(
                "Images that count must be on both sides of the split. "
                f"Received: weights of which all {len(part)} images {said} have 0. Pass "
                "`validation_data` of your own, or leave images of weight 0 out."
            )
