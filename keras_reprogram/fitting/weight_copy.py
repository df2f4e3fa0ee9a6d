"""WeightCopy: a copy of variables' values that can be restored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops


class WeightCopy:
    """A copy of the current values of variables."""

    def __init__(self, variables: Iterable[Any]) -> None:
        self._variables = list(variables)
        # NumPy may share the variable's memory.
        self.values = [np.array(ops.convert_to_numpy(variable)) for variable in self._variables]

    def restore(self) -> None:
        """Restores these values."""
        for variable, value in zip(self._variables, self.values, strict=True):
            variable.assign(value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WeightCopy) or len(self.values) != len(other.values):
            return False
        return all(map(np.array_equal, self.values, other.values))

    __hash__ = None  # type: ignore[assignment]


def trained_variables(model: Any) -> list[Any]:
    """Weights of a model's program and output map: all but the source's."""
    return [*model.program.weights, *model.output_map.weights]


def random_states(layer: keras.layers.Layer) -> list[Any]:
    """What random layers (dropout, augmentation) inside a layer have drawn so far, `(2,)` each."""
    # Keras keeps them among the variables, but not among the weights.
    weights = {id(weight) for weight in layer.weights}
    return [variable for variable in layer.variables if id(variable) not in weights]
