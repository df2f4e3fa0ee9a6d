"""Drift: whether a service still answers as it did when the ledger's first answers were paid."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import numpy as np

from keras_reprogram.source.query_budget import query_key
from keras_reprogram.source.query_ledger import QueryLedger


class SourceDriftedError(ValueError):
    """A service answers the same image otherwise than before: its model was exchanged."""


def check_drift(
    ledger: QueryLedger,
    fingerprint: str,
    payload: bytes,
    tolerance: float,
    ask: Callable[[list[bytes], list[bytes]], np.ndarray],
) -> None:
    """Asks one fixed image again, a query, and compares with the answer of the first run.

    Args:
        ledger: that keeps the first answer.
        fingerprint: of the source.
        payload: the image, encoded; the same in every run.
        tolerance: largest difference of a score that is no drift.
        ask: `(keys, payloads)` -> scores, through the ledger.

    Raises:
        SourceDriftedError: if the answer moved further.
    """
    first = query_key(fingerprint, "watched image", payload)
    is_new = bool(ledger.missing([first]))
    before = ask([first], [payload])[0]
    if is_new:
        return
    again = query_key(fingerprint, f"watched image, {uuid.uuid4()}", payload)
    now = ask([again], [payload])[0]
    moved = np.abs(now - before)
    if moved.max() > tolerance:
        label = int(moved.argmax())
        raise SourceDriftedError(
            f"A source must answer an image as it did before, within {tolerance:g}. Received: "
            f"score {label} is {now[label]:.4g} and was {before[label]:.4g} when the ledger "
            f"{ledger.path} began. The model was exchanged: start a new ledger, or name the old "
            "version of the model."
        )


def watched_image(
    source_shape: tuple[int, int, int], value_range: tuple[float, float]
) -> np.ndarray:
    """The image that is asked in every run: smooth waves, so that JPEG and resizing keep it.

    Args:
        source_shape: `(H, W, C)`.
        value_range: `(low, high)`.

    Returns:
        float32 `(H, W, C)`.
    """
    height, width, channels = source_shape
    low, high = value_range
    rows, columns = (
        np.linspace(0, 3, height)[:, None, None],
        np.linspace(0, 2, width)[None, :, None],
    )
    waves = np.sin(2 * np.pi * (rows + columns + np.arange(channels) / 3))
    return (low + (high - low) * (0.5 + 0.4 * waves)).astype(np.float32)
