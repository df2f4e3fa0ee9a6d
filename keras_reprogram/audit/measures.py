"""Measures that the owner of a source can take, as functions of the scores that it answers."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_reprogram.source.source import SCORE_KINDS

# Kinds of scores whose rows share a normalisation.
_NORMALISED = ("probabilities", "logits")
# float32 probabilities below this are 0 to most services.
_SMALLEST = 1e-30
# What a stranger would declare of a list of the largest scores: about the smallest that is listed.
_STEP_OF_LISTS = 0.02


@dataclass(frozen=True)
class Answers:
    """Scores as a caller sees them.

    Args:
        scores: `(..., S)`.
        score_kind: see `Source`.
        score_step: the distance of neighbouring scores that a caller would declare.
    """

    scores: np.ndarray
    score_kind: str
    score_step: float = 0.0


# Probabilities `(..., S)`, and whether rows sum to 1 -> probabilities that are shown.
Change = Callable[[np.ndarray, bool], np.ndarray]


@dataclass(frozen=True)
class Measure:
    """Something that an owner can do to answers before they leave.

    Args:
        name: in tables.
        change: probabilities `(..., S)` -> what is shown; `None` shows the scores as they are.
        score_step: what a caller would declare as the distance of neighbouring scores.
        keeps_sums: whether rows that summed to 1 still do.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.audit import top_label

    shown = top_label().apply(np.array([[0.2, 0.7, 0.1]]), "probabilities")
    assert shown.scores.tolist() == [[0.0, 1.0, 0.0]]
    ```
    """

    name: str
    change: Change | None = None
    score_step: float = 0.0
    keeps_sums: bool = False

    def apply(self, scores: np.ndarray, score_kind: str, score_step: float = 0.0) -> Answers:
        """What a caller sees.

        Args:
            scores: `(..., S)` of the source.
            score_kind: of the source; logits are shown as probabilities.
            score_step: of the source.

        Returns:
            `Answers` of the same shape; scores that need no longer sum to 1 are independent.
        """
        if self.change is None:
            return Answers(scores, score_kind, score_step)
        normalised = score_kind in _NORMALISED and scores.shape[-1] > 1
        shown = self.change(as_probabilities(scores, score_kind), normalised)
        kind = "probabilities" if normalised and self.keeps_sums else "independent"
        return Answers(shown.astype(np.float32), kind, max(self.score_step, score_step))


def as_probabilities(scores: np.ndarray, score_kind: str) -> np.ndarray:
    """Scores `(..., S)` of any kind as float64 probabilities.

    Raises:
        ValueError: for features, which are no scores.
    """
    scores = np.asarray(scores, np.float64)
    if score_kind == "logits":
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    if score_kind == "independent_logits":
        return 1 / (1 + np.exp(-scores))
    if score_kind not in SCORE_KINDS or score_kind == "features":
        raise ValueError(
            f"Measures are for scores. Received: score_kind={score_kind!r}. Pass a source of "
            "probabilities or logits."
        )
    return np.clip(scores, 0.0, 1.0)


AS_IT_IS = Measure("as it is")
"""No measure."""


def top_label() -> Measure:
    """Only which label is the largest.

    Example:
    ```python
    from keras_reprogram.audit import top_label

    assert top_label().name == "top label only"
    ```
    """

    def change(scores: np.ndarray, normalised: bool) -> np.ndarray:
        del normalised
        if scores.shape[-1] == 1:
            return (scores > 0.5).astype(float)
        return np.eye(scores.shape[-1])[scores.argmax(axis=-1)]

    return Measure("top label only", change)


def top_scores(count: int) -> Measure:
    """Only the largest scores, the others 0.

    Args:
        count: how many, at least 1.

    Raises:
        ValueError: for a count below 1, or one that is no whole number.

    Example:
    ```python
    from keras_reprogram.audit import top_scores

    assert top_scores(5).name == "top 5 only"
    ```
    """
    if count != int(count) or count < 1:
        raise ValueError(f"`count` must be a whole number of at least 1. Received: {count}.")
    count = int(count)

    def change(scores: np.ndarray, normalised: bool) -> np.ndarray:
        del normalised
        if count >= scores.shape[-1]:
            return scores
        smallest = np.sort(scores, axis=-1)[..., -count][..., None]
        return np.where(scores >= smallest, scores, 0.0)

    return Measure(f"top {count} only", change, _STEP_OF_LISTS)


def rounded(step: float) -> Measure:
    """Scores rounded to multiples of a step.

    Args:
        step: above 0 and at most 1.

    Raises:
        ValueError: for another step.

    Example:
    ```python
    from keras_reprogram.audit import rounded

    assert rounded(0.1).name == "rounded to 0.1"
    ```
    """
    _check("step", step, 1.0)
    return Measure(f"rounded to {step:.3g}", lambda scores, _: np.round(scores / step) * step, step)


def noisy(deviation: float) -> Measure:
    """Gaussian noise on every score, another one for every answer; negative scores become 0.

    The noise is drawn from the answer itself: asking again brings the same answer, so that it
    cannot be averaged out by repetition.

    Args:
        deviation: standard deviation, above 0 and at most 1.

    Raises:
        ValueError: for another deviation.

    Example:
    ```python
    from keras_reprogram.audit import noisy

    assert noisy(0.01).name == "noise of 0.01"
    ```
    """
    _check("deviation", deviation, 1.0)

    def change(scores: np.ndarray, normalised: bool) -> np.ndarray:
        del normalised
        rows = np.reshape(scores, (-1, scores.shape[-1]))
        noise = [_drawn_from(row).normal(0.0, deviation, row.shape) for row in rows]
        return np.clip(scores + np.reshape(noise, scores.shape), 0.0, 1.0)

    return Measure(f"noise of {deviation:.3g}", change, 2 * deviation)


def _drawn_from(row: np.ndarray) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(row, np.float32).tobytes()))


def tempered(temperature: float) -> Measure:
    """Scores of another temperature: above 1 they are more even, below 1 more certain.

    Args:
        temperature: above 0.

    Raises:
        ValueError: for another temperature.

    Example:
    ```python
    from keras_reprogram.audit import tempered

    assert tempered(4).name == "temperature 4"
    ```
    """
    _check("temperature", temperature, math.inf)

    def change(scores: np.ndarray, normalised: bool) -> np.ndarray:
        powers = np.maximum(scores, _SMALLEST) ** (1.0 / temperature)
        if normalised:
            return powers / powers.sum(axis=-1, keepdims=True)
        rest = np.maximum(1.0 - scores, _SMALLEST) ** (1.0 / temperature)
        return powers / (powers + rest)

    return Measure(f"temperature {temperature:.3g}", change, keeps_sums=True)


def _check(name: str, value: float, most: float) -> None:
    if not 0 < value <= most or not math.isfinite(value):
        bound = "" if math.isinf(most) else f" and at most {most:g}"
        raise ValueError(f"`{name}` must be above 0{bound}. Received: {value}.")


# Name on the command line -> what makes it; the first takes no number.
MEASURES: dict[str, Callable[..., Measure]] = {
    "top-label": top_label,
    "top-scores": top_scores,
    "rounded": rounded,
    "noise": noisy,
    "temperature": tempered,
}
DEFAULT_MEASURES = (
    *("top-label", "top-scores=5", "rounded=0.01", "rounded=0.1"),
    *("noise=0.01", "noise=0.1", "temperature=4", "temperature=0.25"),
)


def read_measure(text: str) -> Measure:
    """A measure by its name: `top-label`, `top-scores=5`, `rounded=0.01`, `noise=0.1` ...

    Args:
        text: `NAME`, or `NAME=NUMBER`.

    Returns:
        A `Measure`.

    Raises:
        ValueError: for an unknown name, and for a number that is missing or out of range.

    Example:
    ```python
    from keras_reprogram.audit import read_measure

    assert read_measure("rounded=0.01").name == "rounded to 0.01"
    ```
    """
    name, given, number = text.partition("=")
    made = MEASURES.get(name.strip())
    takes_number = made is not top_label
    try:
        if made is None or bool(given) != takes_number:
            raise ValueError("It has another form.")
        return made(float(number)) if takes_number else made()
    except ValueError as error:
        raise ValueError(
            "A measure must be one of top-label, top-scores=5, rounded=0.01, noise=0.01 and "
            f"temperature=4, with a number of your own. Received: {text!r}. {error}"
        ) from None


def measures_for(num_labels: int) -> list[Measure]:
    """The measures that an audit tries by itself; a list of all scores is none."""
    names = [n for n in DEFAULT_MEASURES if num_labels > 5 or not n.startswith("top-scores")]
    return [read_measure(name) for name in names]
