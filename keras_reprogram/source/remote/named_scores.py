"""named_scores: one row of scores from the names and scores that a service lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MISSING_WORDS = ("floor", "spread")


def named_scores(
    pairs: Iterable[tuple[str, float]],
    labels: Sequence[str],
    *,
    missing: float | str = 0.0,
    ignore_undeclared: bool = False,
) -> list[float]:
    """One row of scores from names and scores, as services list them: partial, in any order.

    A label that is not listed is below the service's threshold or beyond its top k; it is not 0.

    Args:
        pairs: `(name, score)`; of a name that is listed twice, the higher score.
        labels: the declared names.
        missing: the score of a declared label that is not listed: a number; `"floor"`, the lowest
            score listed; or `"spread"`, an equal part of what the listed ones leave of 1.
        ignore_undeclared: leave names out that are not declared, for services that choose from
            thousands of names. Otherwise such a name is an error: the model was exchanged.

    Returns:
        Scores in the order of `labels`.

    Raises:
        ValueError: for a name that is not declared, or another word.

    Example:
    ```python
    from keras_reprogram.source.remote import named_scores

    assert named_scores([("dog", 0.9)], ["cat", "dog"]) == [0.0, 0.9]
    ```
    """
    found: dict[str, float] = {}
    for name, score in pairs:
        found[name] = max(float(score), found.get(name, float("-inf")))
    if undeclared := sorted(set(found) - set(labels)):
        if not ignore_undeclared:
            raise ValueError(
                f"Expected the labels {', '.join(labels[:8])}. Received: "
                f"{', '.join(undeclared[:8])}. Declare the labels of the model that answers."
            )
        found = {name: score for name, score in found.items() if name not in undeclared}
    rest = _missing_score(found, len(labels), missing)
    return [found.get(label, rest) for label in labels]


def check_missing(missing: float | str, *, unit_range: bool = False) -> float | str:
    """Returns `missing`, or raises a ValueError unless it is a number or one of `MISSING_WORDS`.

    Args:
        missing: a number or a word.
        unit_range: whether a number must lie in [0, 1], as independent scores do.
    """
    if isinstance(missing, str) and missing not in MISSING_WORDS:
        raise ValueError(
            f"`missing` must be a number or one of {MISSING_WORDS}. Received: {missing!r}."
        )
    if unit_range and not isinstance(missing, str) and not 0 <= missing <= 1:
        raise ValueError(
            "`missing` must be from 0 to 1, as independent scores are. Received: "
            f'{missing!r}. Take 0 for "not listed", or "floor".'
        )
    return missing


def _missing_score(found: dict[str, float], num_labels: int, missing: float | str) -> float:
    check_missing(missing)
    if missing == "floor":
        return min(found.values(), default=0.0)
    if missing == "spread":
        left = num_labels - len(found)
        return max(0.0, 1.0 - sum(found.values())) / left if left else 0.0
    return float(missing)
