"""What 2, 4 or 8 queries an image buy with few images, and which fit a few images a class need.

    export KERAS_REPROGRAM_DATA=... KERAS_HOME=...   # data sets; weights where there is no network
    python examples/benchmark/few_budget.py --answers answers
    python examples/benchmark/few_budget.py --table

A source's answers to a pool of 2,000 training and 1,000 test images under eight gentle views are
asked once; five draws of the pool are fits on them, by the library's own `fit_opaque`. Each run is
a row of a CSV file; runs that are there are not done again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from csv_rows import Key, Row, read_rows
from few_images_data import first_of_each_class, sources
from remembered_answers import remembered
from resumable import do_missing, names_by_commas
from runs import NO_SOURCE
from stored_views import StoredViews, as_images, look_up_model, stored_views
from task import GRID

from keras_reprogram import DenseMap, NewHead, ProgramLayer, ReprogrammedModel
from keras_reprogram.baselines import fit_linear_head, fit_no_source
from keras_reprogram.datasets import TargetData, load_target
from keras_reprogram.fitting import fit_logistic_regression
from keras_reprogram.report import classification_metrics

CSV_FILE = Path(__file__).with_suffix(".csv")
TARGETS = ("cifar10", "ham10000", "gtsrb_10")
TOTALS, A_CLASS = (50, 100, 700), (1, 5, 10)
BUDGETS = (2, 4, 8)
POOL, MOST_TEST_IMAGES = 2000, 1000
POOL_SEED = 7
# Draws from this number on are for choosing settings of the library; no table shows them.
FIRST_CHOOSING_DRAW = 100


@dataclass(frozen=True)
class Draw:
    """Images of one run.

    Attributes:
        source: its name.
        target: one of `TARGETS`.
        size: images, or images a class.
        a_class: which of both.
        seed: draws them.
        answers: the folder of stored answers.
    """

    source: str
    target: str
    size: int
    a_class: bool
    seed: int
    answers: Path | None

    @property
    def choosing(self) -> bool:
        """Whether it is for choosing settings."""
        return self.seed >= FIRST_CHOOSING_DRAW

    @property
    def pool(self) -> TargetData:
        """What it is drawn from."""
        return draw_pool(self.target, self.choosing)

    @property
    def rows(self) -> np.ndarray:
        """Positions in the pool: as many of each class, or all there are."""
        labels = self.pool.train_labels
        each = self.size if self.a_class else self.size // len(self.pool.class_names)
        order = np.random.default_rng(self.seed).permutation(len(labels))
        return order[first_of_each_class(labels[order], each)]

    @property
    def data(self) -> TargetData:
        """The drawn training images, and the test images."""
        rows, pool = self.rows, self.pool
        groups = None if pool.train_groups is None else pool.train_groups[rows]
        return replace(
            pool,
            train_images=pool.train_images[rows],
            train_labels=pool.train_labels[rows],
            train_groups=groups,
        )

    @property
    def stored(self) -> StoredViews:
        """The source's answers to the pool and the test images."""
        return _stored(self.source, self.target, self.choosing, self.answers)


@lru_cache(maxsize=1)
def draw_pool(target: str, choosing: bool = False) -> TargetData:
    """The images that draws are made of, and those that test them.

    Args:
        target: one of `TARGETS`.
        choosing: whether for choosing settings: then other training images (and tracks) are drawn
            from, and further training images stand for the test images.
    """
    data = load_target("gtsrb" if target == "gtsrb_10" else target)
    data = _ten_signs(data) if target == "gtsrb_10" else replace(data, train_groups=None)
    random = np.random.default_rng(POOL_SEED)
    if data.train_groups is None:
        order = random.permutation(len(data.train_labels))
        parts = np.split(order, [POOL, 2 * POOL])
    else:
        tracks = random.permutation(np.unique(data.train_groups))
        some = len(tracks) * 2 // 5
        parts = [
            random.permutation(np.flatnonzero(np.isin(data.train_groups, part)))
            for part in np.split(tracks, [some, 2 * some])
        ]
    tests = random.permutation(len(data.test_labels))[:MOST_TEST_IMAGES]
    images, labels = data.test_images[tests], data.test_labels[tests]
    if choosing:
        rest = parts[2][:MOST_TEST_IMAGES]
        images, labels = data.train_images[rest], data.train_labels[rest]
    rows = parts[1 if choosing else 0][:POOL]
    return replace(
        data,
        name=f"{target}_choosing" if choosing else target,
        train_images=data.train_images[rows],
        train_labels=data.train_labels[rows],
        test_images=images,
        test_labels=labels,
        train_groups=None if data.train_groups is None else data.train_groups[rows],
    )


