"""keras_reprogram.json: what an export says of itself, beside the graph."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.export.encoded_images import RESIZE_METHOD
from keras_reprogram.program.target_range import target_range_of
from keras_reprogram.reprogrammed_model import ReprogrammedModel
from keras_reprogram.source.source import Source
from keras_reprogram.version import __version__

FACTS_FILE = "assets.extra/keras_reprogram.json"


def scored_classes(model: ReprogrammedModel) -> tuple[str, ...]:
    """A name for each score: the model's class names, else `"0"`, `"1"`, ...

    Args:
        model: the model to export.

    Returns:
        The names.

    Raises:
        ValueError: for a name that is not one line of a file of labels.
    """
    numbers = range(model.output_map.num_classes)
    names = tuple(str(name) for name in model.class_names or numbers)
    if wrong := [name for name in names if not name or len(name.splitlines()) != 1]:
        raise ValueError(
            "Each class name must be one line, as it stands in labels.txt. "
            f"Received: {wrong[0]!r}. Rename the class in `class_names`."
        )
    return names


def plain_metrics(metrics: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Metrics as JSON holds them.

    Args:
        metrics: names and values; NumPy's numbers and arrays may be among them.

    Returns:
        The same of plain values.

    Raises:
        ValueError: for anything else.
    """
    if metrics is None:
        return None
    try:
        return json.loads(json.dumps(dict(metrics), default=_plain, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`metrics` must be a dictionary of finite numbers, texts and lists of them. "
            f"Received: {error}. Leave out what is not."
        ) from error


def write_facts(
    folder: Path,
    model: ReprogrammedModel,
    source: Source,
    class_names: Sequence[str],
    signatures: Sequence[str],
    metrics: Mapping[str, Any] | None,
    half: str | None = None,
) -> None:
    """Writes keras_reprogram.json.

    Args:
        folder: the version folder.
        model: what was exported.
        source: what was embedded.
        class_names: a name for each score.
        signatures: those written.
        metrics: what `plain_metrics` returned.
        half: `"program"` or `"output_map"` where the folder holds that alone.
    """
    facts = {
        "format": 1,
        "half": half,
        "versions": {
            "keras_reprogram": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        "source": _facts_of(model.source),
        "embedded_twin": _facts_of(source) if source is not model.source else None,
        "target_shape": list(model.input_shape[1:]),
        "target_range": target_range_of(model.program),
        "num_views": model.queries_per_prediction,
        "program": type(model.program).__name__,
        "output_map": type(model.output_map).__name__,
        "class_names": list(class_names),
        "signatures": list(signatures),
        "resize_of_files": RESIZE_METHOD if "image_bytes" in signatures else None,
        "metrics": metrics,
    }
    file = folder / FACTS_FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _facts_of(source: Source) -> dict[str, Any]:
    labels = list(source.labels) if source.labels is not None else None
    return {"fingerprint": source.fingerprint, **source.describe(), "labels": labels}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{value!r}")
