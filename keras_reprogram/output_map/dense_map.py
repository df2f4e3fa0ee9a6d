"""DenseMap: softmax of an affine map of standardised log-scores over all views."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reprogram.output_map.output_map import OutputMap, Solver, check_num_views

# Log-scores of a confident source hardly vary; dividing by less would amplify rounding.
_STD_FLOOR = 0.05


@keras.saving.register_keras_serializable(package="keras_reprogram")
class DenseMap(OutputMap):
    """Multinomial logistic regression on the source's log-scores of all views.

    `softmax(standardise(centre(log(scores + epsilon))) @ kernel + bias)`, where epsilon is half
    the step of the source's scores (1e-7 for floats), `centre` takes the mean off each answer
    (the centred log-ratio, Aitchison 1982), and the standard deviation is floored at 0.05.
    Logits are read without the logarithm. This is the dense output map of AutoVP (Tsao et al.
    2024, "FullyMap"), read on a log scale.

    `ReprogrammedModel.fit_output_map` standardises and solves it exactly on answers that were
    paid for; `fit` may train it further, beside the program. Without `adapt` training diverges,
    and is refused.

    Args:
        num_classes: target classes K.
        name: layer name.

    Input shape:
        `(n, views, S)` scores of the source.

    Output shape:
        `(n, K)` probabilities.

    Example:
    ```python
    import numpy as np
    from keras_reprogram import DenseMap

    output_map = DenseMap(num_classes=3)
    scores = np.random.default_rng(0).dirichlet(np.ones(5), size=(20, 2)).astype("float32")
    output_map.adapt(scores)
    assert output_map(scores).shape == (20, 3)
    ```
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        views, num_source_labels = check_num_views(input_shape, self.name)
        self.input_spec = keras.InputSpec(shape=(None, *input_shape[1:]))
        size = views * num_source_labels
        self.kernel = self.add_weight(
            shape=(size, self.num_classes), initializer="zeros", name="kernel"
        )
        self.bias = self.add_weight(shape=(self.num_classes,), initializer="zeros", name="bias")
        self.mean = self.add_weight(
            shape=(size,), initializer="zeros", trainable=False, name="mean"
        )
        # Zero until `adapt`: a standard deviation never is.
        self.std = self.add_weight(shape=(size,), initializer="zeros", trainable=False, name="std")

    @property
    def ready(self) -> bool:
        return self.built and bool(ops.all(self.std > 0))

    def adapt(self, scores: np.ndarray) -> None:
        """Takes mean and standard deviation of the log-scores from stored answers.

        Args:
            scores: `(n, views, S)`.
        """
        scores = self.build_for(scores)
        logs = ops.convert_to_numpy(self._log_scores(scores))
        self.mean.assign(logs.mean(axis=0))
        self.std.assign(np.maximum(logs.std(axis=0), _STD_FLOOR))

    def features(self, scores: Any) -> Any:
        """What the affine map reads: standardised log-scores, `(n, views * S)`."""
        return (self._log_scores(scores) - self.mean) / ops.maximum(self.std, _STD_FLOOR)

    def call(self, scores: Any) -> Any:
        features = self.features(scores)
        return keras.activations.softmax(ops.matmul(features, self.kernel) + self.bias)

    def fit_answers(
        self,
        scores: np.ndarray,
        labels: np.ndarray,
        *,
        solver: Solver,
        sample_weight: np.ndarray | None = None,
    ) -> Any:
        self.adapt(scores)
        features = ops.convert_to_numpy(self.features(np.asarray(scores, np.float32)))
        solution = solver(features, labels, sample_weight)
        self.kernel.assign(solution.kernel)
        self.bias.assign(solution.bias)
        return solution

    def get_config(self) -> dict[str, Any]:
        return self.base_config()

    def _log_scores(self, scores: Any) -> Any:
        scores = ops.cast(scores, "float32")
        if self.scores != "logits":
            scores = ops.log(ops.maximum(scores, 0.0) + self.epsilon)
        # The scores of one answer share a normalisation that says nothing about the class.
        # Without it, logits and their probabilities read alike.
        logs = scores - ops.mean(scores, axis=-1, keepdims=True)
        return ops.reshape(logs, (-1, scores.shape[-2] * scores.shape[-1]))
