"""audit_source: asks a source once, and measures what strangers and honest users get of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_reprogram.asking.images import rows_per_batch
from keras_reprogram.audit.attack import Point, efforts, exact_map_accuracy, mean_points
from keras_reprogram.audit.honest_use import HonestUse, honest_use, own_labels
from keras_reprogram.audit.measures import AS_IT_IS, Measure
from keras_reprogram.audit.plan import MOST_IN_FLIGHT, AuditPlan, PlannedRun
from keras_reprogram.audit.result import Audit, TaskAudit
from keras_reprogram.baselines import fit_no_source
from keras_reprogram.datasets import TargetData
from keras_reprogram.fitting.validation import draw_stratified
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.output_map.dense_map import DenseMap
from keras_reprogram.program.program_for_task import program_for
from keras_reprogram.program.views import suggested_style
from keras_reprogram.source import OpaqueSource, QueryLedger, Source

# Foreign images that stand for honest ones where there are none.
_MOST_STAND_INS = 500

Progress = Callable[[int], None]


@dataclass(frozen=True)
class _RunAnswers:
    """A run's images and the scores `(n, V, S)` of each."""

    run: PlannedRun
    data: TargetData
    train: np.ndarray
    test: np.ndarray


def audit_source(
    source: Source,
    tasks: Sequence[TargetData],
    plan: AuditPlan,
    *,
    measures: Sequence[Measure],
    ledger: QueryLedger,
    own: TargetData | None = None,
    queries_per_second: float = 1.0,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Audit:
    """Measures how much a stranger could make of a source, for the owner of that source.

    Every query is asked once and kept in the ledger. A stranger's attack is the exact map on
    answers to one view and to all views; it is repeated behind each measure on the stored
    scores, so that measures cost no query. Nothing is chosen on test images.

    Args:
        source: which scores a stranger sees. It must be your own, or its owner must have asked you.
        tasks: foreign tasks; those of the plan.
        plan: from `plan_audit`.
        measures: what is tried, beside the answers as they are.
        ledger: holds the answers and a budget; a stopped audit goes on with the same one.
        own: data of the source's own task, whose test images are used. Without it, agreement with
            the unprotected answers to foreign images stands for honest use.
        queries_per_second: of the rate limit that is reckoned with.
        progress: called with the queries so far.
        say: called with what is done now.

    Returns:
        An `Audit`.

    Raises:
        ValueError: for a source of features, and for data that are not of the source's own task.
        BudgetSpentError: if the ledger's budget ends before the plan does.

    Example:
    ```python
    import tempfile
    from pathlib import Path
    from keras_reprogram import LiteRTSource, QueryLedger, embedded_path
    from keras_reprogram.audit import audit_source, plan_audit, top_label
    from keras_reprogram.datasets import load_target

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    tasks = [load_target("digits")]
    plan = plan_audit(tasks, budget=200, num_views=1, seeds=1)
    with tempfile.TemporaryDirectory() as folder, QueryLedger(Path(folder) / "a", 200) as ledger:
        audit = audit_source(source, tasks, plan, measures=[top_label()], ledger=ledger)
    assert audit.spent <= 200
    ```
    """
    check_scores(source)
    labels = None if own is None else _own_labels(own, source)
    asked = _behind_ledger(source, ledger)
    done = 0

    def reported(queries: int) -> None:
        if progress is not None:
            progress(done + queries)

    by_name = {task.name: task for task in tasks}
    runs = []
    for run in plan.runs:
        runs.append(_ask_run(asked, by_name[run.task], run, reported))
        done += run.queries
    own_scores = None
    if own is not None and labels is not None:
        rows = _drawn(len(labels), plan.own_images)
        own_scores = _ask(asked, own, own.test_images[rows], 1, 0, reported)[:, 0]
        labels = labels[rows]
    tried = [AS_IT_IS, *measures]
    attacked = tuple(
        _attack(asked, [run for run in runs if run.run.task == task.name], tried, say)
        for task in tasks
    )
    if own_scores is None:
        own_scores = np.concatenate([run.test[:, 0] for run in runs])[:_MOST_STAND_INS]
    return Audit(
        plan=plan,
        source=source.describe() | {"fingerprint": source.fingerprint},
        tasks=attacked,
        uses=_uses(asked, own_scores, labels, tried),
        own_task=None if own is None else own.name,
        spent=ledger.spent,
        queries_per_second=queries_per_second,
    )


def check_scores(source: Source) -> None:
    """Refuses a source that shows no scores, or takes no images.

    Example:
    ```python
    from keras_reprogram import LiteRTSource, embedded_path
    from keras_reprogram.audit.auditing import check_scores

    check_scores(LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255)))
    ```
    """
    if source.score_kind not in DenseMap.accepted_scores:
        raise ValueError(
            "An audit is of scores. Received: a source with "
            f"score_kind={source.score_kind!r}. Pass the classifier with its last layer."
        )
    if len(source.source_shape) != 3:
        raise ValueError(
            "An audit is of a classifier of images (H, W, C). Received: a source of shape "
            f"{source.source_shape}."
        )


def _own_labels(own: TargetData, source: Source) -> np.ndarray:
    if own.is_multi_label:
        raise ValueError(
            "The source's own data must have one class an image. Received: several findings an "
            f"image in {own.name}. Leave --own out."
        )
    return own_labels(own.test_labels, own.class_names, source.class_names, source.num_labels)


def _drawn(total: int, count: int) -> np.ndarray:
    """Sorted positions of a fixed draw."""
    return np.sort(np.random.default_rng(0).permutation(total)[:count])


def _behind_ledger(source: Source, ledger: QueryLedger) -> OpaqueSource:
    """The source as strangers see it, every answer of which is kept."""
    return OpaqueSource(
        lambda images: keras.ops.convert_to_numpy(source(images)),
        source.source_shape,
        source.num_labels,
        value_range=source.value_range,
        identity=source.fingerprint,
        class_names=source.class_names,
        score_kind=source.score_kind,
        score_step=source.score_step,
        sum_tolerance=source.sum_tolerance,
        max_batch=min(source.max_batch or MOST_IN_FLIGHT, MOST_IN_FLIGHT),
        answers_at_random=source.answers_at_random,
        ledger=ledger,
    )


def _ask_run(
    source: OpaqueSource, task: TargetData, run: PlannedRun, progress: Progress
) -> _RunAnswers:
    data = task.draw(run.train_images, run.test_images, run.seed)
    images = np.concatenate([data.train_images, data.test_images])
    scores = _ask(source, data, images, run.num_views, run.seed, progress)
    return _RunAnswers(run, data, *np.split(scores, [run.train_images]))


def _ask(
    source: OpaqueSource,
    data: TargetData,
    images: np.ndarray,
    num_views: int,
    seed: int,
    progress: Progress,
) -> np.ndarray:
    """Scores `(n, V, S)`: the plain image first, then views as `fit_opaque` draws them."""
    bold = suggested_style(data.target_shape[2], source.num_labels) == "bold"
    program = program_for(
        data,
        source,
        num_views=num_views,
        seed=seed,
        placement="views" if bold else "gentle_views",
    )
    model = ReprogrammedModel(program, source, DenseMap(len(data.class_names)), seed=seed)
    size = rows_per_batch(num_views, source.source_shape)
    parts = (images[start : start + size] for start in range(0, len(images), size))
    checked = map(model.data_checks.images, parts)
    return np.concatenate(list(model.asker.each(checked, len(images), progress=progress)))


def _attack(
    source: OpaqueSource,
    runs: list[_RunAnswers],
    measures: Sequence[Measure],
    say: Callable[[str], None],
) -> TaskAudit:
    first = runs[0]
    say(f"{first.run.task}: the pixels alone, then {len(measures)} kinds of answers.")
    baselines = [_baseline(run) for run in runs]
    views = sorted({1, first.run.num_views})
    accuracies = {
        measure.name: {
            count: tuple(_accuracy(source, run, measure, count) for run in runs) for count in views
        }
        for measure in measures
    }
    return TaskAudit(
        name=first.run.task,
        class_names=first.data.class_names,
        runs=tuple(run.run for run in runs),
        baseline=tuple(accuracy for _, accuracy in baselines),
        baseline_names=tuple(name for name, _ in baselines),
        accuracies=accuracies,
        curve=tuple(mean_points([_points(source, run) for run in runs])),
        notes=(first.data.origin, *first.data.notes),
    )


def _baseline(run: _RunAnswers) -> tuple[str, float]:
    data = run.data
    fitted = fit_no_source(
        data.train_images,
        data.train_labels,
        num_classes=len(data.class_names),
        seed=run.run.seed,
        groups=data.train_groups,
    )
    return fitted.name, fitted.evaluate(data.test_images, data.test_labels)


def _accuracy(
    source: OpaqueSource,
    run: _RunAnswers,
    measure: Measure,
    num_views: int,
    rows: np.ndarray | None = None,
) -> float:
    kind, step, data = source.score_kind, source.score_step, run.data
    chosen = np.arange(len(run.train)) if rows is None else rows
    groups = data.train_groups
    return exact_map_accuracy(
        measure.apply(run.train[chosen, :num_views], kind, step),
        data.train_labels[chosen],
        measure.apply(run.test[:, :num_views], kind, step),
        data.test_labels,
        num_classes=len(data.class_names),
        seed=run.run.seed,
        groups=None if groups is None else groups[chosen],
    )


def _points(source: OpaqueSource, run: _RunAnswers) -> list[Point]:
    labels = run.data.train_labels
    least = 5 * len(run.data.class_names)
    return [
        Point(
            images,
            views,
            _accuracy(source, run, AS_IT_IS, views, draw_stratified(labels, images, run.run.seed)),
        )
        for images, views in efforts(len(labels), run.run.num_views, least)
    ]


def _uses(
    source: OpaqueSource, scores: np.ndarray, labels: np.ndarray | None, measures: Sequence[Measure]
) -> dict[str, HonestUse]:
    kind, step = source.score_kind, source.score_step
    shown: Any = {measure.name: measure.apply(scores, kind, step) for measure in measures}
    return {name: honest_use(scores, kind, some, labels) for name, some in shown.items()}
