"""What a line stands beside: models of the images alone, and what a source's owner could do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from row_run import VALIDATION_SHARE, Outcome, Run
from stored_answers import view_answers

from keras_reprogram.baselines import Baseline, fit_fine_tuned, fit_linear_head, fit_scratch
from keras_reprogram.program import draw_views

# Images a step of `fit_scratch`.
_BATCH_SIZE = 32


def new_head(run: Run) -> Outcome:
    """White box: exact logistic regression on the features before the source's last layer."""
    data, source = run.data, run.source("features")
    placement = draw_views(data.target_shape, source.source_shape, 1)
    ask = view_answers(source, placement, data, run.cache / "answers")
    features, test = ask(data.train_images)[:, 0], ask(data.test_images)[:, 0]
    head = fit_linear_head(features, data.train_labels, **_options(run))
    height, width, _ = source.source_shape
    return Outcome(
        head.predict(test),
        head.validation_accuracy,
        head.evaluate(features, data.train_labels),
        resolution=f"{height}x{width}",
        choices=f"C={head.classifier.C:g}",
    )


def on_pixels(fit: Callable[..., Baseline]) -> Callable[[Run], Outcome]:
    """A model that sees the target images only.

    Args:
        fit: one of the package's baselines.
    """

    def method(run: Run) -> Outcome:
        data = run.data
        options = _options(run) | run.row.options
        if fit is fit_scratch and run.row.epochs:
            steps = -(-len(data.train_labels) // _BATCH_SIZE)
            options["most_steps"] = run.row.epochs * steps
        baseline = fit(data.train_images, data.train_labels, **options)
        return _outcome(run, baseline)

    return method


def fine_tuned(run: Run) -> Outcome:
    """White box: all weights of a copy of the source are trained."""
    row = run.row
    options: dict[str, Any] = {"learning_rates": row.learning_rates} if row.learning_rates else {}
    if row.epochs:
        options["most_epochs"] = row.epochs
    baseline = fit_fine_tuned(
        run.source(),
        run.data.train_images,
        run.data.train_labels,
        target_range=run.data.target_range,
        **_options(run),
        **options,
        **row.options,
    )
    height, width, _ = run.source().source_shape
    return _outcome(run, baseline, f"{height}x{width}")


def _options(run: Run) -> dict[str, Any]:
    return {
        "num_classes": run.num_classes,
        "seed": run.seed,
        "groups": run.data.train_groups,
        "validation_fraction": VALIDATION_SHARE,
    }


def _outcome(run: Run, baseline: Baseline, resolution: str = "") -> Outcome:
    height, width, _ = run.data.target_shape
    return Outcome(
        baseline.predict(run.data.test_images),
        baseline.validation_accuracy,
        resolution=resolution or f"{height}x{width}",
        choices=f"kind={baseline.name}",
        notes=baseline.note,
    )
