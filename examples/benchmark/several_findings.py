"""Several findings an image, and grades: exact maps of an opaque source beside the baselines.

    export KERAS_HOME=...             # only where there is no network: MobileNet's weights
    export KERAS_REPROGRAM_DATA=...   # gtsrb_32_sub.npz
    python examples/benchmark/several_findings.py findings   # attributes of traffic signs
    python examples/benchmark/several_findings.py exact      # their fits beside scikit-learn's
    python examples/benchmark/several_findings.py grades     # speed limits, and counted squares

The source is MobileNet 0.25 at 128 pixels, of which only the 1,000 scores are read. Each image is
asked once under every view; all draws read the same answers. Figures are the mean and the standard
deviation over the seeds, which draw training images and splits. Test images choose nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from black_box import black_box
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from keras_reprogram import (
    DenseMap,
    FrozenSource,
    NewHead,
    PixelSource,
    ProgramLayer,
    ReprogrammedModel,
    fit_logistic_regression,
    join_sources,
)
from keras_reprogram.baselines import (
    fit_linear_head_findings,
    fit_no_source,
    fit_no_source_findings,
)
from keras_reprogram.datasets import TargetData, load_target
from keras_reprogram.fitting.findings_solver import FindingsProblem
from keras_reprogram.fitting.fit_settings import axis_penalties
from keras_reprogram.fitting.principal_axes import PrincipalAxes
from keras_reprogram.fitting.validation import draw_stratified
from keras_reprogram.report import FindingsMetrics, classification_metrics, findings_metrics

NUM_VIEWS = 8
_APPLICATION = {"alpha": 0.25, "input_shape": (128, 128, 3)}
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

TrainImages = Annotated[int, typer.Option(min=50, help="Training images of a draw.")]
TestImages = Annotated[int, typer.Option(min=50, help="Test images, the same for all draws.")]
Seeds = Annotated[int, typer.Option(min=1, help="Draws.")]


@app.command()
def findings(
    train_images: TrainImages = 1000, test_images: TestImages = 2000, seeds: Seeds = 3
) -> None:
    """Fourteen attributes of traffic signs: mean AUC and F1 of each way, and of each finding."""
    task = _ask(_pool(load_target("gtsrb_attributes"), train_images, test_images, seeds))
    runs = [_findings_run(task, seed) for seed in range(seeds)]
    print(f"{train_images:,} training images, {test_images:,} test images, {seeds} seeds.\n")
    print("| | queries a prediction | mean AUC | mean F1 |")
    print("| --- | ---: | ---: | ---: |")
    for name, queries in _WAYS.items():
        both = (_spread([getattr(run[name], figure) for run in runs]) for figure in ("auc", "f1"))
        print(f"| {name} | {queries} | {' | '.join(both)} |")
    _print_findings([run[_EIGHT] for run in runs], [run[_PIXELS] for run in runs], task)


@app.command()
def exact(
    train_images: TrainImages = 1000, test_images: TestImages = 2000, seeds: Seeds = 3
) -> None:
    """The fits of the findings beside scikit-learn's, one after the other, under one view."""
    pool, draws = _pool(load_target("gtsrb_attributes"), train_images, test_images, seeds)
    model = Maker(pool).model(1)
    asked = [model.collect_scores(one, verbose=0) for one in (pool.train_images, pool.test_images)]
    fits = [_beside_sklearn(pool, rows, *asked, seed) for seed, rows in enumerate(draws)]
    apart, excess = (np.concatenate([fit[place] for fit in fits]) for place in (0, 1))
    ours, multinomial = np.mean([fit[2] for fit in fits], axis=0)
    print(
        f"{len(apart)} fits, the same columns and C as scikit-learn's LogisticRegression: AUC on "
        f"test images differs by at most {apart.max():.5f}; our objective is at most "
        f"{excess.max():.1e} of it above theirs, and at most {max(0, -excess.min()):.1e} below. "
        f"All findings together, the choice of each C included, take {ours:.2f} s; one "
        f"multinomial fit of the combinations that occur takes {multinomial:.2f} s."
    )


