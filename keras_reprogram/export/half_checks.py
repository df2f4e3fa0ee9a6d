"""Written halves, run elsewhere and compared with the parts of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_reprogram.export.litert_agreement import Agreement, run_litert
from keras_reprogram.export.model_answers import ModelAnswers
from keras_reprogram.export.reload_check import check_reloaded, images_for
from keras_reprogram.reprogrammed_model import ReprogrammedModel

_NUM_ROWS = 8


def check_program_half(
    model: ReprogrammedModel, folder: Path, signatures: Sequence[str], file: bytes
) -> float:
    """Compares the source images of both forms with those of the program.

    Args:
        model: whose program was written.
        folder: the SavedModel.
        signatures: its signatures.
        file: the same as a LiteRT file.

    Returns:
        The largest difference, as a share of the largest pixel.

    Raises:
        ValueError: if one of them does not run, or differs by more than rounding.
    """
    inputs, images = images_for(model, signatures)
    expected = ModelAnswers(lambda rows: {"source_images": model.program(rows)}, images)
    found = run_litert(file, images, "image", "source_images")
    return _compare(expected, folder, inputs, "source_images", found)


def check_map_half(model: ReprogrammedModel, folder: Path, file: bytes) -> tuple[float, Agreement]:
    """Compares the probabilities of both forms with those of the output map.

    Args:
        model: whose output map was written.
        folder: the SavedModel.
        file: the same as a LiteRT file.

    Returns:
        The largest difference, and how well the file agrees.

    Raises:
        ValueError: if one of them does not run, or differs by more than rounding.
    """
    rows = _sample_scores(model)
    answers = ModelAnswers(lambda rows: {"scores": model.output_map(rows)}, rows)
    found = run_litert(file, rows, "source_scores", "scores")
    difference = _compare(answers, folder, {"serving_default": rows}, "scores", found)
    expected = answers.expected["scores"]
    same = float(np.mean(found.argmax(axis=1) == expected.argmax(axis=1)))
    return difference, Agreement(len(rows), same, float(np.abs(found - expected).max()))


def _compare(
    expected: ModelAnswers, folder: Path, inputs: Mapping[str, Any], name: str, found: np.ndarray
) -> float:
    converted = expected.compare("LiteRT file", name, found)
    reloaded, _ = check_reloaded(folder, inputs, expected)
    return max(converted, reloaded)


def _sample_scores(model: ReprogrammedModel) -> np.ndarray:
    """Seeded answers as a source could give them, so that none has to be asked."""
    shape = (_NUM_ROWS, model.queries_per_prediction, model.source.num_labels)
    scores = np.random.default_rng(0).normal(0.0, 2.0, shape)
    odds = np.exp(scores)
    if model.source.scores == "probabilities":
        scores = odds / odds.sum(axis=-1, keepdims=True)
    elif model.source.scores == "independent":
        scores = odds / (1 + odds)
    return scores.astype(np.float32)
