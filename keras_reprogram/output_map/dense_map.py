"""DenseMap: softmax, or sigmoids, of an affine map of log-scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_reprogram.arguments import FITS, one_of
from keras_reprogram.output_map.blocks import Block, slices_of, waves
from keras_reprogram.output_map.linear_map import LinearMap
from keras_reprogram.output_map.output_map import (
    SINGLE_LABEL,
    SMALLEST_FLOAT_SCORE,
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
# No scores: they are read as they are.
_PLAIN = ("features", "pixels")
# A feature that never moves carries nothing; dividing by less would only amplify rounding.
FEATURE_STD_FLOOR = 1e-3
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
class DenseMap(LinearMap):
    """Logistic regression on the source's log-scores of all views.

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

    Of a joint source (`join_sources`) it reads all parts, each as its own kind of scores says.
    Two kinds are for parts beside an asked source only:

    - `"features"`: as they are, standardised.
    - `"pixels"`: centred, and divided by one number for all (their mean variance becomes 1); then
      1,024 random Fourier features of them, those of an RBF kernel (Rahimi and Recht 2007).
      Images of more than 16,384 numbers are read without the kernel.

    Its exact fit is that of each part alone, and a weight of each part (`fit_joined_parts`).

    With `targets="multi_label"` an image has any number of K findings: labels are `(n, K)` of 0
    and 1, the softmax is a sigmoid for each finding, and the exact fit is a binary one of each, all
    solved at once. It also chooses, on held-out images, the probability from which a finding counts
    as found, the one with the highest F1; `thresholds` keeps them in every file, and
    `model.predict_findings` uses them.

    With `ordinal=True` the classes are grades, from the lowest to the highest: the exact fit also
    tries forms that know their order, and keeps them if they win on held-out images
    (`fit_logistic_regression`).

    Args:
        num_classes: target classes K, or findings.
        targets: `"single_label"`, one class an image, or `"multi_label"`.
        ordinal: whether the classes are grades in order.
        fit: how `fit_output_map` and `fit_opaque` solve it. `"exact"`: logistic regression, its
            regularisation chosen on held-out images. `"closed_form"`: a discriminant with a shrunk
            covariance, which knows class sizes and spares no image (`fit_discriminant`). `"auto"`:
            the closed form of fewer than ten images (or groups) a class, else the exact fit.
            Several findings and grades have the exact fit only.
        name: layer name.

    Input shape:
        `(n, views, S)` scores of the source; of a joint source `(n, 1, A)`, all parts' scores.

    Output shape:
        `(n, K)` probabilities; of findings each row has any sum.

    Raises:
        ValueError: for unknown targets, and for grades of several findings.

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

    def __init__(
        self,
        num_classes: int,
        *,
        targets: str = SINGLE_LABEL,
        ordinal: bool = False,
        fit: str = "exact",
        name: str = "output_map",
    ) -> None:
        super().__init__(num_classes, targets=targets, ordinal=ordinal, name=name)
        self.fit = one_of("fit", fit, FITS)
        if fit == "closed_form" and (ordinal or targets != SINGLE_LABEL):
            raise ValueError(
                "The closed form is for one class an image, without an order. Received: "
                f"fit={fit!r}, targets={targets!r}, ordinal={ordinal}. Leave `fit` out."
            )
        # The kind of scores that a file's map was fitted on; it goes on reading them so.
        self._reads: str | None = None
        self._from_before = False
        self.blocks: tuple[Block, ...] = ()

    def attach_blocks(self, blocks: Sequence[Block]) -> None:
        if self.blocks and [b.size for b in self.blocks] != [b.size for b in blocks]:
            raise ValueError(
                "A map of a joint source must be given the parts that it was made for. Received: "
                f"{_listed(blocks)}; expected {_listed(self.blocks)}. Build a new `DenseMap`."
            )
        self.blocks = self.blocks or tuple(blocks)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        views, num_source_labels = check_num_views(input_shape, self.name)
        self.input_spec = keras.InputSpec(shape=(None, *input_shape[1:]))
        size = views * num_source_labels
        width = sum(self.parts) or size
        self.kernel = self.add_weight(
            shape=(width, self.num_classes), initializer="zeros", name="kernel"
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
        if self.blocks:
            self.smallest_beside = self.add_weight(
                shape=(len(self.blocks) - 1,),
                initializer=keras.initializers.Constant(SMALLEST_FLOAT_SCORE),
                trainable=False,
                name="epsilon_beside",
            )
        self.add_thresholds()

    @property
    def parts(self) -> tuple[int, ...]:
        """Of a joint source the number of features of each part; else empty."""
        return tuple(block.width for block in self.blocks)

    @property
    def ready(self) -> bool:
        return self.built and bool(ops.all(self.std > 0))

    def adapt(self, scores: np.ndarray) -> None:
        """Computes mean and standard deviation of the log-scores from stored answers.

        Args:
            scores: `(n, views, S)`.
        """
        scores = self.build_for(scores)
        own, *beside = self._split(scores)
        if not self._from_before and self.reads not in _LOGITS:
            self.smallest.assign(smallest_score(own, self.score_step))
        for number, (some, block) in enumerate(zip(beside, self.blocks[1:], strict=True)):
            if block.score_kind in ("probabilities", "independent"):
                smallest = ops.convert_to_numpy(self.smallest_beside)
                smallest[number] = smallest_score(some, block.score_step)
                self.smallest_beside.assign(smallest)
        logs = ops.convert_to_numpy(self._log_scores(scores))
        self.mean.assign(logs.mean(axis=0))
        self.std.assign(self._spread(logs))

    def _spread(self, logs: np.ndarray) -> np.ndarray:
        """The standard deviations to divide by."""
        spread = logs.std(axis=0)
        if not self.blocks:
            return np.maximum(spread, STD_FLOOR)
        for block, columns in zip(self.blocks, slices_of(self.blocks), strict=True):
            floor = FEATURE_STD_FLOOR if block.score_kind in _PLAIN else STD_FLOOR
            if block.score_kind == "pixels":
                spread[columns] = np.sqrt(np.mean(np.square(spread[columns])))
            spread[columns] = np.maximum(spread[columns], floor)
        return spread

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
        """The input of the affine map: standardised log-scores, `(n, views * S)`.

        Of a joint source the features of all parts, `(n, d)`, see `parts`.
        """
        logs = self._log_scores(scores)
        if not self.blocks:
            return (logs - self.mean) / ops.maximum(self.std, STD_FLOOR)
        rows = (logs - self.mean) / ops.maximum(self.std, FEATURE_STD_FLOOR)
        found = []
        for block, columns in zip(self.blocks, slices_of(self.blocks), strict=True):
            part = rows[:, columns]
            if block.has_waves:
                directions, phases = waves(block.size)
                part = 2**0.5 * ops.cos(ops.matmul(part, directions) + phases)
            found.append(part)
        return ops.concatenate(found, axis=1)

    def call(self, scores: Any) -> Any:
        features = self.features(scores)
        return self.probabilities_of(ops.matmul(features, self.kernel) + self.bias)

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
        options = {"parts": self.parts} if self.blocks else {}
        options |= self.solver_options()
        solution = solver(features, labels, sample_weight, **options)
        self.kernel.assign(solution.kernel)
        self.bias.assign(solution.bias)
        self.take_thresholds(solution)
        return solution

    def get_config(self) -> dict[str, Any]:
        reads: dict[str, Any] = {}
        if not self._from_before:
            reads["reads"] = self._reads or self.score_kind
        if self.blocks:
            reads["blocks"] = [block.get_config() for block in self.blocks]
        # Files of maps with an exact fit are as they always were.
        fit = {} if self.fit == "exact" else {"fit": self.fit}
        return self.base_config() | reads | fit

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DenseMap:
        """Rebuilds what `get_config` wrote; maps of older files read scores as they always did."""
        config = dict(config)
        from_before, reads = "reads" not in config, config.pop("reads", None)
        blocks = tuple(Block(**block) for block in config.pop("blocks", ()))
        layer = super().from_config(config)
        layer._from_before, layer._reads, layer.blocks = from_before, reads, blocks
        return layer

    @property
    def reading(self) -> ScoreReading:
        """How scores are read, by their kind and the age of the map."""
        return self._reading(self.reads)

    def _reading(self, kind: str) -> ScoreReading:
        return ScoreReading(
            logarithm=kind not in (*_LOGITS, *_PLAIN),
            odds=kind == "independent" and not self._from_before,
            centred=kind in _NORMALISED or self._from_before,
        )

    def _split(self, scores: Any) -> list[Any]:
        """The scores `(n, V, S)` of each part, views apart."""
        if not self.blocks:
            return [scores]
        return [
            ops.reshape(scores[:, 0, columns], (-1, block.num_views, block.num_labels))
            for block, columns in zip(self.blocks, slices_of(self.blocks), strict=True)
        ]

    def _log_scores(self, scores: Any) -> Any:
        own, *beside = self._split(ops.cast(scores, "float32"))
        logs = _read(own, self.reading, self.epsilon)
        if not beside:
            return logs
        others = [
            _read(some, self._reading(block.score_kind), self.smallest_beside[number])
            for number, (some, block) in enumerate(zip(beside, self.blocks[1:], strict=True))
        ]
        return ops.concatenate([logs, *others], axis=1)


def _read(scores: Any, reading: ScoreReading, epsilon: Any) -> Any:
    """Scores `(n, V, S)` on their log scale, flat."""
    logs = scores
    if reading.logarithm:
        rest = ops.maximum(1.0 - logs, 0.0)
        logs = ops.log(ops.maximum(logs, 0.0) + epsilon)
        if reading.odds:
            logs = logs - ops.log(rest + ops.maximum(epsilon, SMALLEST_REST))
    if reading.centred:
        logs = logs - ops.mean(logs, axis=-1, keepdims=True)
    return ops.reshape(logs, (-1, scores.shape[-2] * scores.shape[-1]))


def _listed(blocks: Sequence[Block]) -> str:
    return ", ".join(f"{block.name} ({block.size} numbers)" for block in blocks)