def _ten_signs(data: TargetData) -> TargetData:
    """The ten classes with the most tracks."""
    count = len(data.class_names)
    tracks = [len(np.unique(data.train_groups[data.train_labels == k])) for k in range(count)]
    kept = np.sort(np.argsort(-np.array(tracks), kind="stable")[:10])
    train, test = np.isin(data.train_labels, kept), np.isin(data.test_labels, kept)
    return replace(
        data,
        train_images=data.train_images[train],
        train_labels=np.searchsorted(kept, data.train_labels[train]),
        test_images=data.test_images[test],
        test_labels=np.searchsorted(kept, data.test_labels[test]),
        train_groups=data.train_groups[train],
        class_names=tuple(data.class_names[k] for k in kept),
    )


@lru_cache(maxsize=1)
def _stored(source: str, target: str, choosing: bool, answers: Path | None) -> StoredViews:
    return stored_views(sources()[source], draw_pool(target, choosing), max(BUDGETS), answers)


@lru_cache(maxsize=1)
def _features(source: str, target: str, choosing: bool) -> np.ndarray:
    """Before the source's last layer, of training and test images."""
    data, network = draw_pool(target, choosing), sources()[source].transparent("features")
    program = ProgramLayer(
        data.target_shape,
        network.source_shape,
        source_range=network.value_range,
        target_range=data.target_range,
        placement="full",
    )
    model = ReprogrammedModel(program, network, NewHead(len(data.class_names)))
    images = np.concatenate([data.train_images, data.test_images])
    return model.collect_scores(images, verbose=0)[:, 0]


# Probabilities of the test images, and what is to be said of the run.
Outcome = tuple[np.ndarray, dict[str, Any]]


def within_budget(budget: int, fit: str, draw: Draw) -> Outcome:
    """`fit_opaque` with as many views as the budget pays an image."""
    stored, data = draw.stored, draw.data
    output_map = DenseMap(len(data.class_names), fit=fit)
    model, source = look_up_model(stored, budget, output_map, draw.seed)
    found = model.fit_opaque(
        as_images(draw.rows),
        data.train_labels,
        query_budget=budget * len(data.train_labels),
        groups=data.train_groups,
        verbose=0,
    )
    queries = source.queries_used
    tests = as_images(stored.num_train + np.arange(len(data.test_labels)))
    said = {"queries_training": queries, "views": budget, "choices": f"reading={found.reading}"}
    return model.predict(tests, batch_size=256, verbose=0), said


def spare_budget(budget: int, draw: Draw) -> Outcome:
    """`fit_opaque` with one view and a budget that is several times what its answers cost."""
    data = draw.data
    source = remembered(draw.source, draw.target, draw.seed).opaque()
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=data.target_range,
        placement="full",
        grid=GRID,
        masked=False,
        seed=draw.seed,
    )
    output_map = DenseMap(len(data.class_names), fit="auto")
    model = ReprogrammedModel(program, source, output_map, seed=draw.seed)
    found = model.fit_opaque(
        data.train_images,
        data.train_labels,
        query_budget=budget * len(data.train_labels),
        groups=data.train_groups,
        verbose=0,
    )
    queries = source.queries_used
    said = {"queries_training": queries, "views": 1, "notes": found.given_back}
    return model.predict(data.test_images, batch_size=64, verbose=0), said


def plain_fit(fit: str, draw: Draw) -> Outcome:
    """The plain view's map, fitted by name; `"one_split"` holds a fifth of the images out once."""
    stored, data = draw.stored, draw.data
    name = "exact" if fit == "one_split" else fit
    model, _ = look_up_model(stored, 1, DenseMap(len(data.class_names), fit=name), draw.seed)
    answers = np.asarray(stored.answers[draw.rows, :1])
    if fit == "one_split":

        def solver(features, labels, weight):
            return fit_logistic_regression(
                features,
                labels,
                num_classes=len(data.class_names),
                sample_weight=weight,
                seed=draw.seed,
                groups=data.train_groups,
                few=0,
            )

        model.output_map.fit_answers(answers, data.train_labels, solver=solver)
    else:
        model.fit_output_map(scores=answers, y=data.train_labels, groups=data.train_groups)
    tests = as_images(stored.num_train + np.arange(len(data.test_labels)))
    said = {"queries_training": len(draw.rows), "views": 1}
    return model.predict(tests, batch_size=256, verbose=0), said


def no_source(draw: Draw) -> Outcome:
    """A model of the pixels."""
    data = draw.data
    fit = fit_no_source(
        data.train_images,
        data.train_labels,
        num_classes=len(data.class_names),
        seed=draw.seed,
        groups=data.train_groups,
    )
    return np.eye(len(data.class_names))[fit.predict(data.test_images)], {}


def linear_head(draw: Draw) -> Outcome:
    """White box: logistic regression on the features before the source's last layer."""
    data, features = draw.data, _features(draw.source, draw.target, draw.choosing)
    fit = fit_linear_head(
        features[draw.rows],
        data.train_labels,
        num_classes=len(data.class_names),
        seed=draw.seed,
        groups=data.train_groups,
    )
    read = fit.predict(features[len(draw.pool.train_labels) :])
    return np.eye(len(data.class_names))[read], {"queries_training": len(draw.rows), "views": 1}


