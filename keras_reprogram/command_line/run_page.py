"""Sections of a training run's report."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_reprogram.arguments import is_image
from keras_reprogram.command_line.measures import read_metrics
from keras_reprogram.command_line.seed_run import LINEAR_HEAD, NO_SOURCE
from keras_reprogram.output_map import DenseMap, MultiLabelMap
from keras_reprogram.report import (
    FindingsMetrics,
    ReportSection,
    ResultRow,
    TextTable,
    draw_accuracy_over_queries,
    draw_confusion_matrix,
    draw_label_map,
    draw_program,
    draw_source_images,
    draw_training_curves,
    draw_weight_map,
    write_html_report,
)
from keras_reprogram.report.class_charts import checked_weights
from keras_reprogram.report.pictures import one_if_shared
from keras_reprogram.source.ledger.query_ledger import money_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras_reprogram.datasets import TargetData
    from keras_reprogram.model.reprogrammed_model import ReprogrammedModel


_READING = (
    "Queries are images shown to the source: for training, and for each prediction. A source that "
    "does not beat the no-source row contributes nothing. The linear head reads features, which "
    "an opaque source does not provide."
)
_BALANCED = (
    "Balanced accuracy is the mean of the classes' recalls. Where most images belong to one "
    "class, plain accuracy rewards a model that always predicts that class."
)
_FINDINGS = (
    "An image has any number of findings. AUC does not depend on how rare a finding is. A finding "
    "counts as found from its threshold on, which was chosen on held-out training images by F1."
)
_MEANS = (
    "AUC and F1 are means over the findings; accuracy is the share of pairs of an image and a "
    "finding that are read right, which rare findings flatter."
)
_STOPPED = (
    "Training was stopped before accuracy was measured. `keras-reprogram evaluate` measures it, "
    "and leaves this page as it is."
)
# Long lists that have sections of their own; `_PATHS` are repeated in shorter form.
_NOT_SETTINGS = ("results", "metrics", "curve", "history", "format", "complete")
_PATHS = ("spec",)


@dataclass(frozen=True)
class RunContents:
    """The parts of a run to report on; a missing part is a sentence that gives the reason.

    Args:
        facts: what `run.json` says.
        model: the trained model, or `None`.
        target: the images that it was trained and tested on, or `None`.
        no_model: why there is no model.
        no_target: why there are no images.
        price_per_thousand: of 1,000 queries, or `None`.
    """

    facts: dict[str, Any]
    model: ReprogrammedModel | None
    target: TargetData | None
    no_model: str = ""
    no_target: str = ""
    price_per_thousand: float | None = None


def write_run_page(path: Path, contents: RunContents, *, overwrite: bool = False) -> Path:
    """Writes one self-contained HTML file."""
    contents = _passed_on(contents)
    facts = contents.facts
    return write_html_report(
        path,
        title=f"{facts['target']['name']} from {facts['source']['given']}",
        introduction=" ".join((facts["target"]["origin"], *facts["target"]["notes"])),
        sections=run_sections(contents),
        overwrite=overwrite,
    )


def _passed_on(contents: RunContents) -> RunContents:
    """Contents without the folders of this machine: a page is meant to be shared."""
    parts = [contents.facts["source"], contents.facts["target"]]
    known = tuple(part[key] for part in parts for key in _PATHS if part.get(key))
    texts = {
        name: without_folders(getattr(contents, name), known)
        for name in ("facts", "no_model", "no_target")
    }
    # Names of classes are no paths, whatever is in them.
    texts["facts"]["target"]["class_names"] = contents.facts["target"]["class_names"]
    return replace(contents, **texts)


def run_sections(contents: RunContents) -> list[ReportSection]:
    """All sections of a run's report; those that cannot be made say why."""
    model, target, facts = contents.model, contents.target, contents.facts
    if model is None:
        shown = [_absent("The program", contents.no_model), _absent("The map", contents.no_model)]
    else:
        shown = [program(model), *label_map(model, facts["target"]["class_names"])]
    if model is None or target is None:
        images = _absent("Target images", contents.no_target or contents.no_model)
    else:
        images = pictures(model, target)
    return [
        _results(facts),
        ReportSection("The run", details=_run_details(contents)),
        images,
        *shown,
        _errors(facts),
        _queries(facts),
        _curves(facts),
        ReportSection("Settings", details=_settings(facts)),
    ]


