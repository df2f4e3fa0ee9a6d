"""The pictures of a run's report: images, program, output map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_reprogram.output_map import DenseMap, MultiLabelMap
from keras_reprogram.report import (
    ReportSection,
    TextTable,
    draw_label_map,
    draw_program,
    draw_source_images,
    draw_weight_map,
)
from keras_reprogram.report.pictures import one_if_shared
from keras_reprogram.report.weight_checks import checked_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras_reprogram.datasets import TargetData
    from keras_reprogram.reprogrammed_model import ReprogrammedModel

_MOST_PICTURES = 10
_MOST_LABELS = 8
_LICENCE = (
    "These images are part of the data set named at the top: its licence says whether this file "
    "may be passed on. `keras-reprogram report RUN --no-pictures` leaves them out."
)


def pictures(model: ReprogrammedModel, target: TargetData) -> ReportSection:
    """The first test image of each class, over the source images that it becomes.

    Args:
        model: whose program makes them; nothing is asked.
        target: the images.

    Returns:
        A section; it holds target images.
    """
    _, first = np.unique(target.test_labels, return_index=True)
    rows = first[:_MOST_PICTURES]
    images = target.test_images[rows]
    figure = draw_source_images(
        images,
        keras.ops.convert_to_numpy(model.program(images)),
        model.source.value_range,
        [target.class_names[label] for label in target.test_labels[rows]],
        target_range=target.target_range,
    )
    return ReportSection(
        "Target images and the source images they become", text=_LICENCE, figure=figure
    )


def program(model: ReprogrammedModel) -> ReportSection:
    """The program of each view, as the source would see it without an image.

    Args:
        model: whose program is drawn.

    Returns:
        A section; where there is nothing to draw it says so.
    """
    heading, layer = "The program", model.program
    if not hasattr(layer, "program_images"):
        text = (
            f"No picture: a {type(layer).__name__} has no `program_images`; the source images "
            "above show what it does."
        )
        return ReportSection(heading, text=text)
    images = layer.program_images()
    if not np.abs(images).max() > 0:
        text = "No picture: the program is zero. The map was fitted alone, or nothing beat it."
        return ReportSection(heading, text=text)
    text, num_views = "Mid-grey where it is zero.", len(images)
    images = one_if_shared(images)
    if len(images) < num_views:
        text += f" It is the same under all {num_views} views."
    low, high = model.source.value_range
    # P is in units of half the range: shown as what it adds to a mid-range canvas.
    figure = draw_program((low + high) / 2 + (high - low) / 2 * images, (low, high))
    return ReportSection(heading, text=text, figure=figure)


def label_map(model: ReprogrammedModel, class_names: Sequence[str]) -> list[ReportSection]:
    """How the source's labels are read as classes.

    Args:
        model: whose output map is shown.
        class_names: of the target.

    Returns:
        Sections with the strongest labels of each class, and all weights or a table.
    """
    output_map, source = model.output_map, model.source
    heading = "Which source labels stand for which class"
    if isinstance(output_map, MultiLabelMap):
        weights = keras.ops.convert_to_numpy(output_map.label_weights.value)
        text, table = "", _label_table(weights, source.labels, class_names)
        more = []
    elif isinstance(output_map, DenseMap):
        kernel = keras.ops.convert_to_numpy(output_map.kernel.value)
        weights = kernel.reshape(-1, source.num_labels, output_map.num_classes).sum(axis=0)
        text, table = "Weights of the standardised log-scores, summed over the views.", None
        figure = draw_weight_map(weights, source.labels, class_names)
        more = [ReportSection("The weights of the map", text, figure=figure)]
    else:
        text = f"No picture: a {type(output_map).__name__} does not read the source's labels."
        return [ReportSection(heading, text=text)]
    figure = draw_label_map(weights, source.labels, class_names)
    return [ReportSection(heading, text, text_table=table, figure=figure), *more]


def _label_table(
    weights: np.ndarray, labels: Sequence[str] | None, class_names: Sequence[str]
) -> TextTable:
    weights, names = checked_weights(weights, labels, class_names)
    rows = [
        (class_name, _listed(column, names))
        for class_name, column in zip(class_names, weights.T, strict=True)
    ]
    return TextTable(("class", "source labels and their weights"), rows)


def _listed(column: np.ndarray, names: Sequence[str]) -> str:
    speaking = [int(i) for i in np.argsort(-column, kind="stable") if column[i] > 0]
    shown = [f"{names[i]} ({column[i]:.2g})" for i in speaking[:_MOST_LABELS]]
    more = len(speaking) - len(shown)
    return ", ".join(shown) + (f", and {more:,} more" if more else "") or "none"
