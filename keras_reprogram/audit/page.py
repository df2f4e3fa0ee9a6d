"""The page of an audit: what an owner should know, in plain language, and the figures behind it."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import fmean, stdev

from keras_reprogram.audit.honest_use import HonestUse
from keras_reprogram.audit.measures import AS_IT_IS
from keras_reprogram.audit.result import Audit, TaskAudit
from keras_reprogram.report import (
    ReportSection,
    TextTable,
    draw_accuracy_over_queries,
    write_html_report,
)
from keras_reprogram.report.tables import SPREAD_NOTE, mean_and_spread
from keras_reprogram.version import __version__

# Points of accuracy below which nobody would pay for a query.
_NO_GAIN = 0.01


def write_audit_page(
    path: str | os.PathLike[str], audit: Audit, *, source_name: str, overwrite: bool = False
) -> Path:
    """Writes an audit as one HTML file.

    Args:
        path: of the file.
        audit: what was found.
        source_name: of the source, for the title.
        overwrite: whether an existing file is replaced.

    Returns:
        The file's path.

    Raises:
        FileExistsError: if the file exists and `overwrite` is `False`.

    Example:
    ```python
    from keras_reprogram.audit import Audit, write_audit_page

    def report(audit: Audit) -> None:
        write_audit_page("audit.html", audit, source_name="my API", overwrite=True)
    ```
    """
    return write_html_report(
        path,
        title=f"Audit of {source_name}",
        introduction=_INTRODUCTION,
        sections=[
            ReportSection("Summary", "\n\n".join(summary(audit))),
            ReportSection(
                "Foreign tasks through the source",
                _ABOUT_TASKS,
                text_table=tasks_table(audit),
                figure=draw_accuracy_over_queries(_curves(audit)),
            ),
            *(_measures_section(audit, task) for task in audit.tasks),
            ReportSection("A rate limit", _ABOUT_RATES, text_table=rates_table(audit)),
            ReportSection("How it was measured", _METHOD, details=_details(audit)),
        ],
        overwrite=overwrite,
    )


_INTRODUCTION = """\
How much could a stranger make of this API for tasks that it was never made for? A classifier that
answers with scores can be reprogrammed: images of another task are shown to it, and a small map,
fitted on its scores, reads another answer out of them.

This page is for the owner of the API, or for those whom the owner asked. An API of somebody else
has terms that may forbid what is measured here."""
_ABOUT_TASKS = """\
"Pixels alone" is the better of logistic regression and an RBF-SVM on the same training images,
without the API. The gain over it is what the API is worth to a stranger. A view is one more query
of the same image: at another size and place, in other colours."""
_ABOUT_RATES = """\
A limit on the number of queries changes no accuracy, only the time that it takes to reach it, and
the time of every prediction afterwards. It costs honest users nothing below the limit."""
_METHOD = """\
The stranger sees scores only. Their map is logistic regression on the log-scores of all views,
fitted exactly (as fit_output_map does), its regularisation chosen on a held-out fifth of their
training images. Accuracies are of test images that no fit saw, and nothing was chosen on them.
Every query was asked once; measures were then applied to the stored scores. Noise is drawn from
the answer itself, so that asking again does not average it out. The calibration error is the
expected calibration error in 15 bins.

