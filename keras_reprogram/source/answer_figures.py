"""AnswerFigures: how a classifier's answers to some images look, without their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SMALLEST = 1e-9


@dataclass(frozen=True)
class AnswerFigures:
    """Figures of answers to images and to slightly changed copies of them.

    Args:
        top: mean of an answer's largest probability.
        entropy: mean entropy of an answer, in bits.
        information: how much an answer tells of which image was shown, in bits: the entropy of the
            mean answer, less the mean entropy of an image's answer, which is averaged over its
            copies. 0 if all images get one answer.
        steadiness: the share that this is of all that moves the answers; the rest are the slight
            changes. Pixels that a network never saw in training throw its answers about.
        agreement: share of copies with the same highest score as their image.
    """

    top: float
    entropy: float
    information: float
    steadiness: float
    agreement: float

    @property
    def merit(self) -> float:
        """How likely it is that the network gets its own pixels, for comparisons."""
        return self.information * self.agreement


def answer_figures(answers: Sequence[np.ndarray], score_kind: str) -> AnswerFigures:
    """Figures of answers `(n, S)` of a kind, those to the images first, then those to copies."""
    rows = np.stack([as_probabilities(one, score_kind) for one in answers])
    images, mean = rows[0], rows.mean(axis=0)
    best = rows.argmax(axis=-1)
    overall = _entropy(mean.mean(axis=0))
    information = float(overall - _entropy(mean).mean())
    return AnswerFigures(
        top=float(images.max(axis=-1).mean()),
        entropy=float(_entropy(images).mean()),
        information=information,
        steadiness=information / max(float(overall - _entropy(rows).mean()), _SMALLEST),
        agreement=float((best[1:] == best[0]).mean()),
    )


def as_probabilities(scores: np.ndarray, score_kind: str) -> np.ndarray:
    """Scores of any kind as rows that sum to 1; a single score gets its opposite beside it."""
    scores = np.asarray(scores, np.float64)
    if score_kind == "logits":
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    if score_kind == "independent_logits":
        scores = 1 / (1 + np.exp(-scores))
    scores = scores.clip(0.0, None)
    if scores.shape[-1] == 1:
        scores = np.concatenate([scores, 1 - scores.clip(None, 1.0)], axis=-1)
    return scores / np.maximum(scores.sum(axis=-1, keepdims=True), _SMALLEST)


def changed_copies(images: np.ndarray) -> list[np.ndarray]:
    """Images `(n, h, w, c)` of 0 to 255 and copies: mirrored, moved a little, a little darker."""
    height, width = images.shape[1:3]
    step = max(1, height // 24)
    moved = np.pad(images, ((0, 0), (step, 0), (step, 0), (0, 0)), mode="edge")
    darker = np.clip(images * np.float32(0.9) + np.float32(8), 0, 255)
    return [images, images[:, :, ::-1], moved[:, :height, :width], darker]


def _entropy(rows: np.ndarray) -> np.ndarray:
    """In bits."""
    return -(rows * np.log2(np.maximum(rows, _SMALLEST))).sum(axis=-1)
