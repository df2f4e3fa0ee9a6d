"""statistics_gap: do pixels look, inside a network, as those that it was trained on?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

_SMALLEST_VARIANCE = 1e-6


def statistics_gap(network: keras.Model, pixels: np.ndarray) -> float | None:
    """How far the first BatchNorm's inputs are from the statistics that training left in it.

    Args:
        network: a functional network.
        pixels: a batch as the network takes it.

    Returns:
        The mean over channels of the Kullback-Leibler divergence in nats, both sides as normal
        distributions: below 1 or so for the right pixels, thousands for 0 to 255 in place of 0 to
        1. `None` for a network without statistics to compare with: no BatchNorm in its own graph,
        or only some that was folded into weights.
    """
    layer = next((one for one in network.layers if _has_statistics(one)), None)
    if layer is None or not getattr(network, "inputs", None):
        return None
    view = keras.Model(network.inputs[0], layer.input)
    entering = ops.convert_to_numpy(view(pixels, training=False)).astype(np.float64)
    channel = layer.axis % entering.ndim
    others = tuple(axis for axis in range(entering.ndim) if axis != channel)
    mean, variance = entering.mean(axis=others), entering.var(axis=others) + _SMALLEST_VARIANCE
    left_mean, left_variance = _statistics(layer)
    ratio = (variance + (mean - left_mean) ** 2) / left_variance
    return float(np.mean(ratio - 1 + np.log(left_variance / variance)) / 2)


def _has_statistics(layer: Any) -> bool:
    if not isinstance(layer, keras.layers.BatchNormalization):
        return False
    mean, variance = _statistics(layer)
    # As it is made, or as it is left where its work was folded into weights.
    return bool(mean.any()) and not np.allclose(variance, variance[0])


def _statistics(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    parts = (layer.moving_mean, layer.moving_variance)
    mean, variance = (ops.convert_to_numpy(part).astype(np.float64) for part in parts)
    return mean, variance + _SMALLEST_VARIANCE
