"""LinearMap: what maps of an affine last step share: classes, findings, or grades."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.arguments import one_of
from keras_reprogram.output_map.output_map import MULTI_LABEL, SINGLE_LABEL, TARGETS, OutputMap

# A finding counts as found from here on, until a fit knows better.
_EVEN = 0.5


class LinearMap(OutputMap):
    """The last step that `DenseMap` and `NewHead` share: classes, findings, or grades.

    Args:
        num_classes: target classes K, or findings.
        targets: `"single_label"` or `"multi_label"`.
        ordinal: whether the classes are grades.
        name: layer name.
    """

    def __init__(
        self, num_classes: int, *, targets: str = SINGLE_LABEL, ordinal: bool = False, name: str
    ) -> None:
        super().__init__(num_classes, name=name)
        self.targets = one_of("targets", targets, TARGETS)
        self.ordinal = bool(ordinal)
        if ordinal and targets == MULTI_LABEL:
            raise ValueError(
                "Grades are classes of which an image has one. Received: ordinal=True with "
                'targets="multi_label". Leave one of them out.'
            )

    def add_thresholds(self) -> None:
        """Adds the thresholds of findings: weights, so that every file keeps them."""
        if self.multi_label:
            self.thresholds = self.add_weight(
                shape=(self.num_classes,),
                initializer=keras.initializers.Constant(_EVEN),
                trainable=False,
                name="thresholds",
            )

    def probabilities_of(self, logits: Any) -> Any:
        """Softmax, or a sigmoid each."""
        if self.multi_label:
            return keras.activations.sigmoid(logits)
        return keras.activations.softmax(logits)

    def findings(self, probabilities: Any) -> Any:
        """Which findings an image has, bool `(n, K)`, of probabilities `(n, K)`.

        Raises:
            ValueError: for a map that names one class.
        """
        if not self.multi_label:
            raise ValueError(
                "Findings are those of a map of several. Received: a map that names one class. "
                f'Build it with `{type(self).__name__}({self.num_classes}, targets="multi_label")`.'
            )
        return ops.greater_equal(probabilities, self.thresholds)

    def solver_options(self) -> dict[str, Any]:
        """What the solver is told beside features, labels and weights."""
        return {"ordinal": True} if self.ordinal else {}

    def take_thresholds(self, solution: Any) -> None:
        """Takes those that an exact fit chose on held-out images."""
        if self.multi_label and len(getattr(solution, "thresholds", ())):
            self.thresholds.assign(np.asarray(solution.thresholds, np.float32))

    def base_config(self) -> dict[str, Any]:
        # Only what is not the default, which files of earlier versions do not know.
        config = super().base_config()
        config |= {"targets": self.targets} if self.multi_label else {}
        return config | ({"ordinal": True} if self.ordinal else {})
