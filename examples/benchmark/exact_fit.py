"""How long does an exact fit take, beside an earlier version and scikit-learn?

    export KERAS_HOME=...             # only where there is no network: the networks' weights
    export KERAS_REPROGRAM_DATA=...   # only where there is no network: the data sets
    git worktree add ../earlier bcbcef8
    python examples/benchmark/exact_fit.py --beside ../earlier --page docs/exact_fit.md

The features are real: log-scores (1,000 labels) of MobileNet 0.25 and MobileNetV2 for several views
of CIFAR-10's images and of traffic signs, as `DenseMap` reads them. Whole maps are fitted by this
version and by the earlier one; where rows, features or classes grow, by this version and by
scikit-learn's `LogisticRegressionCV`, which chooses C from the same grid on the same held-out rows
and fits all rows again. Each fit has a process of its own; all take turns, and what is compared are
ratios inside a round. The Markdown goes to stdout and, with `--page`, into that page; `--plot FILE`
draws the times and `--json FILE` keeps all figures.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import exact_fit_device
import numpy as np
import typer
from exact_fit_cases import Case, part_of, store_answers
from rounds import fresh_process, spread_text

# `keras_reprogram` is imported by the processes that fit: one of this version or an earlier one.

VALIDATION_SHARE = 0.2
# A fit of so many numbers takes the earlier version half an hour and more, and is timed once.
ONCE = 50_000_000
SECTION = ("<!-- exact_fit.py writes from here -->\n", "<!-- to here -->")


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
    Case("cifar10", 2000, 4000, 10, "mobilenet_v2"),
    Case("gtsrb", 5000, 4000, 43),
)
LARGEST = (Case("cifar10", 10000, 8000, 10),)
ROWS = tuple(Case("cifar10", rows, 1000, 10) for rows in (250, 1000, 4000, 10000))
FEATURES = tuple(Case("cifar10", 2000, features, 10) for features in (250, 1000, 4000, 8000))
CLASSES = tuple(Case("gtsrb", 3000, 1000, classes) for classes in (2, 5, 10, 20, 43))


GROWING = {"rows": ROWS, "features": FEATURES, "classes": CLASSES}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Fits of each kind and size.")] = 3,
    beside: Annotated[
        Path | None, typer.Option(help="A checkout of an earlier version, for the whole maps.")
    ] = None,
    scikit_learn: Annotated[
        bool, typer.Option(help="Also scikit-learn's, which takes minutes.")
    ] = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where the figures are written.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="A Markdown page whose generated section is replaced.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Where a picture of the times goes.")] = None,
    sections: Annotated[
        str, typer.Option(help="By commas, of: whole maps, largest map, rows, features, classes.")
    ] = "whole maps,largest map,rows,features,classes",
    answers: Annotated[
        Path | None, typer.Option(help="A folder that keeps the sources' answers for later runs.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="One of TensorFlow's, such as GPU:0: only NumPy and it are compared."),
    ] = None,
) -> None:
    """Times exact fits of several sizes."""
    if page is not None and not all(mark in page.read_text("utf-8") for mark in SECTION):
        raise typer.BadParameter(
            f"Expected a page with the lines {SECTION[0]!r} and {SECTION[1]!r}. Received: {page}."
        )
    growing = ("this version", "scikit-learn") if scikit_learn else ("this version",)
    whole = ("this version",) if beside is None else ("this version", "earlier")
    known = {"whole maps": (LARGE, whole), "largest map": (LARGEST, whole)} | {
        title: (cases, growing) for title, cases in GROWING.items()
    }
    if unknown := set(sections.split(",")) - set(known):
        raise typer.BadParameter(
            f"Expected sections of {', '.join(known)}. Received: {', '.join(sorted(unknown))}."
        )
    chosen = {title: known[title] for title in sections.split(",")}
    found: list[dict[str, Any]] = []
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as forgotten:
        folder = str(answers or forgotten)
        # Those that are kept serve all sections.
        asked = known if answers else chosen
        store_answers([case for cases, _ in asked.values() for case in cases], folder)
        if device is not None:
            cases = [case for cases, _ in chosen.values() for case in cases]
            exact_fit_device.compare(cases, device, rounds, folder)
            return
        for title, (cases, methods) in chosen.items():
            lines += ["", f"| {title} | " + " | ".join(_columns(methods)) + " |"]
            lines += ["| --- |" + " ---: |" * len(_columns(methods))]
            print("\n".join(lines[-3:]))
            for case in cases:
                measured = measure(case, methods, rounds, folder, beside)
                found.append(
                    {"section": title}
                    | asdict(case)
                    | {name: [asdict(m) for m in ms] for name, ms in measured.items()}
                )
                lines.append(_row(case, measured))
                print(lines[-1], flush=True)
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if page is not None:
        write_section(page, lines)
    if plot is not None:
        draw(found, plot)


def write_section(page: Path, lines: Sequence[str]) -> None:
    """Puts lines between the marks of a page."""
    first, last = SECTION
    before, rest = page.read_text("utf-8").split(first)
    _, after = rest.split(last)
    text = "\n".join(lines).strip("\n")
    page.write_text(f"{before}{first}\n{text}\n\n{last}{after}", encoding="utf-8")


def draw(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Seconds against rows, features and classes, on log axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(GROWING), figsize=(12, 3.6), sharey=True)
    for panel, section in zip(panels, GROWING, strict=True):
        rows = [row for row in found if row["section"] == section]
        for method in ("this version", "scikit-learn"):
            times = [[one["seconds"] for one in row[method]] for row in rows if method in row]
            if times:
                sizes = [row[section] for row in rows]
                panel.loglog(sizes, np.median(times, axis=1), "o-", label=method)
                panel.fill_between(sizes, np.min(times, axis=1), np.max(times, axis=1), alpha=0.2)
        panel.set_xlabel(section)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("seconds")
    panels[0].legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def measure(
    case: Case, methods: Sequence[str], rounds: int, folder: str, beside: Path | None
) -> dict[str, list[Measurement]]:
    """Fits of one size, the methods in turn, each in a process of its own."""
    found: dict[str, list[Measurement]] = {method: [] for method in methods}
    for _ in range(1 if case.rows * case.features > ONCE else rounds):
        for method in methods:
            with fresh_process() as process:
                found[method].append(process.submit(timed, case, method, folder, beside).result())
    return found


def timed(case: Case, method: str, folder: str, beside: Path | None = None) -> Measurement:
    """One fit."""
    if method == "earlier":
        _import_from(beside)
    fit = _scikit_learn() if method == "scikit-learn" else _this_library()
    x, y, groups = part_of(case, "train", folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, start_processor = time.perf_counter(), time.process_time()
    kernel, bias, regularization = fit(x, y, groups)
    seconds, processor = time.perf_counter() - start, time.process_time() - start_processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    x, y, _ = part_of(case, "test", folder)
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


# Features, labels and groups -> kernel, bias and C.
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray | None], tuple[np.ndarray, np.ndarray, float]]


def _import_from(checkout: Path | None) -> None:
    """Makes `keras_reprogram` the package of another checkout, in a process that has none yet."""
    if checkout is None or not (checkout / "keras_reprogram").is_dir():
        raise ValueError(
            f"Expected --beside to name a checkout of this library. Received: {checkout}."
        )
    sys.path.insert(0, str(checkout.resolve()))
    import keras_reprogram

    found = Path(keras_reprogram.__file__).resolve().parents[1]
    if found != checkout.resolve():
        raise RuntimeError(f"Expected the package of {checkout.resolve()}. Received: {found}.")


def _this_library() -> Fit:
    from keras_reprogram import fit_logistic_regression

    def fit(
        x: np.ndarray, y: np.ndarray, groups: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, float]:
        found = fit_logistic_regression(x, y, num_classes=int(y.max()) + 1, groups=groups)
        return found.kernel, found.bias, found.regularization

    return fit


def _scikit_learn() -> Fit:
    from sklearn.linear_model import LogisticRegressionCV

    from keras_reprogram.fitting.map_fitting import REGULARIZATIONS
    from keras_reprogram.fitting.validation import split_validation

    def fit(
        x: np.ndarray, y: np.ndarray, groups: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, float]:
        mean = x.mean(axis=0)
        x = x - mean
        scale = np.sqrt(np.mean(np.einsum("ij,ij->i", x, x)))
        parts = split_validation(y, y, VALIDATION_SHARE, 0, groups)
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

    return fit


def _columns(methods: Sequence[str]) -> list[str]:
    columns = ["seconds", "peak memory", "C", "test accuracy", "test loss"]
    for method in methods[1:]:
        columns += [method, "memory", "C", "accuracy", "loss", "ratio"]
    return columns


def _row(case: Case, measured: dict[str, list[Measurement]]) -> str:
    cells = [
        f"{case.source} on {case.target}: {case.rows:,} x {case.features:,}, {case.classes} classes"
    ]
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
