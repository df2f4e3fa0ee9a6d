"""export_blockers: everything that keeps a model from leaving Python, all at once."""

from __future__ import annotations

from typing import Any

from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source


def export_blockers(model: ReprogrammedModel, source: Source | None = None) -> list[str]:
    """Why a model cannot be exported, empty if it can.

    Args:
        model: the model to export.
        source: an exportable twin to put in the place of `model.source`, or `None`.

    Returns:
        One sentence for each blocker.

    Example:
    ```python
    from keras_reprogram import (
        DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path, export_blockers
    )

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=source.value_range)
    model = ReprogrammedModel(program, source, DenseMap(num_classes=10))
    assert len(export_blockers(model)) == 2
    ```
    """
    embedded = source or model.source
    blockers = []
    if not embedded.exportable:
        blockers.append(
            f"The source is a {type(embedded).__name__}, which runs as Python code and cannot "
            "become part of a graph. If you have the same network as a Keras model or a "
            "SavedModel, pass it as `source=` (--source); otherwise `export_halves` (--format "
            "halves) writes what comes before it and what comes after, for a server that asks it "
            "in between."
        )
    blockers += half_blockers(model)
    given, expected = _twin_facts(embedded), _twin_facts(model.source)
    blockers += [
        f"`source=` differs from the model's source in `{fact}`: {value} instead of "
        f"{expected[fact]}."
        for fact, value in given.items()
        if value != expected[fact]
    ]
    return blockers


def _twin_facts(source: Source) -> dict[str, Any]:
    facts = {name: getattr(source, name) for name in ("source_shape", "value_range", "num_labels")}
    # The map goes on reading scores as it was fitted, whatever is said of how a row is normalised.
    return facts | {"scores": source.fingerprinted_scores}


def half_blockers(model: ReprogrammedModel) -> list[str]:
    """Why a model cannot be exported even without its source, empty if it can.

    Args:
        model: the model to export.

    Returns:
        One sentence for each blocker.
    """
    if model.output_map.ready:
        return []
    return ["The output map was never fitted: call `model.fit_output_map(x, y)`."]


def refuse_blockers(blockers: list[str]) -> None:
    """Raises a ValueError that lists every blocker, if there is one."""
    if blockers:
        listed = "\n".join(f"- {blocker}" for blocker in blockers)
        raise ValueError(f"This model cannot be exported; nothing was written.\n{listed}")
