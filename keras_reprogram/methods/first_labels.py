"""first_labels: the map of those who map nothing, class t is source label t."""

from __future__ import annotations

from keras_reprogram.output_map import MultiLabelMap
from keras_reprogram.output_map.label_assignment import check_label_budget
from keras_reprogram.source.source import Source


def first_labels(source: Source, num_classes: int) -> MultiLabelMap:
    """A `MultiLabelMap` that gives each class the source label of its own number.

    Args:
        source: a `Source`.
        num_classes: target classes K.

    Returns:
        A map.

    Raises:
        ValueError: if the source has fewer labels than there are classes.
    """
    check_label_budget(num_classes, source.num_labels, 1)
    table = [[label] for label in range(num_classes)]
    return MultiLabelMap(num_classes, assignment="self-defined", label_table=table)
