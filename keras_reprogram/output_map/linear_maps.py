"""DenseMap and NewHead: softmax of an affine map of log-scores, or of features."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_reprogram.output_map.output_map import (
    OutputMap,
    Solver,
    check_num_views,
    smallest_score,
)

# Log-scores of a confident source hardly vary; dividing by less would amplify rounding.
STD_FLOOR = 0.05
# What float32 leaves of 1 - p where p is nearly 1.
SMALLEST_REST = 2.0**-25
_LOGITS = ("logits", "independent_logits")
_NORMALISED = ("probabilities", "logits")
# How maps of files from before this setting read float scores.
_EPSILON_BEFORE = 1e-7


class ScoreReading(NamedTuple):
    """How a `DenseMap` reads scores before it standardises them."""

    # Their logarithms, else they are as they are.
    logarithm: bool
    # Less the logarithm of the rest to 1.
    odds: bool
    # Less the mean of each answer.
    centred: bool


@keras.saving.register_keras_serializable(package="keras_reprogram")
class DenseMap(OutputMap):
    """Multinomial logistic regression on the source's log-scores of all views.

    `softmax(standardise(read(scores)) @ kernel + bias)`, with the standard deviation floored at
    0.05. What `read` does depends on what the scores are (see `Source`):

    - `"probabilities"`: `log(p + epsilon)`, less the mean of each answer (the centred log-ratio,
      Aitchison 1982): the scores of one answer share a normalisation that says nothing.
    - `"logits"`: less the mean of each answer, so that they read like their softmax.
    - `"independent"`: log-odds, `log(p + epsilon) - log(1 - p + epsilon)`. Each score is a finding
      of its own, and what all of them say together is kept.
    - `"independent_logits"`: as they are.

    Epsilon is half of the distance of neighbouring small scores: half of the source's declared
    step, or of what stored answers show (decimals, 8 bits, float16, zeros for what a service
    does not list), and 1e-14 for a float source, whose small scores say as much as its large
    ones. `adapt` looks, and the map keeps it. This is the dense output map of AutoVP (Tsao et al.
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

    def __init__(self, num_classes: int, *, name: str = "output_map") -> None:
        super().__init__(num_classes, name=name)
        # The kind of scores that a file's map was fitted on; it goes on reading them so.
        self._reads: str | None = None
        self._from_before = False

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
        if not self._from_before:
            self.smallest = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(super().epsilon),
                trainable=False,
                name="epsilon",
            )

    @property
    def ready(self) -> bool:
        return self.built and bool(ops.all(self.std > 0))

    def adapt(self, scores: np.ndarray) -> None:
        """Computes mean and standard deviation of the log-scores from stored answers.

        Args:
            scores: `(n, views, S)`.
        """
        scores = self.build_for(scores)
        if not self._from_before and self.reads not in _LOGITS:
            self.smallest.assign(smallest_score(scores, self.score_step))
        logs = ops.convert_to_numpy(self._log_scores(scores))
        self.mean.assign(logs.mean(axis=0))
        self.std.assign(np.maximum(logs.std(axis=0), STD_FLOOR))

    @property
    def reads(self) -> str:
        """The kind of scores that the map reads."""
        return self._reads or self.score_kind or "probabilities"

    @property
    def epsilon(self) -> Any:
        """The constant added before a logarithm; stored with the weights after `adapt`."""
        if self._from_before:
            return max(self.score_step / 2, _EPSILON_BEFORE)
        return self.smallest if self.built else super().epsilon

    def features(self, scores: Any) -> Any:
        """The input of the affine map: standardised log-scores, `(n, views * S)`."""
        return (self._log_scores(scores) - self.mean) / ops.maximum(self.std, STD_FLOOR)

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
        reads = {} if self._from_before else {"reads": self._reads or self.score_kind}
        return self.base_config() | reads

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DenseMap:
        """Rebuilds what `get_config` wrote; maps of older files read scores as they always did."""
        config = dict(config)
        from_before, reads = "reads" not in config, config.pop("reads", None)
        layer = super().from_config(config)
        layer._from_before, layer._reads = from_before, reads
        return layer

    @property
    def reading(self) -> ScoreReading:
        """How scores are read, by their kind and the age of the map."""
        return ScoreReading(
            logarithm=self.reads not in _LOGITS,
            odds=self.reads == "independent" and not self._from_before,
            centred=self.reads in _NORMALISED or self._from_before,
        )

    def _log_scores(self, scores: Any) -> Any:
        reading, logs = self.reading, ops.cast(scores, "float32")
        if reading.logarithm:
            rest = ops.maximum(1.0 - logs, 0.0)
            logs = ops.log(ops.maximum(logs, 0.0) + self.epsilon)
            if reading.odds:
                logs = logs - ops.log(rest + ops.maximum(self.epsilon, SMALLEST_REST))
        if reading.centred:
            logs = logs - ops.mean(logs, axis=-1, keepdims=True)
        return ops.reshape(logs, (-1, scores.shape[-2] * scores.shape[-1]))


# A feature that never moves carries nothing; dividing by less would only amplify rounding.
_FEATURE_STD_FLOOR = 1e-3


@keras.saving.register_keras_serializable(package="keras_reprogram")
class NewHead(OutputMap):
    """Dense softmax on penultimate features, `y = g(NN'(f(x)))` (Kloberdanz 2020, ch. 4).

    The source must give its features: `FrozenSource(model, output="features")`. All views are
    read side by side.

    Args:
        num_classes: target classes K.
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

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        views, width = check_num_views(input_shape, self.name)
        self.input_spec = keras.InputSpec(shape=(None, *input_shape[1:]))
        self.kernel = self.add_weight(
            shape=(views * width, self.num_classes), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(self.num_classes,), initializer="zeros", name="bias")

    def call(self, features: Any) -> Any:
        return keras.activations.softmax(ops.matmul(_flat(features), self.kernel) + self.bias)

    def fit_answers(
        self,
        scores: np.ndarray,
        labels: np.ndarray,
        *,
        solver: Solver,
        sample_weight: np.ndarray | None = None,
    ) -> Any:
        features = ops.convert_to_numpy(_flat(self.build_for(scores)))
        mean, std = features.mean(axis=0), np.maximum(features.std(axis=0), _FEATURE_STD_FLOOR)
        solution = solver((features - mean) / std, labels, sample_weight)
        # The standardisation is folded into the layer, which reads features as they are.
        kernel = solution.kernel / std[:, None]
        self.kernel.assign(kernel)
        self.bias.assign(solution.bias - mean @ kernel)
        return solution

    def get_config(self) -> dict[str, Any]:
        return self.base_config()


def _flat(features: Any) -> Any:
    features = ops.cast(features, "float32")
    return ops.reshape(features, (-1, features.shape[-2] * features.shape[-1]))