A stranger may do better than this: with other views, with more queries, with a trained program,
or with the pixels beside the scores. A low figure here is no proof of safety."""


def summary(audit: Audit) -> list[str]:
    """What an owner should know, in sentences."""
    found = [_task_sentence(audit, task) for task in audit.tasks]
    most = max(audit.tasks, key=lambda task: task.gain())
    if most.gain() > _NO_GAIN and len(audit.measures) > 1:
        found.append(_measure_sentence(audit, most))
    elif len(audit.measures) > 1:
        found.append(
            "On these tasks there is no gain that a measure could take away. Other tasks may be "
            "closer to what the API was made for: pass them as --target."
        )
    found.append(_rate_sentence(audit, most))
    if audit.source.get("answers_at_random"):
        found.append(
            "The API answers at random: all figures are behind its own random switching. Every "
            "query was asked once; views are further draws for a stranger, who averages over them."
        )
    return found


def _task_sentence(audit: Audit, task: TaskAudit) -> str:
    reached = fmean(task.accuracies[AS_IT_IS.name][task.num_views])
    alone, gain = fmean(task.baseline), task.gain()
    price = audit.money(task.training_queries)
    cost = f"{task.training_queries:,} queries" + ("" if price is None else f" ({price:,.2f})")
    text = (
        f"{task.name}: with {cost} of training a stranger reads {reached:.1%} of the test images "
        f"right through this API. Without it, from the pixels alone, it is {alone:.1%}. "
    )
    if gain <= _NO_GAIN:
        return text + "The API gives them nothing that they do not have."
    doubt = ""
    if len(task.baseline) > 1 and stdev(task.gains()) >= gain:
        doubt = ", which is no more than it varies between seeds"
    return text + f"The API is worth {100 * gain:.1f} points to them{doubt}."


def _measure_sentence(audit: Audit, task: TaskAudit) -> str:
    enough = [name for name in audit.measures[1:] if task.gain(name) <= _NO_GAIN]
    if enough:
        mildest = min(enough, key=lambda name: _cost(audit.uses[name]))
        text = f"Behind {_counted(len(enough), 'measure')} this attack on {task.name} gains nothing"
        text += f"; the mildest for honest users is {mildest!r}."
    else:
        mildest = min(audit.measures[1:], key=task.gain)
        text = f"No measure takes away the whole gain on {task.name}; {mildest!r} leaves the least,"
        text += f" {100 * task.gain(mildest):.1f} points in place of {100 * task.gain():.1f}."
    return f"{text} Honest users then have {_kept(audit, mildest)}."


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number > 1 else "")


def _cost(use: HonestUse) -> tuple[float, float]:
    """Sorts by what honest users lose: right answers first, then how far their scores move."""
    return -use.accuracy, use.moved


def _kept(audit: Audit, measure: str) -> str:
    use, plain = audit.uses[measure], audit.uses[AS_IT_IS.name]
    if use.calibration_error is None or plain.calibration_error is None:
        return f"the same top label for {use.accuracy:.1%} of the images"
    return (
        f"{use.accuracy:.1%} right answers in place of {plain.accuracy:.1%}, and a calibration "
        f"error of {use.calibration_error:.3f} in place of {plain.calibration_error:.3f}"
    )


def _rate_sentence(audit: Audit, task: TaskAudit) -> str:
    hours, rate = audit.hours(task.training_queries), audit.queries_per_second
    queries = f"{rate:g} {'query' if rate == 1 else 'queries'}"
    return (
        f"At {queries} a second a stranger needs {hours:,.2f} hours for the "
        f"{task.training_queries:,} queries of {task.name}, and "
        f"{task.num_views / audit.queries_per_second:,.2f} seconds for each image afterwards."
    )


def tasks_table(audit: Audit) -> TextTable:
    """Foreign tasks: without the source, through it, and what that takes."""
    heads = ["task", "classes", "pixels alone", "1 view", "more views", "gain", "training queries"]
    heads += ["price", "queries per image"]
    rows = []
    for task in audit.tasks:
        reached = task.accuracies[AS_IT_IS.name]
        price = audit.money(task.training_queries)
        rows.append(
            [
                task.name,
                f"{len(task.class_names)}",
                mean_and_spread(task.baseline),
                mean_and_spread(reached[1]),
                f"{mean_and_spread(reached[task.num_views])} ({task.num_views})",
                _signed(task.gains()),
                f"{task.training_queries:,}",
                "-" if price is None else f"{price:,.2f}",
                f"{task.num_views}",
            ]
        )
    return TextTable(heads, rows)


def measures_table(audit: Audit, task: TaskAudit) -> TextTable:
    """What a stranger reaches on a task behind each measure, and what honest users keep."""
    labelled = audit.own_task is not None
    honest = ("own accuracy", "calibration error") if labelled else ("same top label",)
    several = (f"{task.num_views} views",) if task.num_views > 1 else ()
    heads = ["measure", "1 view", *several, "gain", *honest, "scores moved"]
    rows = []
    for name in audit.measures:
        use, reached = audit.uses[name], task.accuracies[name]
        cells = [name, *(mean_and_spread(found) for found in reached.values())]
        cells += [_signed(task.gains(name)), f"{use.accuracy:.3f}"]
        cells += [f"{use.calibration_error:.3f}"] if use.calibration_error is not None else []
        rows.append([*cells, f"{use.moved:.3f}"])
    return TextTable(heads, rows)


def rates_table(audit: Audit) -> TextTable:
    """Hours of every point of the curves at the rate limit."""
    heads = ["task", "training queries", "accuracy", "hours", "price"]
    rows = []
    for task in audit.tasks:
        for queries, accuracy in task.curve:
            price = audit.money(queries)
            cells = [task.name, f"{queries:,}", f"{accuracy:.3f}", f"{audit.hours(queries):,.2f}"]
            rows.append([*cells, "-" if price is None else f"{price:,.2f}"])
    return TextTable(heads, rows)


def _signed(gains: tuple[float, ...]) -> str:
    spread = f" ± {stdev(gains):.3f}" if len(gains) > 1 else ""
    return f"{fmean(gains):+.3f}{spread}"


def _measures_section(audit: Audit, task: TaskAudit) -> ReportSection:
    count = f"{next(iter(audit.uses.values())).num_images:,}"
    honest = (
        f"Own accuracy and calibration error: {count} test images of {audit.own_task}, with their "
        "true labels."
        if audit.own_task is not None
        else "Same top label: the share of answers whose largest score is the one that it is "
        f"without a measure, on {count} of the foreign images, because no data of the API's own "
        "task were given (--own). It says nothing of its accuracy."
    )
    text = (
        f"What a stranger reaches on {task.name} behind each measure, and what honest users keep. "
        f"{honest} Scores moved: the mean distance of the scores from those as they are, 0 for "
        "the same, 1 for opposite ones. A top label alone is read as full certainty."
    )
    return ReportSection(
        f"Measures against {task.name}", text, text_table=measures_table(audit, task)
    )


def _curves(audit: Audit) -> dict[str, list[tuple[int, float]]]:
    curves = {}
    for task in audit.tasks:
        curves[task.name] = list(task.curve)
        curves[f"{task.name}, pixels alone"] = [(0, fmean(task.baseline))]
    return curves


def _details(audit: Audit) -> dict[str, object]:
    first = audit.tasks[0].runs[0]
    details: dict[str, object] = {
        "queries of this audit": audit.plan.queries,
        "queries in its ledger": audit.spent,
        "price of the audit": audit.money(audit.plan.queries),
        "seeds": audit.plan.seeds,
        "training and test images": {
            task.name: f"{task.runs[0].train_images:,} and {task.runs[0].test_images:,}"
            for task in audit.tasks
        },
        "views": first.num_views,
        "pixels alone": {
            task.name: list(dict.fromkeys(task.baseline_names)) for task in audit.tasks
        },
        "data": {task.name: " ".join(task.notes) for task in audit.tasks},
        "source": audit.source,
        "keras_reprogram": __version__,
    }
    if audit.plan.seeds > 1:
        details["spread"] = SPREAD_NOTE
    return details
