"""Reports of accuracy and cost: metrics, tables, pictures and an HTML page.

Everything here takes plain arrays and numbers, so it reports on any classifier; `ProgramImages`
alone watches a model while it learns.
"""

from keras_reprogram.report.class_charts import (
    draw_confusion_matrix,
    draw_label_map,
    draw_weight_map,
)
from keras_reprogram.report.curves import draw_accuracy_over_queries, draw_training_curves
from keras_reprogram.report.findings_metrics import (
    FindingMetrics,
    FindingsMetrics,
    findings_metrics,
)
from keras_reprogram.report.html_report import ReportSection, write_html_report
from keras_reprogram.report.metrics import (
    ClassificationMetrics,
    ClassMetrics,
    classification_metrics,
    wilson_interval,
)
from keras_reprogram.report.pictures import draw_program, draw_source_images
from keras_reprogram.report.program_images import ProgramImages
from keras_reprogram.report.tables import (
    ResultRow,
    TextTable,
    results_json,
    results_markdown,
    results_table,
)

__all__ = [
    "ClassMetrics",
    "ClassificationMetrics",
    "FindingMetrics",
    "FindingsMetrics",
    "ProgramImages",
    "ReportSection",
    "ResultRow",
    "TextTable",
    "classification_metrics",
    "draw_accuracy_over_queries",
    "draw_confusion_matrix",
    "draw_label_map",
    "draw_program",
    "draw_source_images",
    "draw_training_curves",
    "draw_weight_map",
    "findings_metrics",
    "results_json",
    "results_markdown",
    "results_table",
    "wilson_interval",
    "write_html_report",
]
