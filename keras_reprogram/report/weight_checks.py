"""Checks a table of weights once, before it is drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def checked_weights(
    weights: Any, source_labels: Sequence[str] | None, class_names: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Gives weights as a float64 table and the names of its rows, or says what is wrong.

    Args:
        weights: `(S, classes)`.
        source_labels: S names, or None to number them.
        class_names: One name a class.

    Returns:
        The table, and one name a source label.

    Raises:
        ValueError: If shapes disagree, or a weight is not finite.

    Example:
        ```python
        from keras_reprogram.report.weight_checks import checked_weights

        table, names = checked_weights([[1, 0], [0, 1]], None, ["zero", "one"])
        assert table.shape == (2, 2) and names == ["label 0", "label 1"]
        ```
    """
    table = np.asarray(weights, dtype="float64")
    labels = table.shape[:1] if source_labels is None else (len(source_labels),)
    if table.size == 0 or table.shape != (*labels, len(class_names)):
        raise ValueError(
            "Expected `weights` of shape (source labels, classes), not empty. Received: shape "
            f"{table.shape} with {labels} source labels and {len(class_names)} class names. "
            "Transpose it if classes come first."
        )
    if not np.isfinite(table).all():
        raise ValueError(
            "Expected finite weights. Received: NaN or infinity in "
            f"{int((~np.isfinite(table)).sum())} places. Check the map that was fitted."
        )
    names = [f"label {i}" for i in range(len(table))] if source_labels is None else source_labels
    return table, [str(name) for name in names]
