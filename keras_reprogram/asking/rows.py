"""Checks of targets that are no images, series and texts, before the first query."""

from __future__ import annotations

from typing import Any

import numpy as np

# Rounding in a user's own preprocessing may step over the range by this share of it.
_SLACK = 1e-3


def check_rows(
    rows: Any,
    target_shape: tuple[int, ...],
    target_range: tuple[float, float] | None,
    *,
    tokens: bool = False,
) -> np.ndarray:
    """Checks targets `(n, *target_shape)`: shape, numbers, NaN, range, and whether tokens exist."""
    wanted = f"Targets must have shape (n, {', '.join(map(str, target_shape))})."
    try:
        rows = np.asarray(rows)
    except ValueError:
        raise ValueError(_of_several_lengths(wanted)) from None
    if rows.dtype.kind in "SU" or (rows.size and isinstance(rows.flat[0], str | bytes)):
        raise ValueError(
            f"{wanted} They must be numbers. Received: {str(rows.flat[0])[:40]!r}. Turn texts into "
            "token numbers: `program.vocabulary.encode(texts)` of a `TextProgram`."
        )
    if rows.dtype == object and rows.ndim == 1:
        raise ValueError(_of_several_lengths(wanted))
    if rows.shape[1:] != target_shape:
        raise ValueError(
            f"{wanted} Received: shape {rows.shape}. Bring all to the length that the program was "
            "built for, add the batch axis of a single one (`row[None]`), or build the program "
            "anew."
        )
    if len(rows) == 0:
        raise ValueError(
            f"{wanted} Received: an empty data set. Check the path or the code that reads it."
        )
    if not np.issubdtype(rows.dtype, np.number):
        raise ValueError(f"{wanted} They must be numbers. Received: dtype {rows.dtype}.")
    _check_finite(rows)
    if tokens and target_range is not None:
        _check_tokens(rows, target_range)
    else:
        _check_bounds(rows, target_range)
    return rows


def _check_finite(rows: np.ndarray) -> None:
    missing = ~np.isfinite(rows)
    if missing.any():
        row, *place = np.argwhere(missing)[0].tolist()
        raise ValueError(
            f"Targets must be finite. Received: {rows[row][tuple(place)]} in row {row}, place "
            f"{tuple(place)}; {int(missing.sum())} such values in all. Fill missing values in "
            "(interpolate), or leave these rows out."
        )


def _check_tokens(rows: np.ndarray, target_range: tuple[float, float]) -> None:
    # A table would read number -1 as its last token, and 2.5 as token 2.
    low, high = target_range
    wrong = (rows < low) | (rows > high) | (rows % 1 != 0)
    if wrong.any():
        row, *place = np.argwhere(wrong)[0].tolist()
        raise ValueError(
            f"Tokens must be whole numbers from {low:g} to {high:g}, those of the vocabulary. "
            f"Received: {rows[row][tuple(place)]:g} in row {row}; {int(wrong.sum())} such numbers "
            "in all. Make rows by `program.vocabulary.encode(texts)`."
        )


def _check_bounds(rows: np.ndarray, target_range: tuple[float, float] | None) -> None:
    if target_range is None:
        return
    low, high = target_range
    slack = _SLACK * (high - low)
    if rows.min() < low - slack or rows.max() > high + slack:
        raise ValueError(
            f"Targets must lie in the program's `target_range` ({low:g}, {high:g}). Received: "
            f"values from {rows.min():g} to {rows.max():g}. Rescale them, build the program with "
            "their actual range, or with `target_range=None` for no check."
        )


def _of_several_lengths(wanted: str) -> str:
    return (
        f"{wanted} Received: rows of different lengths. Cut, fill up or resample them to one "
        "length first."
    )
