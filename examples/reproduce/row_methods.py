"""What a line can run: published methods, exact maps on a source's answers, and baselines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from program_training import new_method, trained_program
from row_baselines import fine_tuned, new_head, on_pixels
from row_run import VALIDATION_SHARE, Outcome, Run
from sklearn.utils.class_weight import compute_sample_weight
from stored_answers import view_answers

from keras_reprogram import DenseMap, ReprogrammedModel
from keras_reprogram.baselines import fit_linear_pixels, fit_no_source, fit_scratch
from keras_reprogram.fitting import MapFit, solve_views
from keras_reprogram.methods import method_names
from keras_reprogram.program import draw_views, suggested_style

RowMethod = Callable[[Run], Outcome]
# One for all seeds: a source's answers to a view are asked for once.
_VIEW_SEED = 0


def published(run: Run) -> Outcome:
    """A method of `build_method`, trained as its paper says but for what the line changes."""
    trained = trained_program(run)
    facts = trained.facts
    return Outcome(
        trained.predicted,
        facts["validation_accuracy"],
        facts["train_accuracy"],
        facts["epochs"],
        facts["resolution"],
        _program_choices(facts),
        _trained_before(facts),
    )


def program_then_exact_map(run: Run) -> Outcome:
    """A trained program whose answers an exact map reads: the best map that a program can have.

    The map's regularisation is chosen on the images that the program was validated on, and the map
    is fitted on all training images then.
    """
    trained, data = trained_program(run), run.data
    program = new_method(run).model.program
    program.set_weights(trained.weights)
    model = ReprogrammedModel(program, run.source(), DenseMap(run.num_classes), seed=run.seed)
    answers, test = (
        model.collect_scores(images, verbose=0) for images in (data.train_images, data.test_images)
    )
    fit = model.fit_output_map(
        y=data.train_labels,
        scores=answers,
        groups=data.train_groups,
        validation_split=VALIDATION_SHARE,
        verbose=0,
    )
    return Outcome(
        _labels(model, test),
        fit.validation_accuracy,
        _share(_labels(model, answers), data.train_labels),
        trained.facts["epochs"],
        trained.facts["resolution"],
        f"{_program_choices(trained.facts)};C={fit.regularization:g}",
        _trained_before(trained.facts),
    )


def exact_map(run: Run) -> Outcome:
    """An exact map on the source's answers to views of the images; nothing else is trained.

    How many views, and how the map reads them, is chosen on validation. With the option
    `class_balanced` each class weighs the same, however many images it has.
    """
    data, source = run.data, run.source()
    style = suggested_style(data.target_shape[2], source.num_labels)
    most = max(run.row.views)
    placement = draw_views(data.target_shape, source.source_shape, most, _VIEW_SEED, style)
    ask = view_answers(source, placement, data, run.cache / "answers")
    answers, test = ask(data.train_images), ask(data.test_images)
    candidates = [
        (*_fitted_map(run, answers[:, :num_views], reading), num_views, reading)
        for num_views in run.row.views
        for reading in (run.row.readings if num_views > 1 else ("first view",))
    ]
    # Of equals the first, which asks for the fewest views.
    fit, output_map, num_views, reading = max(candidates, key=lambda c: c[0].validation_accuracy)
    predicted, on_train = (
        np.asarray(output_map(scores[:, :num_views])).argmax(axis=1) for scores in (test, answers)
    )
    height, width, _ = source.source_shape
    return Outcome(
        predicted,
        fit.validation_accuracy,
        _share(on_train, data.train_labels),
        resolution=f"{height}x{width}",
        choices=f"views={num_views};reading={reading};C={fit.regularization:g}",
    )


METHODS: dict[str, RowMethod] = {
    **{name: published for name in method_names()},
    "program_then_exact_map": program_then_exact_map,
    "map_only": exact_map,
    "best_recipe": exact_map,
    "new_head": new_head,
    "fine_tuned": fine_tuned,
    "scratch": on_pixels(fit_scratch),
    "no_source": on_pixels(fit_no_source),
    "linear_pixels": on_pixels(fit_linear_pixels),
}
# Options of those that would ignore one they do not know.
OPTIONS: dict[str, tuple[str, ...]] = {
    "map_only": ("class_balanced",),
    "best_recipe": ("class_balanced",),
    "new_head": (),
}


def _fitted_map(run: Run, answers: np.ndarray, reading: str) -> tuple[MapFit, DenseMap]:
    source, data = run.source(), run.data
    output_map = DenseMap(run.num_classes)
    output_map.attach(source.score_kind, source.score_step)
    solver = partial(
        solve_views,
        answers.shape[1],
        reading,
        num_classes=run.num_classes,
        seed=run.seed,
        groups=data.train_groups,
    )
    labels = data.train_labels
    balanced = run.row.options.get("class_balanced")
    weight = compute_sample_weight("balanced", labels) if balanced else None
    return output_map.fit_answers(answers, labels, solver=solver, sample_weight=weight), output_map


def _program_choices(facts: dict[str, Any]) -> str:
    rate = facts["learning_rate"]
    shown = "the paper's" if rate is None else f"{rate:g}"
    return f"rate={shown};epoch={facts['best_epoch']}"


def _trained_before(facts: dict[str, Any]) -> str:
    return f"the program took {facts['seconds']:.0f} s"


def _labels(model: ReprogrammedModel, answers: np.ndarray) -> np.ndarray:
    return np.asarray(model.output_map(answers)).argmax(axis=1)


def _share(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(predicted == labels))
