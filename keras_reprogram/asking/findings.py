"""Which findings images have, and the probabilities from which they count as found."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_reprogram.asking.exact_fit import checked_scores
from keras_reprogram.asking.finding_labels import check_every_finding, check_findings
from keras_reprogram.fitting.findings_fit import best_thresholds

_ROWS = 1024


def predict_findings(
    model: Any, x: Any = None, *, scores: Any = None, batch_size: int = 64, verbose: Any = "auto"
) -> np.ndarray:
    """Which findings images have, by the map's thresholds.

    `predict` gives the probabilities; a finding counts as found from its threshold on.

    Args:
        model: a `ReprogrammedModel` with a map of several findings, `self` of its method.
        x: images `(n, h, w, c)`.
        scores: answers `(n, V, S)` to these images that were paid for; then nothing is asked.
        batch_size: images at once.
        verbose: 0 for silence.

    Returns:
        Bool `(n, K)`.

    Raises:
        ValueError: before any query, for a map that names one class or was never fitted, and for
            images that do not fit.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import (
        DenseMap, LiteRTSource, ProgramLayer, ReprogrammedModel, embedded_path,
    )

    source = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
    program = ProgramLayer((8, 8, 1), source.source_shape, source_range=(0, 255))
    model = ReprogrammedModel(program, source, DenseMap(num_classes=4, targets="multi_label"))
    random = np.random.default_rng(0)
    x, y = random.uniform(0, 255, (60, 8, 8, 1)), random.integers(0, 2, (60, 4))
    model.fit_output_map(x, y, verbose=0)
    assert model.predict_findings(x, verbose=0).shape == (60, 4)
    ```
    """
    probabilities = _probabilities(model, x, scores, batch_size, verbose, "predict_findings")
    return keras.ops.convert_to_numpy(model.output_map.findings(probabilities))


def fit_thresholds(
    model: Any,
    x: Any = None,
    y: Any = None,
    *,
    sample_weight: Any = None,
    scores: Any = None,
    batch_size: int = 64,
    verbose: Any = "auto",
) -> np.ndarray:
    """Chooses each finding's threshold by F1 on held-out images, and keeps it in the map.

    Exact fits do so by themselves; after `fit`, which moves the map, it is up to you.

    Args:
        model: a `ReprogrammedModel` with a map of several findings, `self` of its method.
        x: images `(n, h, w, c)`, each asked once a view. Images that were fitted on in this
            process are refused.
        y: rows `(n, K)` of 0 and 1.
        sample_weight: `(n,)`.
        scores: answers `(n, V, S)` that were paid for; then nothing is asked.
        batch_size: images at once.
        verbose: 0 for silence.

    Returns:
        The thresholds `(K,)`, in [0, 1].

    Raises:
        ValueError: before any query, for a map that names one class or was never fitted, for data
            that do not fit, for images that were fitted on, and for a finding that no image has, or
            every image.

    Example:
    ```python
    from keras_reprogram import ReprogrammedModel

    help(ReprogrammedModel.fit_thresholds)
    ```
    """
    _check_findings(model, "fit_thresholds")
    count = len(model.data_checks.images(x)) if scores is None else len(scores)
    labels = check_findings(y, count, model.output_map.num_classes)
    check_every_finding(labels, model.class_names, "held-out")
    if x is not None:
        model.asker.learned.refuse(model.data_checks.images(x), "Images that choose thresholds")
    weight = model.data_checks.weights(labels, sample_weight, None)
    probabilities = _probabilities(model, x, scores, batch_size, verbose, "fit_thresholds")
    found = best_thresholds(probabilities, labels, weight)
    model.output_map.thresholds.assign(found)
    return found


def check_no_class_weight(model: Any, class_weight: Any) -> None:
    """Refuses Keras's class weights for several findings: it takes the largest label for all."""
    if class_weight is not None and model.output_map.multi_label:
        raise ValueError(
            "Keras's `fit` weighs classes, of which an image has one. Received: `class_weight` "
            "with a map of several findings. Pass it to `fit_output_map` or `fit_opaque`, or weigh "
            "findings in a loss of your own."
        )


def _check_findings(model: Any, what: str) -> None:
    if not model.output_map.multi_label:
        raise ValueError(
            f"`{what}` needs a map of several findings. Received: a "
            f"{type(model.output_map).__name__} that names one class. Build it with "
            '`targets="multi_label"`.'
        )
    if not model.output_map.ready:
        raise ValueError(
            f"The output map must be fitted before `{what}`: call `model.fit_output_map(x, y)`. "
            f"Received: a {type(model.output_map).__name__} without answers."
        )


def _probabilities(
    model: Any, x: Any, scores: Any, batch_size: int, verbose: Any, what: str
) -> np.ndarray:
    _check_findings(model, what)
    if scores is None:
        images = model.data_checks.images(x)
        scores = model.asker.ask(images, batch_size=batch_size, verbose=verbose)[0]
    scores = checked_scores(model, scores)
    parts = (scores[start : start + _ROWS] for start in range(0, len(scores), _ROWS))
    return np.concatenate([keras.ops.convert_to_numpy(model.output_map(some)) for some in parts])
