"""Autism spectrum disorder (ASD) from brain correlations: reprogrammed sources, cross-validated.

    export KERAS_REPROGRAM_DATA=...   # abide_cc200_corr_1035.npz
    export KERAS_HOME=...             # only where there is no network: MobileNet's weights
    python examples/benchmark/asd_cross_validation.py

Each fold's every choice is made on 15 % of its training subjects; its test subjects are looked at
once, by what was chosen. A source's answers do not depend on the fold: each subject is asked once a
view. A row of the CSV file is one method on one fold, written at once; rows that are there are
not measured again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from asd_baselines import BASELINES, INNER_SHARE, Baseline, Prediction
from asd_rows import FoldRow, append_row, markdown_table, read_rows
from sklearn.model_selection import StratifiedKFold
from sources import SourceChoice, source_choices

from keras_reprogram import (
    DenseMap,
    PixelSource,
    ProgramLayer,
    ReprogrammedModel,
    join_sources,
)
from keras_reprogram.datasets import TargetData, load_target
from keras_reprogram.source import Source

CSV_FILE = Path(__file__).with_suffix(".csv")
USUAL_SOURCES = "mobilenet_025_128,traffic_signs"
NO_SOURCE = "none"
# The candidates: the plain matrix, and it with 7 or 31 further views.
VIEWS = (1, 8, 32)

# (train, test) -> prediction, queries a training subject, queries a prediction.
Method = Callable[[np.ndarray, np.ndarray], tuple[Prediction, int, int]]


def main(
    sources: Annotated[
        str, typer.Option(help='Names by commas, or "none": baselines only.')
    ] = USUAL_SOURCES,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the cross-validation.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Draws folds, inner splits and views.")] = 0,
    csv_file: Annotated[
        Path, typer.Option("--csv", help="Where rows are kept and looked for.")
    ] = CSV_FILE,
) -> None:
    """Measures what no row holds yet; the table goes to stdout, progress to stderr."""
    known = source_choices()
    names = [name.strip() for name in sources.split(",") if name.strip() != NO_SOURCE]
    wrong = [name for name in names if name not in known]
    if wrong:
        raise typer.BadParameter(
            f"Expected {NO_SOURCE}, {', '.join(known)}. Received: {', '.join(wrong)}.",
            param_hint="--sources",
        )
    try:
        data = load_target("abide")
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    images, labels = _joined(data)
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    parts = list(splits.split(images, labels))
    facts = {"folds": folds, "seed": seed, "n_images": len(labels)}
    done = {row.key for row in read_rows(csv_file)}
    for source_name in (NO_SOURCE, *names):
        choice = known.get(source_name)
        names_of = METHODS_OF_SOURCE if choice else tuple(BASELINES)
        missing = [
            (method, fold)
            for fold in range(folds)
            for method in names_of
            if (source_name, method, fold, *facts.values()) not in done
        ]
        if not missing:
            continue
        methods = _with_source(choice, data, seed) if choice else _without_source(data, seed)
        for method, fold in missing:
            figures = _measure(methods[method], labels, *parts[fold])
            row = FoldRow(source_name, method, fold, **facts, **figures)
            append_row(csv_file, row)
            print(_line(row), file=sys.stderr)
    rows = [row for row in read_rows(csv_file) if row.key[3:] == tuple(facts.values())]
    print(markdown_table(rows))


def _joined(data: TargetData) -> tuple[np.ndarray, np.ndarray]:
    images = np.concatenate([data.train_images, data.test_images])
    return images, np.concatenate([data.train_labels, data.test_labels])


def _measure(
    method: Method, labels: np.ndarray, train: np.ndarray, test: np.ndarray
) -> dict[str, object]:
    (predicted, validation, choices), queries, queries_per_prediction = method(train, test)
    right = predicted == labels[test]
    return {
        "n_train": len(train),
        "n_test": len(test),
        "queries_training": queries * len(train),
        "queries_per_prediction": queries_per_prediction,
        "validation_accuracy": validation,
        "accuracy": float(right.mean()),
        "sensitivity": float(right[labels[test] == 1].mean()),
        "specificity": float(right[labels[test] == 0].mean()),
        "choices": choices,
    }


def _without_source(data: TargetData, seed: int) -> dict[str, Method]:
    images, labels = _joined(data)
    # The matrix is symmetric with ones on its diagonal: this is all that it holds.
    correlations = images[:, *np.triu_indices(images.shape[1], 1), 0]

    def free(baseline: Baseline) -> Method:
        return lambda train, test: (baseline(correlations, labels, seed, train, test), 0, 0)

    return {name: free(baseline) for name, baseline in BASELINES.items()}


def _with_source(choice: SourceChoice, data: TargetData, seed: int) -> dict[str, Method]:
    images, labels = _joined(data)
    source = choice.opaque()

    def model_of(num_views: int, source: Source) -> ReprogrammedModel:
        program = ProgramLayer(
            data.target_shape,
            source.source_shape,
            source_range=source.value_range,
            target_range=data.target_range,
            placement="views",
            num_views=num_views,
            seed=seed,
        )
        return ReprogrammedModel(program, source, DenseMap(2), seed=seed)

    models = {num_views: model_of(num_views, source) for num_views in VIEWS}
    # View i does not depend on how many there are: the widest model's answers hold the others'.
    scores = models[max(VIEWS)].collect_scores(images, verbose=0)
    print(f"{choice.name}: {source.queries_used:,} queries", file=sys.stderr)

    def fit(num_views: int, train: np.ndarray, test: np.ndarray) -> Prediction:
        return _fit_map(models[num_views], scores[:, :num_views], labels, train, test)

    # The matrix itself beside the source: it costs no query more.
    pixels = PixelSource(data.target_shape, target_range=data.target_range)
    joint = join_sources([source, pixels])
    joint_models = {num_views: model_of(num_views, joint) for num_views in VIEWS}
    joint_scores = {v: np.asarray(joint.answers(scores[:, :v], images)) for v in VIEWS}

    def fit_joint(num_views: int, train: np.ndarray, test: np.ndarray) -> Prediction:
        return _fit_map(joint_models[num_views], joint_scores[num_views], labels, train, test)

    def best_of(fit: Callable[..., Prediction]) -> Method:
        def chosen(train: np.ndarray, test: np.ndarray) -> tuple[Prediction, int, int]:
            candidates = {num_views: fit(num_views, train, test) for num_views in VIEWS}
            best = max(VIEWS, key=lambda num_views: (candidates[num_views][1], -num_views))
            predicted, validation, choices = candidates[best]
            return (predicted, validation, f"views={best};{choices}"), max(VIEWS), best

        return chosen

    def alone(num_views: int) -> Method:
        return lambda train, test: (fit(num_views, train, test), num_views, num_views)

    chosen = {"ours": best_of(fit), "joint": best_of(fit_joint)}
    return chosen | {_map_name(num_views): alone(num_views) for num_views in VIEWS}


def _fit_map(
    model: ReprogrammedModel,
    answers: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
) -> Prediction:
    fit = model.fit_output_map(
        y=labels[train], scores=answers[train], validation_split=INNER_SHARE, verbose=0
    )
    predicted = np.asarray(model.output_map(answers[test])).argmax(axis=1)
    choices = f"C={fit.regularization:g};spread_power={fit.spread_power:g}"
    if fit.part_weights:
        choices = "weights=" + "/".join(f"{share:.2f}" for share in fit.part_weights)
    return predicted, fit.validation_accuracy, choices


def _map_name(num_views: int) -> str:
    return "map_plain" if num_views == 1 else f"map_views_{num_views}"


METHODS_OF_SOURCE = ("ours", "joint", *(_map_name(num_views) for num_views in VIEWS))


def _line(row: FoldRow) -> str:
    return f"{row.source:18} {row.method:20} fold {row.fold:2}  {row.accuracy:.3f}  {row.choices}"


if __name__ == "__main__":
    sys.exit(typer.run(main))
