"""How long does an exact fit take, beside scikit-learn's `LogisticRegressionCV`?

    export KERAS_HOME=...             # only where there is no network: MobileNet's weights
    export KERAS_REPROGRAM_DATA=...   # only where there is no network: the data sets
    python examples/benchmark/exact_fit.py --json exact_fit.json

The features are real: log-scores of MobileNet 0.25 (128 pixels, 1,000 labels) for several views of
CIFAR-10's images and of traffic signs, as `DenseMap` reads them. Both sides choose C from one grid
on the same held-out rows, and fit all rows again at the chosen one. Each fit has a process of its
own; both take turns, and what is compared are ratios inside a round. The Markdown goes to stdout.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import typer
from rounds import fresh_process, spread_text
from sklearn.linear_model import LogisticRegressionCV

from keras_reprogram.fitting import fit_logistic_regression
from keras_reprogram.fitting.map_fitting import REGULARIZATIONS
from keras_reprogram.fitting.validation import split_validation

NUM_TEST = 1000
VALIDATION_SHARE = 0.2
VIEWS = 8


@dataclass(frozen=True)
class Case:
    """One size of a fit.

    Attributes:
        target: whose images.
        rows: training images.
        features: columns of the log-scores, from the first view on.
        classes: the target's first classes.
    """

    target: str
    rows: int
    features: int
    classes: int


@dataclass(frozen=True)
class Measurement:
    """What one fit took and gave.

    Attributes:
        seconds: of wall time.
        processor_seconds: of all threads.
        megabytes: that the process's peak grew by, the features being there before.
        regularization: C.
        test_accuracy: on images of the target's test part.
        test_loss: cross-entropy there.
    """

    seconds: float
    processor_seconds: float
    megabytes: float
    regularization: float
    test_accuracy: float
    test_loss: float


LARGE = (
    Case("cifar10", 2000, 4000, 10),
    Case("gtsrb", 5000, 4000, 43),
)
ROWS = tuple(Case("cifar10", rows, 1000, 10) for rows in (250, 1000, 4000, 10000))
FEATURES = tuple(Case("cifar10", 2000, features, 10) for features in (250, 1000, 4000, 8000))
CLASSES = tuple(Case("gtsrb", 3000, 1000, classes) for classes in (2, 5, 10, 20, 43))


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Fits of each kind and size.")] = 3,
    scikit_learn: Annotated[
        bool, typer.Option(help="Also scikit-learn's, which takes minutes.")
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where the figures are written.")
    ] = None,
) -> None:
    """Times exact fits of several sizes."""
    methods = ("ours", "scikit-learn") if scikit_learn else ("ours",)
    sections = {"whole maps": LARGE, "rows": ROWS, "features": FEATURES, "classes": CLASSES}
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cifar10", "gtsrb"):
            most = max(case.rows for cases in sections.values() for case in cases)
            with fresh_process() as process:
                process.submit(store_features, name, most, folder).result()
        for title, cases in sections.items():
            print(f"\n| {title} | " + " | ".join(_columns(methods)) + " |")
            print("| --- |" + " ---: |" * len(_columns(methods)))
            for case in cases:
                measured = measure(case, methods, rounds, folder)
                found.append(
                    asdict(case) | {name: [asdict(m) for m in ms] for name, ms in measured.items()}
                )
                print(_row(case, measured), flush=True)
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def store_features(target: str, most: int, folder: str) -> None:
    """Asks the source for all images of a target and writes its log-scores."""
    from sources import source_choices

    from keras_reprogram import DenseMap, ProgramLayer
    from keras_reprogram.datasets import load_target

    data = load_target(target)
    data = data.draw(min(most, len(data.train_labels)), NUM_TEST, 0)
    source = source_choices()["mobilenet_025_128"].transparent()
    program = ProgramLayer(
        data.target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=data.target_range,
        placement="gentle_views",
        num_views=VIEWS,
        masked=False,
        seed=0,
    )
    output_map = DenseMap(len(data.class_names))
    for part, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        scores = np.concatenate(
            [_scores(program, source, images[i : i + 32]) for i in range(0, len(images), 32)]
        )
        if part == "train":
            output_map.adapt(scores)
        features = np.concatenate(
            [
                np.asarray(output_map.features(scores[i : i + 500]))
                for i in range(0, len(scores), 500)
            ]
        )
        np.save(Path(folder, f"{target}_{part}.npy"), features)
        np.save(Path(folder, f"{target}_{part}_labels.npy"), labels)


def _scores(program: Any, source: Any, images: np.ndarray) -> np.ndarray:
    views = np.asarray(program(images))
    answers = source(views.reshape(-1, *source.source_shape))
    return np.asarray(answers).reshape(len(images), -1, source.num_labels)


def measure(
    case: Case, methods: Sequence[str], rounds: int, folder: str
) -> dict[str, list[Measurement]]:
    """Fits of one size, the methods in turn, each in a process of its own."""
    found: dict[str, list[Measurement]] = {method: [] for method in methods}
    for _ in range(rounds):
        for method in methods:
            with fresh_process() as process:
                found[method].append(process.submit(timed, case, method, folder).result())
    return found


def timed(case: Case, method: str, folder: str) -> Measurement:
    """One fit."""
    x, y = _part(case, "train", folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, start_processor = time.perf_counter(), time.process_time()
    kernel, bias, regularization = FITS[method](x, y)
    seconds, processor = time.perf_counter() - start, time.process_time() - start_processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    x, y = _part(case, "test", folder)
    logits = x @ kernel + bias
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return Measurement(
        seconds,
        processor,
        (peak - before) / 1024,
        regularization,
        float(np.mean(logits.argmax(axis=1) == y)),
        float(-logits[np.arange(len(y)), y].mean()),
    )


def _part(case: Case, part: str, folder: str) -> tuple[np.ndarray, np.ndarray]:
    features = np.load(Path(folder, f"{case.target}_{part}.npy"), mmap_mode="r")
    labels = np.load(Path(folder, f"{case.target}_{part}_labels.npy"))
    chosen = np.flatnonzero(labels < case.classes)
    if part == "train":
        chosen = np.random.default_rng(0).permutation(chosen)[: case.rows]
    return np.ascontiguousarray(features[chosen, : case.features]), labels[chosen]


def _ours(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    fit = fit_logistic_regression(x, y, num_classes=int(y.max()) + 1)
    return fit.kernel, fit.bias, fit.regularization


def _scikit_learn(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    mean = x.mean(axis=0)
    x = x - mean
    scale = np.sqrt(np.mean(np.einsum("ij,ij->i", x, x)))
    parts = split_validation(y, y, VALIDATION_SHARE, 0, None)
    model = LogisticRegressionCV(
        Cs=REGULARIZATIONS, cv=[parts], scoring="neg_log_loss", max_iter=2000, tol=1e-4
    )
    with warnings.catch_warnings():
        # Of what its next versions will change; its results stay.
        warnings.simplefilter("ignore", FutureWarning)
        model.fit(x / scale, y)
    coefficients, bias = model.coef_, model.intercept_
    if len(coefficients) == 1:
        coefficients = np.concatenate([-coefficients / 2, coefficients / 2])
        bias = np.concatenate([-bias / 2, bias / 2])
    kernel = coefficients.T / scale
    return kernel, bias - mean @ kernel, float(np.ravel(model.C_)[0])


FITS = {"ours": _ours, "scikit-learn": _scikit_learn}


def _columns(methods: Sequence[str]) -> list[str]:
    ours = ["seconds", "peak memory", "C", "test accuracy", "test loss"]
    return ours + ["scikit-learn", "memory", "C", "accuracy", "loss", "ratio"] * (len(methods) > 1)


def _row(case: Case, measured: dict[str, list[Measurement]]) -> str:
    cells = [f"{case.target}: {case.rows:,} x {case.features:,}, {case.classes} classes"]
    for found in measured.values():
        seconds = [one.seconds for one in found]
        last = found[-1]
        cells += [
            spread_text(seconds),
            f"{np.median([one.megabytes for one in found]):.0f} MB",
            f"{last.regularization:g}",
            f"{last.test_accuracy:.3f}",
            f"{last.test_loss:.4f}",
        ]
    if len(measured) > 1:
        ours, others = ([one.seconds for one in found] for found in measured.values())
        cells.append(f"{np.median(np.divide(others, ours)):.1f}")
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    typer.run(main)
