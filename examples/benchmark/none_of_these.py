"""What calibration is worth: coverage, set sizes, accuracy against share answered, foreign images.

MobileNet 0.25 128 shows its logits, so that the energy of Liu et al. 2020 can be measured beside
the nearest answers that `calibrate` takes, and beside the largest calibrated probability. Nothing
is chosen on the test images. Each run draws images by its seed, fits the map on some, calibrates on
others and looks at the test images and at foreign images once. Rows that are in the file are not
done again:

    python examples/benchmark/none_of_these.py
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import keras
import numpy as np
import typer
from csv_rows import read_rows
from resumable import do_missing, names_by_commas
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from keras_reprogram import DenseMap, FrozenSource, PredictionSets, ProgramLayer, ReprogrammedModel
from keras_reprogram.datasets import TargetData, load_target
from keras_reprogram.fitting.validation import split_validation

FOLDER = Path(__file__).parent
# Target -> data set of foreign images.
PAIRS = {"mnist": "cifar10", "ham10000": "gtsrb", "digits": "cifar10", "cifar10": "mnist"}
FIT, CALIBRATE, TEST, FOREIGN = 600, 400, 500, 500
COVERAGES = (0.8, 0.9, 0.95)
SHARES = (1.0, 0.9, 0.75, 0.5)
BATCH_SIZE = 64
# Luminance of red, green and blue.
GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Row:
    """One target and one seed.

    Attributes:
        target: name of the target.
        foreign: data set of the foreign images.
        seed: draws all images.
        n_fit: images that the map was fitted on.
        n_calibrate: images that were calibrated on.
        n_groups: groups of these, as many as images without groups.
        n_test: test images.
        n_alike: further images of the training part, drawn as the calibrating ones were; the test
            part of a data set need not be.
        alike_90: share of these whose class is in the set, asked for .9.
        temperature: that was found.
        loss: cross-entropy of the map's probabilities on the test images.
        loss_tempered: of the calibrated ones.
        coverage_80: share of test images whose class is in the set, asked for .8.
        size_80: classes a set.
        coverage_90: the same for .9.
        size_90: the same for .9.
        coverage_95: the same for .95.
        size_95: the same for .95.
        worst_class_90: the lowest share of a class with at least 20 test images, on average sets.
        worst_class_90_class_wise: the same of class-wise sets; empty where a class has too few
            calibrating images for them.
        accepted_90: share of test images that are accepted.
        accuracy_accepted_90: accuracy on these.
        accuracy_100: on all test images.
        accuracy_90: on the nine tenths with the largest calibrated probability.
        accuracy_75: on three quarters.
        accuracy_50: on half of them.
        auroc_nearest: test against foreign images, by the distance of `calibrate`.
        auroc_energy: by the energy of the source's logits.
        auroc_probability: by the largest calibrated probability.
        own_called_foreign: share of test images, asked for .05.
        foreign_called_foreign: share of foreign images.
        foreign_accepted: share of foreign images that are accepted.
        seconds: of the run.
    """

    target: str
    foreign: str
    seed: int
    n_fit: int
    n_calibrate: int
    n_groups: int
    n_test: int
    n_alike: int
    alike_90: float
    temperature: float
    loss: float
    loss_tempered: float
    coverage_80: float
    size_80: float
    coverage_90: float
    size_90: float
    coverage_95: float
    size_95: float
    worst_class_90: float
    worst_class_90_class_wise: float | None
    accepted_90: float
    accuracy_accepted_90: float
    accuracy_100: float
    accuracy_90: float
    accuracy_75: float
    accuracy_50: float
    auroc_nearest: float
    auroc_energy: float
    auroc_probability: float
    own_called_foreign: float
    foreign_called_foreign: float
    foreign_accepted: float
    seconds: float

    @property
    def key(self) -> tuple[str, int]:
        """What tells one run from another."""
        return self.target, self.seed

    @property
    def line(self) -> str:
        """What is shown when the run is done."""
        return (
            f"{self.target:9} seed {self.seed}  coverage .9: {self.coverage_90:.3f}, "
            f"{self.size_90:.2f} classes  AUROC nearest {self.auroc_nearest:.3f}, energy "
            f"{self.auroc_energy:.3f}, probability {self.auroc_probability:.3f}"
        )


class Images(NamedTuple):
    """Images `(n, h, w, c)`, labels `(n,)`, and groups `(n,)` or `None`."""

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> Images:
        """The given rows."""
        groups = None if self.groups is None else self.groups[rows]
        return Images(self.images[rows], self.labels[rows], groups)


def draw(
    target: TargetData, seed: int, fit: int, calibrate: int, alike: int
) -> tuple[Images, Images, Images]:
    """Images to fit on, to calibrate on, and like these, of different groups."""
    every = Images(target.train_images, target.train_labels, target.train_groups)
    rows = np.random.default_rng(seed).permutation(len(every.labels))
    some, rest = every.take(rows[: fit + calibrate]), every.take(rows[fit + calibrate :])
    if some.groups is not None:
        rest = rest.take(np.flatnonzero(~np.isin(rest.groups, some.groups)))
    share = calibrate / (fit + calibrate)
    kept, held = split_validation(some.images, some.labels, share, seed, some.groups)
    return some.take(kept), some.take(held), rest.take(np.arange(min(alike, len(rest.labels))))


def foreign_images(name: str, like: TargetData, count: int, seed: int) -> np.ndarray:
    """Test images of another data set, in the target's size, channels and range."""
    other = load_target(name)
    rows = np.random.default_rng(seed).permutation(len(other.test_labels))[:count]
    low, high = other.target_range
    images = (other.test_images[rows].astype(np.float32) - low) / (high - low)
    height, width, channels = like.target_shape
    resized = keras.ops.image.resize(images, (height, width), antialias=True)
    images = np.clip(keras.ops.convert_to_numpy(resized), 0, 1)
    if channels == 1 and images.shape[-1] == 3:
        images = (images @ GREY)[..., None]
    images = np.repeat(images, channels // images.shape[-1], axis=-1)
    low, high = like.target_range
    return images * (high - low) + low


def run(target_name: str, seed: int, scale: float) -> Row:
    """Fits, calibrates and measures."""
    started = time.perf_counter()
    counts = [max(60, int(scale * n)) for n in (FIT, CALIBRATE, TEST, FOREIGN)]
    target = load_target(target_name)
    fitted, held, alike = draw(target, seed, *counts[:3])
    rows = np.random.default_rng(seed).permutation(len(target.test_labels))[: counts[2]]
    test = Images(target.test_images[rows], target.test_labels[rows])
    foreign = foreign_images(PAIRS[target_name], target, counts[3], seed)
    source = FrozenSource.from_application(
        "MobileNet",
        score_kind="logits",
        alpha=0.25,
        input_shape=(128, 128, 3),
        classifier_activation=None,
        max_batch=BATCH_SIZE,
    )
    program = ProgramLayer(
        target.target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=target.target_range,
        placement="full",
    )
    model = ReprogrammedModel(program, source, DenseMap(len(target.class_names)), seed=seed)
    model.fit_output_map(fitted.images, fitted.labels, groups=fitted.groups, verbose=0)
    calibration = model.calibrate(held.images, held.labels, groups=held.groups, verbose=0)
    own_scores, foreign_scores = (
        model.collect_scores(images, verbose=0) for images in (test.images, foreign)
    )
    sets = model.predict_sets(alike.images, verbose=0).sets
    own, others = (model.predict_sets(scores=s) for s in (own_scores, foreign_scores))
    return Row(
        target_name,
        PAIRS[target_name],
        seed,
        len(fitted.labels),
        len(held.labels),
        calibration.num_groups,
        len(test.labels),
        len(alike.labels),
        float(sets[np.arange(len(sets)), alike.labels].mean()),
        calibration.temperature,
        *(
            cross_entropy(p, test.labels)
            for p in (_map_scores(model, own_scores), own.probabilities)
        ),
        *of_sets(model, own_scores, test.labels),
        *of_classes(model, own_scores, test.labels),
        float(own.accepted.mean()),
        float(np.mean(own.classes[own.accepted] == test.labels[own.accepted])),
        *(accuracy_of_share(own, test.labels, share) for share in SHARES),
        auroc(own.distances, others.distances),
        auroc(*(-logsumexp(scores[:, 0], axis=1) for scores in (own_scores, foreign_scores))),
        auroc(*(-found.probabilities.max(axis=1) for found in (own, others))),
        float(own.foreign.mean()),
        float(others.foreign.mean()),
        float(others.accepted.mean()),
        time.perf_counter() - started,
    )


def of_sets(model: ReprogrammedModel, scores: np.ndarray, labels: np.ndarray) -> list[float]:
    """Coverage and mean size of sets for each coverage asked."""
    figures = []
    for coverage in COVERAGES:
        sets = model.predict_sets(scores=scores, coverage=coverage).sets
        figures += [float(sets[np.arange(len(labels)), labels].mean()), float(sets.sum(1).mean())]
    return figures


def of_classes(
    model: ReprogrammedModel, scores: np.ndarray, labels: np.ndarray
) -> list[float | None]:
    """The lowest coverage of a class at .9, of sets on average and of class-wise sets."""
    figures: list[float | None] = []
    for class_wise in (False, True):
        try:
            found = model.predict_sets(scores=scores, coverage=0.9, class_wise=class_wise)
        except ValueError:
            # A class with fewer than nine calibrating images.
            figures.append(None)
            continue
        held = found.sets[np.arange(len(labels)), labels]
        common = [k for k in np.unique(labels) if np.sum(labels == k) >= 20]
        figures.append(float(min(held[labels == k].mean() for k in common)))
    return figures


def accuracy_of_share(found: PredictionSets, labels: np.ndarray, share: float) -> float:
    """Accuracy on the share of images with the largest calibrated probability."""
    order = np.argsort(-found.probabilities.max(axis=1), kind="stable")
    rows = order[: max(1, round(share * len(labels)))]
    return float(np.mean(found.classes[rows] == labels[rows]))


def auroc(own: np.ndarray, foreign: np.ndarray) -> float:
    """Probability that a foreign image has the larger number."""
    truth = np.r_[np.zeros(len(own)), np.ones(len(foreign))]
    return float(roc_auc_score(truth, np.r_[own, foreign]))


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """In nats."""
    own = probabilities[np.arange(len(labels)), labels].astype(float)
    return float(-np.log(np.maximum(own, 1e-30)).mean())


def _map_scores(model: ReprogrammedModel, scores: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model.output_map(scores))


# === Tables ===


def markdown(rows: list[Row]) -> str:
    """Three tables: mean over seeds, and the range of coverages."""
    lines = [
        "# None of these: what calibration is worth",
        "",
        "Written by `python examples/benchmark/none_of_these.py`. Means over seeds; see Row in the "
        "script for every column of the CSV file.",
        "",
        "Sets. Coverage is promised for images that are drawn as the calibrating ones were, which "
        "are in the column `alike`; z is its distance from .9 in standard errors of these and of "
        "the calibrating images. The other columns are of the data sets' test parts.",
        "",
        "| target | seeds | alike .9 | z | test accuracy | loss, tempered | coverage .8 | .9 | "
        ".95 | size .8 | .9 | .95 | worst class .9 | class-wise |",
        "| --- |" + " ---: |" * 13,
    ]
    groups = {target: [row for row in rows if row.target == target] for target in PAIRS}
    groups = {target: some for target, some in groups.items() if some}
    for target, some in groups.items():
        worst = [r.worst_class_90_class_wise for r in some]
        cells = [
            _mean(some, "alike_90"),
            f"{z_of(some):+.1f}",
            _mean(some, "accuracy_100"),
            f"{_mean(some, 'loss')}, {_mean(some, 'loss_tempered')}",
            *(_mean(some, f"coverage_{c}") for c in (80, 90, 95)),
            *(_mean(some, f"size_{c}", 2) for c in (80, 90, 95)),
            _mean(some, "worst_class_90"),
            "n/a" if None in worst else _mean(some, "worst_class_90_class_wise"),
        ]
        lines.append(f"| {target} | {len(some)} | {' | '.join(cells)} |")
    lines += [
        "",
        "Accuracy against share answered: the images with the largest calibrated probability, and "
        "those that are accepted (one class at .9, not foreign).",
        "",
        "| target | all | .9 | .75 | .5 | share accepted | accuracy accepted |",
        "| --- |" + " ---: |" * 6,
    ]
    names = [f"accuracy_{share}" for share in (100, 90, 75, 50)]
    for target, some in groups.items():
        cells = [_mean(some, n) for n in (*names, "accepted_90", "accuracy_accepted_90")]
        lines.append(f"| {target} | {' | '.join(cells)} |")
    lines += [
        "",
        "Foreign images: AUROC against test images, and shares called foreign where .05 of own "
        "images may be.",
        "",
        "| target | foreign images | nearest answers | energy | largest probability | own called "
        "foreign | foreign called foreign | foreign accepted |",
        "| --- | --- |" + " ---: |" * 6,
    ]
    names = ["auroc_nearest", "auroc_energy", "auroc_probability", "own_called_foreign"]
    names += ["foreign_called_foreign", "foreign_accepted"]
    for target, some in groups.items():
        lines.append(
            f"| {target} | {some[0].foreign} | {' | '.join(_mean(some, n) for n in names)} |"
        )
    return "\n".join(lines) + "\n"


def z_of(rows: list[Row]) -> float:
    """Distance of the mean coverage from .9 in its standard errors."""
    variance = sum(0.09 * (1 / row.n_alike + 1 / (row.n_groups + 2)) for row in rows)
    return (np.mean([row.alike_90 for row in rows]) - 0.9) * len(rows) / np.sqrt(variance)


def _mean(rows: list[Row], name: str, digits: int = 3) -> str:
    return f"{np.mean([getattr(row, name) for row in rows]):.{digits}f}"


def main(
    targets: Annotated[str, typer.Option(help="Targets by commas. [default: all]")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds by commas.")] = "0,1,2",
    scale: Annotated[float, typer.Option(help="Of the numbers of images; .2 for a trial.")] = 1.0,
    minutes: Annotated[float | None, typer.Option(help="Start no run that would not end.")] = None,
    output: Annotated[Path, typer.Option(help="CSV; the tables go beside it.")] = FOLDER
    / "none_of_these.csv",
) -> None:
    """Measures what is missing, and writes the tables."""
    wanted = names_by_commas(targets, PAIRS, "--targets")
    numbers = [int(seed) for seed in names_by_commas(seeds, None, "--seeds")]
    runs = [(target, seed) for seed in numbers for target in wanted]

    def expected(rows: list[Row], one: tuple[str, int]) -> float:
        return max((row.seconds for row in rows), default=60.0)

    do_missing(
        runs,
        output,
        minutes,
        key=lambda one: one,
        execute=lambda one: run(*one, scale),
        expected_seconds=expected,
        kind=Row,
    )
    output.with_suffix(".md").write_text(markdown(read_rows(output, Row)))


if __name__ == "__main__":
    typer.run(main)
