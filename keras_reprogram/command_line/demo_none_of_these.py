"""The demo's second part: what a calibrated model refuses, and what it answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from keras_reprogram.asking.prediction_sets import PredictionSets
from keras_reprogram.command_line.calibrating import HeldOut
from keras_reprogram.command_line.foreign_pictures import letters, photographs
from keras_reprogram.datasets import TargetData
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.report import TextTable
from keras_reprogram.report.tables import mean_and_spread

COVERAGE, ABSTAIN = 0.95, 0.05
_PHOTOGRAPHS = 200


@dataclass(frozen=True)
class Judged:
    """What one model's sets say of pictures of one kind, as shares in [0, 1].

    Args:
        pictures: their number and kind.
        foreign: called foreign.
        accepted: answered with one class.
        right: of these the right ones; of pictures that are no digits none is.
        covered: whose class is in the set; `None` of pictures without a class.
    """

    pictures: str
    foreign: float
    accepted: float
    right: float
    covered: float | None = None


def foreign_pictures(data: TargetData) -> dict[str, np.ndarray]:
    """Pictures of no class, of the target's size."""
    height, width, _ = data.target_shape
    return {
        "letters": letters(height, width),
        "photographs": photographs(_PHOTOGRAPHS, height, width),
    }


def judge(model: ReprogrammedModel, held: HeldOut, data: TargetData) -> list[Judged]:
    """Calibrates a model, and shows it the test images and the foreign ones."""
    model.calibrate(held.images, held.labels, coverage=COVERAGE, abstain=ABSTAIN, verbose=0)
    found = model.predict_sets(data.test_images, verbose=0)
    right = found.classes == data.test_labels
    covered = found.sets[np.arange(len(found)), data.test_labels]
    own = _judged(f"{len(found)} test {data.name}", found, right, float(covered.mean()))
    others = [
        _judged(f"{len(images)} {name}", model.predict_sets(images, verbose=0))
        for name, images in foreign_pictures(data).items()
    ]
    return [own, *others]


def _judged(
    pictures: str,
    found: PredictionSets,
    right: np.ndarray | None = None,
    covered: float | None = None,
) -> Judged:
    accepted = found.accepted
    of_accepted = 0.0 if right is None or not accepted.any() else float(right[accepted].mean())
    return Judged(
        pictures, float(found.foreign.mean()), float(accepted.mean()), of_accepted, covered
    )


def none_of_these_table(runs: list[list[Judged]]) -> TextTable:
    """One row for each kind of pictures, of the runs with all seeds."""
    heads = ("pictures", "called foreign", "answered", "right of these")
    return TextTable(
        heads,
        [
            (
                kind[0].pictures,
                *(
                    mean_and_spread([getattr(judged, share) for judged in kind])
                    for share in ("foreign", "accepted", "right")
                ),
            )
            for kind in zip(*runs, strict=True)
        ],
    )


def none_of_these_json(runs: list[list[Judged]]) -> list[list[dict[str, Any]]]:
    """The same unrounded, one list a seed."""
    return [[asdict(judged) for judged in run] for run in runs]
