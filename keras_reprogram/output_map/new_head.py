"""NewHead: softmax, or sigmoids, of an affine map of features."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.output_map.dense_map import FEATURE_STD_FLOOR
from keras_reprogram.output_map.linear_map import LinearMap
from keras_reprogram.output_map.output_map import SINGLE_LABEL, Solver, check_num_views


@keras.saving.register_keras_serializable(package="keras_reprogram")
class NewHead(LinearMap):
    """Dense softmax on penultimate features, `y = g(NN'(f(x)))` (Kloberdanz 2020, ch. 4).

    The source must give its features: `FrozenSource(model, output="features")`. All views are
    read side by side.

    Args:
        num_classes: target classes K, or findings.
        targets: `"single_label"`, or `"multi_label"` for sigmoids; see `DenseMap`.
        ordinal: whether the classes are grades in order; see `DenseMap`.
        name: layer name.

    Input shape:
        `(n, views, width)` features.

    Output shape:
        `(n, K)` probabilities.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import NewHead

    head = NewHead(num_classes=4)
    assert head(np.zeros((2, 1, 16), "float32")).shape == (2, 4)
    ```

    References:
        Kloberdanz, "Reprogramming of neural networks: a new and improved machine learning
        technique", Iowa State University 2020.
    """

    accepted_scores = ("features",)

    def __init__(
        self,
        num_classes: int,
        *,
        targets: str = SINGLE_LABEL,
        ordinal: bool = False,
        name: str = "output_map",
    ) -> None:
        super().__init__(num_classes, targets=targets, ordinal=ordinal, name=name)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        views, width = check_num_views(input_shape, self.name)
        self.input_spec = keras.InputSpec(shape=(None, *input_shape[1:]))
        self.kernel = self.add_weight(
            shape=(views * width, self.num_classes), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(self.num_classes,), initializer="zeros", name="bias")
        self.add_thresholds()

    def call(self, features: Any) -> Any:
        return self.probabilities_of(ops.matmul(_flat(features), self.kernel) + self.bias)

    def fit_answers(
        self,
        scores: np.ndarray,
        labels: np.ndarray,
        *,
        solver: Solver,
        sample_weight: np.ndarray | None = None,
    ) -> Any:
        features = ops.convert_to_numpy(_flat(self.build_for(scores)))
        mean, std = features.mean(axis=0), np.maximum(features.std(axis=0), FEATURE_STD_FLOOR)
        rows = (features - mean) / std
        solution = solver(rows, labels, sample_weight, **self.solver_options())
        # The standardisation is folded into the layer, which reads features as they are.
        kernel = solution.kernel / std[:, None]
        self.kernel.assign(kernel)
        self.bias.assign(solution.bias - mean @ kernel)
        self.take_thresholds(solution)
        return solution

    def get_config(self) -> dict[str, Any]:
        return self.base_config()


def _flat(features: Any) -> Any:
    features = ops.cast(features, "float32")
    return ops.reshape(features, (-1, features.shape[-2] * features.shape[-1]))
