"""What an answer of a source must look like. A source may lie: look before learning from it."""

from __future__ import annotations

from typing import Any

import numpy as np

# Float softmax outputs sum to 1 within rounding; this is generous.
_FLOAT_TOLERANCE = 1e-3
# Noise or rounding takes independent scores so far beyond [0, 1]; logits, percentages go further.
_UNIT_SLACK = 0.1


def resolve_score_kind(
    scores: str | None, num_labels: int, sum_tolerance: float | str | None
) -> str:
    """What the scores of one answer are to each other.

    Args:
        scores: a declared kind, or `None`: probabilities, unless they need not sum to 1.
        num_labels: scores a row. A single one has no others to share a normalisation with.
        sum_tolerance: as declared; `None` says that rows need not sum to 1.

    Returns:
        A kind, see `Source`.
    """
    alone = num_labels == 1
    if scores in (None, "probabilities"):
        return "independent" if alone or sum_tolerance is None else "probabilities"
    return "independent_logits" if alone and scores == "logits" else str(scores)


def resolve_sum_tolerance(
    sum_tolerance: float | str | None, scores: str, num_labels: int, score_step: float
) -> float | None:
    """How far a row of scores may sum from 1: rounding, or `None` where the sum means nothing.

    Args:
        sum_tolerance: a number or `None`, which are kept; or `"auto"`: each of `num_labels`
            scores in steps of `score_step` may be off by half a step.
        scores: `"probabilities"` or another kind, whose sum is not looked at.
        num_labels: scores a row.
        score_step: distance of neighbouring scores, 0 for floats.

    Returns:
        The tolerance, or `None` for no check.

    Raises:
        ValueError: for another word than `"auto"`, or a negative number.
    """
    if sum_tolerance == "auto":
        if scores != "probabilities":
            return None
        return _FLOAT_TOLERANCE + num_labels * score_step / 2
    if isinstance(sum_tolerance, str) or (sum_tolerance is not None and not sum_tolerance >= 0):
        raise ValueError(
            "`sum_tolerance` must be a number of at least 0, 'auto', or None for no check. "
            f"Received: sum_tolerance={sum_tolerance!r}."
        )
    return sum_tolerance


def check_answer(
    answer: Any,
    num_images: int,
    num_labels: int,
    sum_tolerance: float | None,
    who: str,
    kind: str = "probabilities",
) -> np.ndarray:
    """Checks one answer of a source.

    Args:
        answer: what came back, an array or nested lists.
        num_images: images that were sent.
        num_labels: scores expected for each.
        sum_tolerance: largest distance of a row's sum from 1, or `None`.
        who: the source's name, for the message.
        kind: what the scores are; independent ones must lie in [0, 1].

    Returns:
        float32 array `(num_images, num_labels)`.

    Raises:
        ValueError: for a wrong shape, values that are not finite, rows that do not sum to 1, or
            independent scores beyond [0, 1].
    """
    try:
        answer = np.asarray(answer)
    except ValueError as error:
        raise ValueError(
            f"{who} must answer with one row of {num_labels} scores an image. "
            f"Received: rows of different lengths ({error})."
        ) from error
    if answer.dtype == object or not np.issubdtype(answer.dtype, np.number):
        raise ValueError(f"{who} must answer with numbers. Received: dtype {answer.dtype}.")
    answer = answer.astype(np.float32)
    if answer.shape != (num_images, num_labels):
        raise ValueError(
            f"{who} must answer {num_images} images with scores of shape "
            f"{(num_images, num_labels)}. Received: shape {answer.shape}. Check `num_labels`, "
            "and that there is one row an image, in order."
        )
    if not np.isfinite(answer).all():
        row = int(np.argwhere(~np.isfinite(answer))[0][0])
        raise ValueError(
            f"{who} answered with NaN or infinity. Received: image {row}, scores "
            f"{answer[row, :8]}. Check the value range that it expects and its own logs."
        )
    if sum_tolerance is not None:
        _check_sums(answer, sum_tolerance, who)
    if kind == "independent":
        _check_unit_range(answer, who)
    return answer


def _check_sums(answer: np.ndarray, sum_tolerance: float, who: str) -> None:
    sums = answer.sum(axis=1, dtype=np.float64)
    worst = int(np.abs(sums - 1.0).argmax())
    if abs(sums[worst] - 1.0) > sum_tolerance or answer.min() < -sum_tolerance:
        raise ValueError(
            f"{who} declares probabilities, whose rows sum to 1 within {sum_tolerance:.4g}. "
            f"Received: a row that sums to {sums[worst]:.6g}, smallest score "
            f'{answer.min():.4g}. Pass `scores="logits"` (--scores logits) if these are logits, '
            '`scores="independent"` (--scores independent) if each score stands for itself '
            "(sigmoids, several findings, partial lists), or `score_step=` (--score-step, of a "
            "SavedModel) if scores are rounded; `sum_tolerance=` (--sum-tolerance) allows other "
            "sums."
        )


def _check_unit_range(answer: np.ndarray, who: str) -> None:
    low, high = (float(value) for value in (answer.min(initial=0.0), answer.max(initial=1.0)))
    if low < -_UNIT_SLACK or high > 1 + _UNIT_SLACK:
        raise ValueError(
            f"{who} declares independent scores, each from 0 to 1. Received: scores from {low:.4g} "
            f'to {high:.4g}. Pass `scores="independent_logits"` (--scores independent_logits) if '
            "these are logits, or divide percentages by 100."
        )
