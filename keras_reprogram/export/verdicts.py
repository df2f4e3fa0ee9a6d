"""Verdict: what a model says beside its scores, sets of a calibrated one, or findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_reprogram.asking.prediction_sets import checked_calibration
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel


class VerdictNames(NamedTuple):
    """Signatures that give a verdict: of images, of image files, of answers of the source."""

    of_images: str
    of_files: str
    of_scores: str


SETS = VerdictNames("sets", "sets_of_files", "sets_of_scores")
FINDINGS = VerdictNames("findings", "findings_of_files", "findings_of_scores")
ALL_NAMES = (SETS, FINDINGS)
OF_FILES = tuple(names.of_files for names in ALL_NAMES)
OF_SCORES = tuple(names.of_scores for names in ALL_NAMES)


class Verdict(NamedTuple):
    """What a model says beside its scores.

    Args:
        names: of its signatures.
        outputs: what it gives beside `classes` and `scores`.
        judge: `(source scores, scores)` -> the outputs, in Python and traced alike.
        margins: `(scores, outputs)` as arrays -> how far each flag is from turning.
    """

    names: VerdictNames
    outputs: tuple[str, ...]
    judge: Callable[[Any, Any], dict[str, Any]]
    margins: Callable[[np.ndarray, Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def verdict_of(model: ReprogrammedModel) -> Verdict | None:
    """The verdict of a model of several findings, or of a calibrated one; `None` without.

    Raises:
        ValueError: for a calibration of other weights than the model's.
    """
    output_map = model.output_map
    if output_map.multi_label:
        thresholds = keras.ops.convert_to_numpy(output_map.thresholds)
        return Verdict(
            FINDINGS,
            ("findings",),
            lambda answers, scores: {"findings": output_map.findings(scores)},
            lambda scores, found: {"findings": np.abs(scores - thresholds)},
        )
    if model.calibration is None:
        return None
    rule = checked_calibration(model).rule()
    return Verdict(
        SETS,
        ("probabilities", "set", "distance", "foreign", "accepted"),
        rule,
        lambda scores, found: rule.margins(scores, found["distance"]),
    )
