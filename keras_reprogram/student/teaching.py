"""fit_student: a local model learns from the answers of a paid source."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_reprogram.asking.exact_fit import check_groups
from keras_reprogram.asking.images import check_labels
from keras_reprogram.fitting.folds import held_out_rows
from keras_reprogram.source.ledger.query_ledger import QueryLedger
from keras_reprogram.source.source import Source
from keras_reprogram.student.head import HeadLearner
from keras_reprogram.student.mixing import Targets
from keras_reprogram.student.network import MOST_STEPS, NetworkLearner
from keras_reprogram.student.paid_answers import (
    PaidAnswers,
    collect_answers,
    given_answers,
    plan_answers,
    with_ledger,
)
from keras_reprogram.student.result import Student
from keras_reprogram.student.teacher import Teacher

STUDENT, TRUE_LABELS_ALONE = "student", "true labels alone"


def fit_student(
    model: Any,
    local: Source | keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    ledger: QueryLedger | None = None,
    scores: np.ndarray | None = None,
    query_budget: int = 0,
    groups: np.ndarray | None = None,
    validation_split: float = 0.2,
    most_steps: int = MOST_STEPS,
    verbose: Any = "auto",
) -> Student:
    """Teaches a local model what a paid source knows; it asks nothing when it is used.

    The model is the teacher: what its map says of an image is a soft label (Hinton et al. 2015).
    Answers that its ledger holds cost nothing. A budget buys more, for images without a label
    first, in their order; each costs `model.queries_per_prediction` queries. Terms of a service may
    forbid training on its answers: read them before.

    With a source as `local`, the student is a new head on it, fitted exactly: `NewHead` on
    features, `DenseMap` on scores. With a network, `network.fit` trains it. How much the teacher
    counts is chosen on a held-out part of the labelled images: the temperature of its
    probabilities, the weight of images without a label, and the teacher's share in the targets of
    those with one. There its map is fitted anew without the labels that judge it, on the answers
    that are there. The same head or network is fitted on the true labels alone. If that has a lower
    loss or fewer errors on the held-out part, it is what `model` holds. In the end the held-out
    part is learned too.

    Args:
        model: a fitted `ReprogrammedModel`, the teacher.
        local: a source that costs no queries, such as
            `FrozenSource.from_application("MobileNet", output="features", ...)`, of which only a
            new head is fitted; or a functional or Sequential network `(n, h, w, c)` -> `(n, K)`
            that ends in a softmax. The network sees pixels as they are in `target_range`; it is
            trained in place with the optimizer that it was compiled with (else Adam at .001), and
            then frozen.
        images: `(n, h, w, c)`, in the teacher's `target_range`.
        labels: `(n,)` integers, -1 where the class is unknown. At least two classes are needed, one
            of them with two images.
        ledger: where answers are stored; `None` for the ledger of the model's source.
        scores: answers `(n, V, S)` that were paid for, as `model.collect_scores` returns them, with
            rows of NaN where there is none; then nothing is asked.
        query_budget: most queries that may be sent.
        groups: `(n,)`; images of one value (a patient's) stay on one side of every split.
        validation_split: share of the labelled images that choices are judged on, in (0, 1).
        most_steps: of a network, batches of 32 in one training at most. Training ends after 400
            without a lower loss on the held-out part. Three or more trainings are needed.
        verbose: 0 for silence.

    Returns:
        A `Student`: the local model, the baseline beside it, what was chosen, queries and price.

    Raises:
        ValueError: before any query, for a model that is not fitted or names several findings, a
            local source that costs queries, a network of other shapes, images or labels that do not
            fit, too few labels, no answer and no budget, and a budget below one image's views.
        BudgetSpentError: if other processes spend the ledger's budget meanwhile.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import DenseMap, FrozenSource, OpaqueSource, ProgramLayer
    from keras_reprogram import ReprogrammedModel, fit_student
    from keras_reprogram.datasets import load_target

    def service(images):
        blocks = images.reshape(-1, 4, 8, 4, 8, 3).mean(axis=(2, 4, 5)).reshape(-1, 16)
        return blocks / blocks.sum(axis=1, keepdims=True)

    source = OpaqueSource(service, (32, 32, 3), 16, value_range=(0, 255), identity="blocks 1")
    digits = load_target("digits").draw(400, 100, seed=0)
    program = ProgramLayer(digits.target_shape, source.source_shape, source_range=(0, 255),
                           target_range=digits.target_range, placement="full")
    teacher = ReprogrammedModel(program, source, DenseMap(10))
    teacher.fit_output_map(digits.train_images[:200], digits.train_labels[:200], verbose=0)

    features = FrozenSource.from_application(
        "MobileNet", weights=None, output="features", alpha=0.25, input_shape=(32, 32, 3)
    )
    labels = np.where(np.arange(400) < 200, digits.train_labels, -1)
    student = fit_student(teacher, features, digits.train_images, labels, query_budget=200)
    assert student.queries_used == 200
    print(student.to_markdown())
    ```

    References:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, eq. 1. Their
        factor T^2 is left out: the weight of images without a label is chosen.
    """
    _check_teacher(model)
    images = model.data_checks.image_set(images)
    labels = _checked_labels(labels, len(images), model.output_map.num_classes)
    groups = check_groups(groups, len(labels))
    held_out = _held_out(labels, groups, validation_split, model.seed)
    _check_budget(query_budget, model.queries_per_prediction, scores)
    learner = _learner(model, local, images, most_steps)
    answers = _answers(model, images, labels >= 0, ledger, scores, query_budget, verbose)
    targets = _targets(model, answers, labels, groups, held_out)
    rows = np.flatnonzero((labels >= 0) | targets.answered)
    baseline, before = learner.baseline(labels, held_out)
    fitted, choice = learner.student(targets.take(rows), rows)
    wins = choice.score.beats(before)
    known, answered = labels >= 0, targets.answered
    # So that neither is calibrated on what it learned.
    baseline.asker.learned.add(images[known])
    fitted.asker.learned.add(images[rows])
    return Student(
        model=fitted if wins else baseline,
        baseline=baseline,
        kept=STUDENT if wins else TRUE_LABELS_ALONE,
        validation=choice.score,
        baseline_validation=before,
        temperature=choice.mix.temperature,
        unlabelled_weight=choice.mix.unlabelled_weight,
        soft_share=choice.mix.soft_share,
        num_labelled=int(known.sum()),
        num_unlabelled=int((~known & answered).sum()),
        num_unanswered=int((~known & ~answered).sum()),
        queries_used=answers.queries_used,
        price=answers.price,
    )


def _check_teacher(model: Any) -> None:
    """Raises a ValueError for models that cannot teach."""
    if model.output_map.multi_label:
        raise ValueError(
            "A student learns which class an image has. Received: a model of several findings an "
            "image. Fit a head on the findings by `fit_output_map`, without a teacher."
        )
    if not model.output_map.ready:
        raise ValueError(
            "The teacher must be fitted before it teaches: call `model.fit_output_map(x, y)` or "
            f"`model.fit_opaque(x, y, query_budget=...)`. Received: a "
            f"{type(model.output_map).__name__} without answers."
        )


def _checked_labels(labels: Any, num_images: int, num_classes: int) -> np.ndarray:
    """Integers `(n,)`, -1 where unknown."""
    given = np.asarray(labels)
    if given.shape != (num_images,) or given.dtype.kind not in "iuf":
        raise ValueError(
            f"`labels` must be ({num_images},) integers, -1 where the class is unknown. Received: "
            f"shape {given.shape}, dtype {given.dtype}. Give every image a label or -1."
        )
    known = given != -1
    if len(np.unique(given[known])) < 2:
        raise ValueError(
            "A student needs true labels of at least two classes, to choose by and to stand beside "
            f"what they teach alone. Received: labels of {np.unique(given[known]).tolist()}. Pass "
            "the images that the model was fitted on, with their labels."
        )
    checked = np.full(num_images, -1)
    checked[known] = check_labels(given[known], int(known.sum()), num_classes)
    return checked


def _held_out(
    labels: np.ndarray, groups: np.ndarray | None, validation_split: float, seed: int
) -> np.ndarray:
    """Positions of the labelled images that choices are judged on."""
    if not 0 < validation_split < 1:
        raise ValueError(
            "`validation_split` must be above 0 and below 1, such as 0.2. Received: "
            f"{validation_split}."
        )
    rows = np.flatnonzero(labels >= 0)
    some = None if groups is None else groups[rows]
    parts = held_out_rows(labels[rows], np.ones(len(rows)), validation_split, seed, some)
    if parts is None:
        raise ValueError(
            "How much the teacher counts is chosen on held-out labelled images. Received: "
            f"{len(rows)} labelled images of {len(np.unique(labels[rows]))} classes, of which none "
            "can be spared. Add labelled images."
        )
    return rows[parts[1]]


def _check_budget(query_budget: int, views: int, scores: Any) -> None:
    if isinstance(query_budget, bool) or query_budget != int(query_budget) or query_budget < 0:
        raise ValueError(
            f"`query_budget` must be a whole number of at least 0. Received: {query_budget!r}."
        )
    if 0 < query_budget < views:
        raise ValueError(
            f"`query_budget` must pay for one image at least, which is {views} queries under this "
            f"model's views. Received: {query_budget}. Pass {views} or more, or 0 to learn from "
            "stored answers alone."
        )
    if query_budget and scores is not None:
        raise ValueError(
            "With `scores` nothing is asked. Received: scores and "
            f"query_budget={query_budget}. Leave one of them out."
        )


def _learner(
    model: Any, local: Any, images: np.ndarray, most_steps: int
) -> HeadLearner | NetworkLearner:
    if isinstance(local, keras.Model):
        return NetworkLearner(model, local, images, most_steps=most_steps)
    if not isinstance(local, Source):
        raise ValueError(
            "`local` must be a source that costs no queries, or a Keras network. Received: a "
            f"{type(local).__name__}. Wrap a trained network: `FrozenSource(network, "
            'value_range=(0, 255), output="features")`.'
        )
    if local.costs_queries:
        raise ValueError(
            "The student must cost no queries when it is used. Received: `local` is a "
            f"{type(local).__name__}, which may be billed. Pass a network that runs here, such as "
            '`FrozenSource.from_application("MobileNet", output="features")`.'
        )
    return HeadLearner(model, local, images)


def _answers(
    model: Any,
    images: np.ndarray,
    labelled: np.ndarray,
    ledger: QueryLedger | None,
    scores: Any,
    query_budget: int,
    verbose: Any,
) -> PaidAnswers:
    if scores is not None:
        return given_answers(model, scores, len(images))
    with with_ledger(model, ledger) as used:
        plan = plan_answers(model, images, labelled, used, query_budget)
        return collect_answers(model, images, plan, used, verbose)


def _targets(
    model: Any,
    answers: PaidAnswers,
    labels: np.ndarray,
    groups: np.ndarray | None,
    held_out: np.ndarray,
) -> Targets:
    """Labels of all images, and the teacher's where it was asked."""
    rows = answers.rows
    teacher = Teacher(model, answers.scores, labels[rows], None if groups is None else groups[rows])

    def of_all(soft: np.ndarray) -> np.ndarray:
        spread = np.full((len(labels), soft.shape[1]), np.nan, np.float32)
        spread[rows] = soft
        return spread

    judged = of_all(teacher.soft_labels(np.isin(rows, held_out)))
    return Targets(labels, judged, of_all(teacher.soft_labels()), held_out)