def _results(facts: dict[str, Any]) -> ReportSection:
    heading = "Accuracy and price"
    if not facts.get("results"):
        return _absent(heading, _STOPPED)
    rows = [_row(stored) for stored in facts["results"]]
    names = {row.method for row in rows}
    missing = [name for name in (NO_SOURCE, LINEAR_HEAD) if name not in names]
    text = _BALANCED if any(row.balanced_accuracies for row in rows) else ""
    if any("AUC" in row.figures for row in rows):
        text = _MEANS
    text = f"{_READING} {text}".strip()
    if missing:
        text += f" Not measured here: {', '.join(missing)}."
    return ReportSection(heading, text=text, table=rows)


def _row(stored: dict[str, Any]) -> ResultRow:
    return ResultRow(
        stored["method"],
        tuple(stored["accuracies"]),
        stored["training_queries"],
        stored["queries_per_prediction"],
        stored["seconds"],
        stored["note"],
        # Runs of earlier versions, and of classes of equal size, have none.
        tuple(stored.get("balanced_accuracies", ())),
        stored.get("figures", {}),
    )


def _run_details(contents: RunContents) -> dict[str, Any]:
    facts = contents.facts
    source, asked = facts["source"], _last_asked(facts)
    queries, each = asked.get("training_queries"), asked.get("queries_per_prediction")
    details: dict[str, Any] = {
        "source": source["given"] + (" (opaque)" if source["opaque"] else ""),
        "fingerprint of the source": source["fingerprint"],
        "seeds": facts["seeds"],
        "queries for training": queries,
        "queries for a prediction": each,
    }
    price = contents.price_per_thousand
    if price is not None:
        details["price of 1,000 queries"] = price
        details["money for training"] = None if queries is None else money_for(queries, price)
        details["money for 1,000 predictions"] = None if each is None else each * price
    ledger = contents.model.source.ledger if contents.model else None
    if ledger is not None:
        details["spent on the source's ledger, all runs"] = ledger.spent
        details["money spent on it"] = ledger.money_spent
    return details


def _last_asked(facts: dict[str, Any]) -> dict[str, Any]:
    """The row of the program that the folder keeps: the last one before the baselines."""
    baselines = (NO_SOURCE, LINEAR_HEAD)
    kept = [row for row in facts.get("results", []) if row["method"] not in baselines]
    return kept[-1] if kept else {}


def _errors(facts: dict[str, Any]) -> ReportSection:
    if not facts.get("metrics"):
        return _absent("Errors", _STOPPED)
    metrics = read_metrics(facts["metrics"])
    if isinstance(metrics, FindingsMetrics):
        heading = f"Findings on {metrics.num_examples:,} test images"
        return ReportSection(heading, text=_FINDINGS, metrics=metrics)
    return ReportSection(
        f"Errors on {metrics.num_examples:,} test images",
        figure=draw_confusion_matrix(metrics.confusion_matrix, facts["target"]["class_names"]),
        metrics=metrics,
    )


def _queries(facts: dict[str, Any]) -> ReportSection:
    heading = "Validation accuracy over queries"
    if not facts.get("results"):
        return _absent(heading, _STOPPED)
    if not facts.get("curve"):
        return _absent(
            heading, "No curve: only the map was fitted, and no later stage was validated."
        )
    figure = draw_accuracy_over_queries({"validation part": facts["curve"]})
    text = "The first point is the map alone."
    if facts["options"].get("class_weight") is not None:
        text += " Images are weighted by the weight of their class."
    return ReportSection(heading, text=text, figure=figure)


def _curves(facts: dict[str, Any]) -> ReportSection:
    heading = "Training curves"
    if not facts.get("results"):
        return _absent(heading, _STOPPED)
    if not facts.get("history"):
        return _absent(heading, "No curve: the program was not trained in epochs.")
    return ReportSection(heading, figure=draw_training_curves(facts["history"]))


def _settings(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: _without_paths(value) for key, value in facts.items() if key not in _NOT_SETTINGS}


def _without_paths(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: part for key, part in value.items() if key not in _PATHS}


def _absent(heading: str, reason: str) -> ReportSection:
    return ReportSection(heading, text=reason)


_MOST_PICTURES = 10
_MOST_LABELS = 8
_LICENCE = (
    "These images are part of the data set named at the top, and its licence says whether this "
    "file may be shared. `keras-reprogram report RUN --no-pictures` leaves them out."
)


