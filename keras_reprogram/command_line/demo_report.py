"""What both demos print and write alike: a row of the table, and sections of the report."""

from __future__ import annotations

import keras
import numpy as np

from keras_reprogram.command_line.seed_run import Outcome
from keras_reprogram.datasets import TargetData
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.report import (
    ReportSection,
    ResultRow,
    classification_metrics,
    draw_confusion_matrix,
    draw_source_images,
)


def result_row(name: str, results: list[Outcome]) -> ResultRow:
    """One method's row, of its outcomes with all seeds."""
    first = results[0]
    notes = list(dict.fromkeys(result.note for result in results if result.note))
    return ResultRow(
        name,
        tuple(result.accuracy for result in results),
        first.training_queries,
        first.queries_per_prediction,
        sum(result.seconds for result in results) / len(results),
        ", ".join(notes),
    )


def views_section(model: ReprogrammedModel, data: TargetData, text: str) -> ReportSection:
    """One digit of each kind above the source images that it becomes."""
    first = [int(np.argmax(data.test_labels == label)) for label in range(len(data.class_names))]
    examples = data.test_images[first]
    return ReportSection(
        "Ten digits and the source images they become",
        text=text,
        figure=draw_source_images(
            examples,
            keras.ops.convert_to_numpy(model.program(examples)),
            model.source.value_range,
            list(data.class_names),
            target_range=(0, 255),
        ),
    )


def errors_section(name: str, outcome: Outcome, data: TargetData) -> ReportSection:
    """Confusion matrix and figures of one method on the test images."""
    metrics = classification_metrics(data.test_labels, outcome.probabilities, data.class_names)
    return ReportSection(
        f"Errors of {name!r}, first seed",
        figure=draw_confusion_matrix(metrics.confusion_matrix, data.class_names),
        metrics=metrics,
    )