METHODS: dict[str, Callable[[Draw], Outcome]] = {
    "no_source": no_source,
    "plain": partial(within_budget, 1, "auto"),
    "spare_8": partial(spare_budget, 8),
    **{f"views_{budget}": partial(within_budget, budget, "auto") for budget in BUDGETS},
    "linear_head": linear_head,
}
FITS: dict[str, Callable[[Draw], Outcome]] = {
    name: partial(plain_fit, name) for name in ("one_split", "exact", "closed_form")
}


def main(
    source: Annotated[str, typer.Option(help="Names by commas.")] = "mobilenet_025_128",
    targets: Annotated[str, typer.Option(help=f"Names by commas: {','.join(TARGETS)}.")] = "",
    draws: Annotated[str, typer.Option(help="Numbers by commas.")] = "0,1,2,3,4",
    methods: Annotated[str, typer.Option(help=f"Of {','.join([*METHODS, *FITS])}.")] = "",
    most_images: Annotated[int | None, typer.Option(help="Leave larger sizes out.")] = None,
    answers: Annotated[
        Path | None, typer.Option(help="A folder that keeps the source's answers.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Most time.")] = None,
    csv_file: Annotated[Path, typer.Option("--csv", help="Where rows are kept.")] = CSV_FILE,
    table: Annotated[bool, typer.Option("--table", help="Only print the tables.")] = False,
) -> None:
    """Measures; tables go to stdout, progress to stderr."""
    chosen = names_by_commas(methods, [*METHODS, *FITS], "--methods")
    runs = [
        (method, Draw(name, target, size, a_class, int(seed), answers))
        for name in names_by_commas(source, sources(), "--source")
        for target in names_by_commas(targets, TARGETS, "--targets")
        for of, sizes, a_class in ((METHODS, TOTALS, False), (FITS, A_CLASS, True))
        for seed in names_by_commas(draws, None, "--draws")
        for size in sizes
        if most_images is None or size <= most_images
        for method in of
        if method in chosen
    ]
    how = {"key": run_key, "execute": execute, "expected_seconds": lambda rows, run: 0.0}
    if not table and not do_missing(runs, csv_file, minutes, **how):
        raise typer.Exit(130)
    rows = [row for row in read_rows(csv_file) if row.seed < FIRST_CHOOSING_DRAW]
    for sizes, names, word in ((TOTALS, METHODS, "images"), (A_CLASS, FITS, "a class")):
        print(markdown_table(rows, sizes, names, word), end="\n\n")


def run_key(run: tuple[str, Draw]) -> Key:
    """What tells one run from another, as `Row.key`."""
    method, draw = run
    source = NO_SOURCE if method == "no_source" else draw.source
    return source, draw.target, method, draw.seed, mode_name(draw.size, draw.a_class)


def mode_name(size: int, a_class: bool) -> str:
    """What a row's `mode` says about the images."""
    return f"{size} a class" if a_class else f"{size} images"


def execute(run: tuple[str, Draw]) -> Row:
    """Does a run; its row."""
    method, draw = run
    data, started = draw.data, time.monotonic()
    probabilities, said = {**METHODS, **FITS}[method](draw)
    metrics = classification_metrics(data.test_labels, probabilities, data.class_names)
    return Row(
        *run_key(run),
        len(data.train_labels),
        len(data.test_labels),
        test_accuracy=metrics.accuracy,
        balanced_accuracy=metrics.balanced_accuracy,
        seconds=time.monotonic() - started,
        **said,
    )


def markdown_table(
    rows: Sequence[Row], sizes: Sequence[int], methods: Sequence[str], word: str
) -> str:
    """Mean ± standard deviation of test accuracy over the draws, and mean queries an image."""
    lines = [
        "| " + " | ".join(["source", "target", word, *methods]) + " |",
        "| --- | --- | ---: |" + " ---: |" * len(methods),
    ]
    for source in dict.fromkeys(row.source for row in rows if row.source != NO_SOURCE):
        for target in dict.fromkeys(row.target for row in rows):
            for size in sizes:
                mode = mode_name(size, word == "a class")
                found = [r for r in rows if r.target == target and r.mode == mode]
                cells = [
                    _cell([r for r in found if r.method == m and r.source in (source, NO_SOURCE)])
                    for m in methods
                ]
                if any(cells):
                    lines.append("| " + " | ".join([source, target, str(size), *cells]) + " |")
    return "\n".join(lines)


def _cell(rows: Sequence[Row]) -> str:
    values = [row.test_accuracy for row in rows if row.test_accuracy is not None]
    if not values:
        return ""
    text = f"{np.mean(values):.3f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.3f}"
    text = text.replace("0.", ".")
    if rows[0].queries_training and rows[0].method.startswith(("views", "spare")):
        each = np.mean([(row.queries_training or 0) / row.n_train for row in rows])
        other = sum("first view" not in row.choices for row in rows if row.choices)
        text += f" ({each:.1f}" + (f"; {other} of {len(rows)}" if rows[0].choices else "") + ")"
    return text


if __name__ == "__main__":
    sys.exit(typer.run(main))
