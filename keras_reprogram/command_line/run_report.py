"""The report of a training run: table, pictures, errors, curves, settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_reprogram.command_line.recipe import SeedRun
from keras_reprogram.output_map import DenseMap, MultiLabelMap
from keras_reprogram.report import (
    ClassificationMetrics,
    ReportSection,
    ResultRow,
    draw_accuracy_over_queries,
    draw_confusion_matrix,
    draw_label_map,
    draw_program,
    draw_source_images,
    draw_training_curves,
    write_html_report,
)

_MOST_PICTURES = 10
_READING = (
    "Queries are images shown to the source: for training, and for each prediction. A source that "
    "does not beat the no-source row has given nothing. The linear head reads features that an "
    "opaque source does not show."
)


def write_run_report(
    path: Path,
    run: SeedRun,
    rows: Sequence[ResultRow],
    metrics: ClassificationMetrics,
    facts: dict[str, Any],
) -> Path:
    """Writes one self-contained HTML file. It holds target images.

    Args:
        path: where to.
        run: the run of the first seed, which the pictures show.
        rows: the table.
        metrics: of the result on the test images.
        facts: what `run.json` says.

    Returns:
        The path.
    """
    sections = [
        ReportSection("Accuracy and price", text=_READING, table=rows),
        *_pictures(run),
        *_label_map(run),
        ReportSection(
            f"Errors on {metrics.num_examples:,} test images",
            figure=draw_confusion_matrix(metrics.confusion_matrix, run.target.class_names),
            metrics=metrics,
        ),
        *_curves(run),
        ReportSection("Settings", details=_settings(facts)),
    ]
    source, target = facts["source"]["given"], facts["target"]
    return write_html_report(
        path,
        title=f"{target['name']} from {source}",
        introduction=" ".join((target["origin"], *target["notes"])),
        sections=sections,
    )


def _pictures(run: SeedRun) -> list[ReportSection]:
    model, target = run.model, run.target
    rows = _examples(target.test_labels)
    images = target.test_images[rows]
    source_images = keras.ops.convert_to_numpy(model.program(images))
    value_range = model.source.value_range
    names = [target.class_names[label] for label in target.test_labels[rows]]
    sections = [
        ReportSection(
            "Target images and the source images they become",
            figure=draw_source_images(
                images, source_images, value_range, names, target_range=target.target_range
            ),
        )
    ]
    program = model.program.program_images()
    if np.abs(program).max() > 0:
        # P is in units of half the range: shown as what it adds to a mid-range canvas.
        middle, half = sum(value_range) / 2, (value_range[1] - value_range[0]) / 2
        figure = draw_program(middle + half * program, value_range)
        sections.append(ReportSection("The program", figure=figure))
    return sections


def _examples(labels: np.ndarray) -> np.ndarray:
    """The first image of each class, at most ten classes."""
    _, first = np.unique(labels, return_index=True)
    return first[:_MOST_PICTURES]


def _label_map(run: SeedRun) -> list[ReportSection]:
    model = run.model
    output_map, source = model.output_map, model.source
    if isinstance(output_map, MultiLabelMap):
        weights = keras.ops.convert_to_numpy(output_map.label_weights.value)
        text = ""
    elif isinstance(output_map, DenseMap):
        kernel = keras.ops.convert_to_numpy(output_map.kernel.value)
        weights = kernel.reshape(-1, source.num_labels, output_map.num_classes).sum(axis=0)
        text = "Weights of the standardised log-scores, summed over the views."
    else:
        return []
    figure = draw_label_map(weights, source.labels, run.target.class_names)
    return [ReportSection("Which source labels stand for which class", text, figure=figure)]


def _curves(run: SeedRun) -> list[ReportSection]:
    if not run.curve:
        return []
    queries = draw_accuracy_over_queries({"validation part": run.curve})
    sections = [
        ReportSection(
            "Validation accuracy over queries",
            text="The first point is the map alone.",
            figure=queries,
        )
    ]
    if run.history:
        curves = draw_training_curves(run.history)
        sections.append(ReportSection("Training curves", figure=curves))
    return sections


def _settings(facts: dict[str, Any]) -> dict[str, Any]:
    hidden = ("results", "metrics", "curve", "history", "format")
    return {key: value for key, value in facts.items() if key not in hidden}
