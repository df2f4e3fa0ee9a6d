"""Figures of a model on test images, of one class an image or of several findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_reprogram.report import (
    ClassificationMetrics,
    FindingsMetrics,
    classification_metrics,
    findings_metrics,
)

if TYPE_CHECKING:
    from keras_reprogram.datasets import TargetData
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel

Metrics = ClassificationMetrics | FindingsMetrics


def measured(
    model: ReprogrammedModel, target: TargetData, probabilities: np.ndarray | None
) -> Metrics:
    """Measures a model's probabilities on the test images; findings by its own thresholds."""
    names, output_map = target.class_names, model.output_map
    if not output_map.multi_label:
        ordinal = output_map.ordinal
        return classification_metrics(target.test_labels, probabilities, names, ordinal=ordinal)
    thresholds = keras.ops.convert_to_numpy(output_map.thresholds)
    return findings_metrics(target.test_labels, probabilities, names, thresholds)


def read_metrics(figures: Mapping[str, Any]) -> Metrics:
    """Reads what a run folder keeps."""
    kind = FindingsMetrics if "findings" in figures else ClassificationMetrics
    return kind.from_dict(figures)