def pictures(model: ReprogrammedModel, target: TargetData) -> ReportSection:
    """The first test image of each class or finding, over the source images that it becomes."""
    if not is_image(target.target_shape):
        said = f"No pictures: targets of shape {target.target_shape} are no images."
        return _absent("Targets and what the source gets of them", said)
    if target.is_multi_label:
        first = np.unique(target.test_labels.argmax(axis=0))
    else:
        _, first = np.unique(target.test_labels, return_index=True)
    rows = first[:_MOST_PICTURES]
    images = target.test_images[rows]
    figure = draw_source_images(
        images,
        keras.ops.convert_to_numpy(model.program(images)),
        model.source.value_range,
        [_said(target, label) for label in target.test_labels[rows]],
        target_range=target.target_range,
    )
    return ReportSection(
        "Target images and the source images they become", text=_LICENCE, figure=figure
    )


def _said(target: TargetData, label: np.ndarray) -> str:
    """The names of an image's class, or of its findings."""
    if not target.is_multi_label:
        return target.class_names[label]
    return ", ".join(target.class_names[k] for k in np.flatnonzero(label)) or "no finding"


def program(model: ReprogrammedModel) -> ReportSection:
    """The program of each view, as the source would see it without an image."""
    heading, layer = "The program", model.program
    images = layer.program_images()
    if images is None:
        text = (
            f"No picture: a {type(layer).__name__} has no `program_images`; the source images "
            "above show what it does."
        )
        return ReportSection(heading, text=text)
    if not np.abs(images).max() > 0:
        text = (
            "No picture: the program is zero. Either only the map was fitted, or no program beat "
            "the map alone."
        )
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
    """The output map: source labels of each class."""
    output_map, source = model.output_map, model.source
    heading = "Which source labels stand for which class"
    if isinstance(output_map, MultiLabelMap):
        weights = keras.ops.convert_to_numpy(output_map.label_weights.value)
        text, table = "", _label_table(weights, source.class_names, class_names)
        more = []
    elif isinstance(output_map, DenseMap):
        kernel = keras.ops.convert_to_numpy(output_map.kernel.value)
        # Of a joint source the part that is asked comes first.
        kernel = kernel[: model.queries_per_prediction * source.num_labels]
        weights = kernel.reshape(-1, source.num_labels, output_map.num_classes).sum(axis=0)
        text, table = "Weights of the standardised log-scores, summed over the views.", None
        figure = draw_weight_map(weights, source.class_names, class_names)
        more = [ReportSection("The weights of the map", text, figure=figure)]
    else:
        text = f"No picture: a {type(output_map).__name__} does not read the source's labels."
        return [ReportSection(heading, text=text)]
    figure = draw_label_map(weights, source.class_names, class_names)
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


# A path up to its last part. What begins behind a word is a fraction, an address, a relative path.
_PART = r"[^\s/\\'\"<>|]+"
_FOLDERS = re.compile(
    r"(?<![\w./\\)%\]>+~-])(?:"
    rf"(?:file://)?(?:~|\.\.?|[A-Za-z]:)?(?:/{_PART})*/{_PART}/(?:\.\./)*(?={_PART})"
    rf"|(?:[A-Za-z]:|\\)(?:\\{_PART})+\\(?={_PART}))"
)


def without_folders(value: Any, known: tuple[str, ...] = ()) -> Any:
    """A text without the folders of the paths in it; values in dictionaries and lists likewise."""
    if isinstance(value, dict):
        return {key: without_folders(part, known) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(part, known) for part in value]
    if not isinstance(value, str):
        return value
    for path in known:
        value = _replaced(value, path, Path(path).name)
    for folder in _own_folders():
        value = _replaced(value, f"{folder}{os.sep}", "")
    return _FOLDERS.sub("", value)


def _replaced(text: str, path: str, name: str) -> str:
    # The root alone would take every slash.
    if len(Path(path).parts) < 2:
        return text
    end = "" if path.endswith(os.sep) else r"(?![\w-])"
    return re.sub(rf"(?<![\w./\\-]){re.escape(path)}{end}", lambda _: name, text)


def _own_folders() -> list[Path]:
    folders = []
    for find in (Path.cwd, Path.home):
        # A folder that was removed, a user without a home.
        with contextlib.suppress(OSError, RuntimeError):
            folders.append(find())
    return folders
