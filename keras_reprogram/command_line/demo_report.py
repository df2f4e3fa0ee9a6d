"""The demo's report: what the program does to digits, and what each method cost."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_reprogram.command_line.demo_methods import (
    BEST,
    FREQUENCY,
    WHITE_BOX,
    Outcome,
)
from keras_reprogram.datasets import TargetData
from keras_reprogram.report import (
    ReportSection,
    ResultRow,
    classification_metrics,
    draw_accuracy_over_queries,
    draw_confusion_matrix,
    draw_label_map,
    draw_program,
    draw_source_images,
    write_html_report,
)


def write_demo_report(
    path: Path, outcomes: dict[str, list[Outcome]], rows: list[ResultRow], data: TargetData
) -> Path:
    """Writes one self-contained HTML file.

    Args:
        path: where to.
        outcomes: method -> one outcome a seed; pictures show the first seed.
        rows: the table.
        data: the first seed's data.

    Returns:
        The path.
    """
    sections = [
        ReportSection("Accuracy and price", text=_READING, table=rows),
        ReportSection("Accuracy over queries", figure=_curves(rows)),
        *_pictures(outcomes, data),
        _errors(outcomes[BEST][0], data),
    ]
    return write_html_report(
        path,
        title="Digits from traffic signs",
        introduction=(
            "A classifier of 43 traffic signs, of which only the scores are seen, was "
            f"reprogrammed to read handwritten digits. {data.origin}"
        ),
        sections=sections,
        overwrite=True,
    )


_READING = (
    "Queries are images shown to the source: for training, and for each prediction. An SVM on the "
    "64 pixels does as well on digits: this task shows that the channel works, not that it pays. "
    "White-box rows see what an opaque source does not show."
)


def _curves(rows: list[ResultRow]) -> Figure:
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        name = "exact map, 1 to 8 views" if row.method.startswith("exact map") else row.method
        curves.setdefault(name, []).append((row.training_queries or 0, row.mean))
    return draw_accuracy_over_queries(curves)


def _pictures(outcomes: dict[str, list[Outcome]], data: TargetData) -> list[ReportSection]:
    viewed, mapped, trained = (outcomes[name][0].model for name in (BEST, FREQUENCY, WHITE_BOX))
    examples = _one_of_each(data)
    source_images = keras.ops.convert_to_numpy(viewed.program(examples))
    value_range = viewed.source.value_range
    # P is in units of half the range: shown as what it adds to a mid-range canvas.
    middle, half = sum(value_range) / 2, (value_range[1] - value_range[0]) / 2
    program = middle + half * trained.program.program_images()
    weights = keras.ops.convert_to_numpy(mapped.output_map.label_weights.value)
    return [
        ReportSection(
            "Ten digits and the source images they become",
            text="The first four of eight views: size, place, colours and background differ.",
            figure=draw_source_images(
                examples, source_images, value_range, list(data.class_names), target_range=(0, 255)
            ),
        ),
        ReportSection(
            "The program that true gradients found", figure=draw_program(program, value_range)
        ),
        ReportSection(
            "Which traffic signs stand for which digit",
            text="The papers' frequency map. The exact map weighs all 43 scores instead.",
            figure=draw_label_map(weights, mapped.source.labels, data.class_names),
        ),
    ]


def _errors(best: Outcome, data: TargetData) -> ReportSection:
    metrics = classification_metrics(data.test_labels, best.probabilities, data.class_names)
    return ReportSection(
        f"Errors of {BEST!r}, first seed",
        figure=draw_confusion_matrix(metrics.confusion_matrix, data.class_names),
        metrics=metrics,
    )


def _one_of_each(data: TargetData) -> np.ndarray:
    first = [int(np.argmax(data.test_labels == label)) for label in range(len(data.class_names))]
    return data.test_images[first]