@app.command()
def grades(
    train_images: TrainImages = 300, test_images: TestImages = 1000, seeds: Seeds = 3
) -> None:
    """Grades: the multinomial, and what `ordinal=True` keeps, with their quadratic kappa."""
    print("| target | | queries a prediction | kappa | accuracy | cross-entropy |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for target in (_speed_limits(), load_target("squares_counting")):
        task = _ask(_pool(target, train_images, test_images, seeds))
        runs = [_grades_run(task, seed) for seed in range(seeds)]
        for name in runs[0]:
            figures = np.array([run[name] for run in runs]).T
            cells = " | ".join(map(_spread, figures))
            print(f"| {target.name} | {name} | {_queries(name)} | {cells} |", flush=True)


# === The task and its answers ===


@dataclass(frozen=True, eq=False)
class Task:
    """Images, the source's answers to them, and which of them each seed learns from.

    Attributes:
        target: all images that any draw needs.
        draws: positions of the training images, one array a seed.
        train: answers `(n, V, S)`.
        test: answers to the test images.
        train_features: `(n, d)`, what enters MobileNet's last layer, of the first view.
        test_features: of the test images.
        maker: makes a model on the same source; it is asked anew.
    """

    target: TargetData
    draws: list[np.ndarray]
    train: np.ndarray
    test: np.ndarray
    train_features: np.ndarray
    test_features: np.ndarray
    maker: Maker


class Maker:
    """Makes models of one opaque source for a target."""

    def __init__(self, target: TargetData) -> None:
        self.target = target
        self.frozen = FrozenSource.from_application("MobileNet", **_APPLICATION)
        self.source = black_box(self.frozen, "MobileNet 0.25")

    def model(self, num_views: int, source: object = None, seed: int = 0) -> ReprogrammedModel:
        """A model without training; its map is of findings if the target's labels are."""
        source = source or self.source
        program = ProgramLayer(
            self.target.target_shape,
            source.source_shape,
            source_range=source.value_range,
            target_range=self.target.target_range,
            placement="views",
            num_views=num_views,
        )
        several = "multi_label" if self.target.is_multi_label else "single_label"
        output_map = DenseMap(len(self.target.class_names), targets=several)
        return ReprogrammedModel(program, source, output_map, seed=seed)


def _pool(
    target: TargetData, train_images: int, test_images: int, seeds: int
) -> tuple[TargetData, list[np.ndarray]]:
    """The images of all draws, and the draws as positions among them."""
    drawn = [draw_stratified(target.train_labels, train_images, seed) for seed in range(seeds)]
    used = np.unique(np.concatenate(drawn))
    test = draw_stratified(target.test_labels, min(test_images, len(target.test_labels)), 0)
    pool = replace(
        target.with_training(used),
        test_images=target.test_images[test],
        test_labels=target.test_labels[test],
    )
    return pool, [np.searchsorted(used, rows) for rows in drawn]


def _ask(pool: tuple[TargetData, list[np.ndarray]]) -> Task:
    target, draws = pool
    maker = Maker(target)
    model = maker.model(NUM_VIEWS)
    features = FrozenSource.from_application("MobileNet", output="features", **_APPLICATION)
    head = ReprogrammedModel(
        ProgramLayer(
            target.target_shape,
            features.source_shape,
            source_range=features.value_range,
            target_range=target.target_range,
            placement="views",
        ),
        features,
        # It is not used: the features are collected.
        NewHead(2),
    )
    both = (target.train_images, target.test_images)
    answers = [model.collect_scores(images, verbose=0) for images in both]
    rows = [head.collect_scores(images, verbose=0)[:, 0] for images in both]
    return Task(target, draws, *answers, *rows, maker)


# === Findings ===

_PIXELS, _HEAD = "no source: pixels", "linear head on MobileNet's features (not opaque)"
_ONE, _EIGHT = "map only, 1 view", f"map only, {NUM_VIEWS} views"
_CHOSEN, _JOINT = "fit_opaque, 2 views chosen, 4 queries an image", f"{NUM_VIEWS} views and pixels"
_WAYS = {_PIXELS: 0, _ONE: 1, _CHOSEN: 2, _EIGHT: NUM_VIEWS, _JOINT: NUM_VIEWS, _HEAD: 1}


def _findings_run(task: Task, seed: int) -> dict[str, FindingsMetrics]:
    target, rows = task.target, task.draws[seed]
    images, labels, groups = (
        part[rows] for part in (target.train_images, target.train_labels, target.train_groups)
    )
    how = {"seed": seed, "groups": groups}

    def measure(probabilities: np.ndarray, thresholds: Sequence[float]) -> FindingsMetrics:
        names = target.class_names
        return findings_metrics(target.test_labels, probabilities, names, thresholds)

    def of_map(model: ReprogrammedModel, answers: np.ndarray) -> FindingsMetrics:
        probabilities = np.asarray(model.output_map(answers))
        return measure(probabilities, np.asarray(model.output_map.thresholds))

    found = {}
    pixels = fit_no_source_findings(images, labels, **how)
    found[_PIXELS] = measure(pixels.predict_probabilities(target.test_images), pixels.thresholds)
    head = fit_linear_head_findings(task.train_features[rows], labels, **how)
    found[_HEAD] = measure(head.predict_probabilities(task.test_features), head.thresholds)
    for name, views in ((_ONE, 1), (_EIGHT, NUM_VIEWS)):
        model = task.maker.model(views, seed=seed)
        scores = task.train[rows][:, :views]
        model.fit_output_map(y=labels, scores=scores, groups=groups)
        found[name] = of_map(model, task.test[:, :views])
    found[_JOINT] = _joint(task, rows, labels, groups, seed, of_map)
    model = task.maker.model(2, seed=seed)
    budget = 4 * len(images)
    fit = model.fit_opaque(images, labels, query_budget=budget, groups=groups, verbose=0)
    print(f"seed {seed}: {fit}", file=sys.stderr)
    found[_CHOSEN] = of_map(model, model.collect_scores(target.test_images, verbose=0))
    return found


def _joint(
    task: Task,
    rows: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    seed: int,
    of_map: Callable[..., FindingsMetrics],
) -> FindingsMetrics:
    """The answers that are there, with the pixels beside them."""
    target = task.target
    pixels = PixelSource(target.target_shape, target_range=target.target_range)
    source = join_sources([task.maker.source, pixels])
    model = task.maker.model(NUM_VIEWS, source, seed)

    def joined(answers: np.ndarray, images: np.ndarray) -> np.ndarray:
        return np.asarray(source.answers(answers, images.astype("float32")))

    scores = joined(task.train[rows], target.train_images[rows])
    model.fit_output_map(y=labels, scores=scores, groups=groups)
    return of_map(model, joined(task.test, target.test_images))


def _print_findings(ours: list, pixels: list, task: Task) -> None:
    print("\n| finding | training images | AUC | F1 | AUC of pixels |")
    print("| --- | ---: | ---: | ---: | ---: |")
    counts = np.mean([task.target.train_labels[rows].sum(axis=0) for rows in task.draws], axis=0)
    for k, name in enumerate(task.target.class_names):
        own = [run.findings[k] for run in ours]
        cells = [_spread([one.auc for one in own]), _spread([one.f1 for one in own])]
        cells.append(_spread([run.findings[k].auc for run in pixels]))
        print(f"| {name} | {counts[k]:.0f} | {' | '.join(cells)} |")


def _beside_sklearn(
    pool: TargetData, rows: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
) -> tuple[list[float], list[float], tuple[float, float]]:
    """Of each finding the difference in AUC and the excess of the objective; and seconds."""
    labels, groups = pool.train_labels[rows], pool.train_groups[rows]
    output_map = DenseMap(labels.shape[1], targets="multi_label")
    output_map.attach("probabilities", 0.0)
    output_map.adapt(train[rows])
    features, held = (np.asarray(output_map.features(one)) for one in (train[rows], test))
    how = {"seed": seed, "groups": groups}
    signs = np.unique(labels, axis=0, return_inverse=True)[1].ravel()
    moments = [time.perf_counter()]
    fit = fit_logistic_regression(features, labels, num_classes=labels.shape[1], **how)
    moments.append(time.perf_counter())
    fit_logistic_regression(features, signs, num_classes=signs.max() + 1, **how)
    moments.append(time.perf_counter())
    # The columns that the regularisation refers to: axes that keep a power of their spread.
    axes, along = PrincipalAxes.fit(features, np.arange(len(features)))
    along = along.astype(float)
    spread = np.sqrt(np.square(along).mean(axis=0))
    problem = FindingsProblem(along, labels, np.ones(labels.shape))
    penalty = np.stack([axis_penalties(spread, power) for power in fit.spread_powers], axis=1)
    own = problem.solve(np.asarray(fit.regularizations), penalty=penalty)
    apart, excess = [], []
    for k, regularization in enumerate(fit.regularizations):
        factors = 1 / np.sqrt(penalty[:, k])
        columns, of_finding = along * factors, labels[:, k]
        theirs = LogisticRegression(C=regularization, solver="newton-cholesky", tol=1e-12)
        theirs.fit(columns, of_finding)
        kernel, _ = axes.affine(theirs.coef_.T * factors[:, None], theirs.intercept_)
        known = roc_auc_score(pool.test_labels[:, k], held @ kernel[:, 0])
        apart.append(abs(roc_auc_score(pool.test_labels[:, k], held @ fit.kernel[:, k]) - known))
        weights, bias = own.kernel[:, k] / factors, own.bias[k]
        reached = _objective(columns, of_finding, weights, bias, regularization)
        best = _objective(
            columns, of_finding, theirs.coef_[0], theirs.intercept_[0], regularization
        )
        excess.append(reached / best - 1)
    return apart, excess, (moments[1] - moments[0], moments[2] - moments[1])


def _objective(
    rows: np.ndarray, labels: np.ndarray, weights: np.ndarray, bias: float, regularization: float
) -> float:
    logits = rows @ weights + bias
    losses = np.logaddexp(0, logits) - labels * logits
    return float(weights @ weights / 2 + regularization * losses.sum())


# === Grades ===


def _speed_limits() -> TargetData:
    """Signs of the limits 20 to 120, which are grades."""
    signs = load_target("gtsrb")
    limits = [k for k, name in enumerate(signs.class_names) if name.startswith("speed limit")]
    train, test = (np.isin(labels, limits) for labels in (signs.train_labels, signs.test_labels))
    return replace(
        signs.with_training(np.flatnonzero(train)),
        name="speed limits",
        train_labels=np.searchsorted(limits, signs.train_labels[train]),
        test_images=signs.test_images[test],
        test_labels=np.searchsorted(limits, signs.test_labels[test]),
        class_names=tuple(signs.class_names[k].removeprefix("speed limit ") for k in limits),
    )


def _grades_run(task: Task, seed: int) -> dict[str, tuple[float, float, float]]:
    target, rows = task.target, task.draws[seed]
    labels, names = target.train_labels[rows], target.class_names
    groups = None if target.train_groups is None else target.train_groups[rows]
    found = {}
    pixels = fit_no_source(
        target.train_images[rows], labels, num_classes=len(names), seed=seed, groups=groups
    )
    sure = np.eye(len(names))[pixels.predict(target.test_images)]
    metrics = classification_metrics(target.test_labels, sure, names, ordinal=True)
    found[_PIXELS] = (metrics.quadratic_kappa, metrics.accuracy, np.nan)
    for views in (1, NUM_VIEWS):
        for ordinal in (False, True):
            output_map = DenseMap(len(names), ordinal=ordinal)
            model = ReprogrammedModel(
                task.maker.model(views).program, task.maker.source, output_map, seed=seed
            )
            scores = task.train[rows][:, :views]
            fit = model.fit_output_map(y=labels, scores=scores, groups=groups)
            guesses = np.asarray(output_map(task.test[:, :views]), float)
            metrics = classification_metrics(target.test_labels, guesses, names, ordinal=True)
            own = guesses[np.arange(len(guesses)), target.test_labels]
            loss = float(-np.log(np.maximum(own, 1e-12)).mean())
            name = f"{'ordinal' if ordinal else 'multinomial'}, {views} views"
            found[name] = (metrics.quadratic_kappa, metrics.accuracy, loss)
            if ordinal:
                kept = "an ordinal form" if fit.ordinal else "the multinomial"
                print(f"{target.name}, seed {seed}, {views} views: {kept} kept", file=sys.stderr)
    return found


def _queries(name: str) -> int:
    return 0 if name == _PIXELS else int(name.split(", ")[1].split()[0])


def _spread(values: Sequence[float]) -> str:
    if np.isnan(values).any():
        return "-"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=int(len(values) > 1)):.3f}"


if __name__ == "__main__":
    app()
