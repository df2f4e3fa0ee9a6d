"""OutputMap: the contract of every output map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_reprogram.arguments import KeepsOldNames, takes_old_names
from keras_reprogram.output_map.blocks import Block

# exp(-32): a float32 softmax is exact in its small values, and its logarithm stays tame.
SMALLEST_FLOAT_SCORE = 1e-14
# Steps that services and files use: decimals, percent, bytes, 16-bit codes, float16 (whose small
# values lie on a grid too). Coarse steps first, because multiples of a step are multiples of finer
# steps.
_STEPS = (
    *(10.0**-digits for digits in (1, 2)),
    1 / 256,
    1 / 255,
    *(10.0**-digits for digits in (3, 4)),
    1 / 65_536,
    1 / 65_535,
    *(10.0**-digits for digits in (5, 6, 7, 8)),
)
_FLOAT16_STEP = 2.0**-24
# float32 holds a score to half of this share of it.
_FLOAT32_PRECISION = 2.0**-23
_LARGEST_TELLING_MULTIPLE = 2.0**20
# With fewer scores, all may lie on a grid by chance. So many do not, since each would do so with
# probability 1/4 at most; and a handful of images of two labels have hardly more.
_FEWEST_SCORES = 10


# Solves a linear classifier exactly: (features, labels, sample_weight) -> object with `kernel` (d,
# K) and `bias` (K,). On a joint source's answers it also gets `parts`, see `fit_joined_parts`.
Solver = Callable[..., Any]


SINGLE_LABEL, MULTI_LABEL = "single_label", "multi_label"
TARGETS = (SINGLE_LABEL, MULTI_LABEL)


class OutputMap(KeepsOldNames, keras.layers.Layer):
    """Source scores of all views -> target probabilities.

    Contract: exactly `(n, views, S) -> (n, num_classes)`; the softmax is the last operation, so
    rows sum to 1 and Keras finds its numerically stable cross-entropy through it.

    A map that follows the program without extra queries has `observes = True`, collects answers
    in `observe` and uses them in `reassign`; see `MultiLabelMap`.

    A map of several findings an image has `targets = "multi_label"`: its last operation is a
    sigmoid, its labels are `(n, num_classes)` of 0 and 1, and `thresholds` says from which
    probability each counts as found; see `DenseMap`.

    Args:
        num_classes: target classes K, >= 2.
        name: layer name.

    Raises:
        ValueError: if there are fewer than two classes.

    Example:
    ```python
    import keras
    import numpy as np
    from keras import ops
    from keras_reprogram import OutputMap

    class LoudestView(OutputMap):
        # Each class has the source label of its own number, in the view that likes it best.

        def call(self, scores):
            best = ops.max(scores, axis=1)[:, : self.num_classes]
            return keras.activations.softmax(ops.log(best + self.epsilon))

        def fit_answers(self, scores, labels, *, solver, sample_weight=None):
            return None  # nothing to fit

        def get_config(self):
            return self.base_config()

    output_map = LoudestView(num_classes=3)
    assert output_map(np.full((2, 4, 5), 0.2, "float32")).shape == (2, 3)
    ```
    """

    old_names = {"scores": "score_kind"}
    # How the exact fits of a model solve a linear map, see `DenseMap`.
    fit = "exact"
    # What an image's label is: one class, or any number of findings.
    targets = SINGLE_LABEL
    # Whether the classes are grades, from the lowest to the highest.
    ordinal = False
    # Which kinds of source scores the map can read.
    accepted_scores: tuple[str, ...] = (
        "probabilities", "independent", "logits", "independent_logits"
    )  # fmt: skip

    def __init__(self, num_classes: int, *, name: str = "output_map") -> None:
        super().__init__(name=name, dtype="float32")
        if num_classes < 2:
            raise ValueError(f"`num_classes` must be at least 2. Received: {num_classes}.")
        self.num_classes = int(num_classes)
        self.score_kind: str | None = None
        self.score_step = 0.0

    @property
    def ready(self) -> bool:
        """Whether the map may be used and trained; `False` asks for `fit_output_map` first."""
        return True

    @property
    def multi_label(self) -> bool:
        """Whether an image may have several findings, or none."""
        return self.targets == MULTI_LABEL

    @property
    def trains(self) -> bool:
        """Whether the map learns from answers; a random assignment does not."""
        return True

    @property
    def observes(self) -> bool:
        """Whether the map wants to see the answers that training steps got, see `observe`."""
        return False

    @takes_old_names(scores="score_kind")
    def attach(self, score_kind: str, score_step: float) -> None:
        """Tells the map what the source's scores are. `ReprogrammedModel` calls it once.

        Args:
            score_kind: kind of the scores, see `Source`.
            score_step: distance of neighbouring scores, 0 for floats.

        Raises:
            ValueError: if the map cannot read such scores.
        """
        if score_kind not in self.accepted_scores:
            raise ValueError(
                f"{type(self).__name__} reads {' or '.join(self.accepted_scores)}. "
                f"Received: a source with score_kind={score_kind!r}. `NewHead` needs "
                '`output="features"` on the source; the other maps need its scores.'
            )
        self.score_kind, self.score_step = score_kind, float(score_step)

    def attach_blocks(self, blocks: Sequence[Block]) -> None:
        """Tells the map where each part of a joint source's answer is. The model calls it once.

        Args:
            blocks: of the source that is asked first, then of what it is joined with.

        Raises:
            ValueError: if the map cannot read several parts, which is the default.
        """
        names = ", ".join(block.name for block in blocks)
        raise ValueError(
            f"{type(self).__name__} reads the scores of one source. Received: a joint source of "
            f"{names}. Use `DenseMap`, which reads all parts."
        )

    def fit_answers(
        self,
        scores: np.ndarray,
        labels: np.ndarray,
        *,
        solver: Solver,
        sample_weight: np.ndarray | None = None,
    ) -> Any:
        """Fits the map exactly on answers that were paid for.

        Args:
            scores: `(n, views, S)`.
            labels: `(n,)` integers in [0, num_classes); of a map of several findings
                `(n, num_classes)` of 0 and 1.
            solver: solves a linear classifier on the map's own features.
            sample_weight: `(n,)` or `None`; of several findings `(n, num_classes)` too.

        Returns:
            What the solver returned, or `None` for maps that need none.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `fit_answers`.")

    def observe(self, scores: Any, labels: Any, sample_weight: Any = None) -> None:
        """Takes note of answers that a training step paid for anyway, inside its graph.

        Called in each step of `fit` where `observes` is true; whatever the map remembers must be
        in its non-trainable weights, so that a run that was killed resumes with it. The default
        does nothing.

        Args:
            scores: `(n, views, S)`, the clean answers.
            labels: what `fit` was given: `(n,)`, `(n, 1)`, or `(n, num_classes)` one-hot.
            sample_weight: `(n,)`, `(n, 1)` or `None`.
        """
        del scores, labels, sample_weight

    def reassign(self) -> None:
        """Fits itself to what was observed, and forgets it. Called at the end of each epoch.

        Without anything observed it changes nothing. The default does nothing.
        """

    def forget_observed(self) -> None:
        """Forgets what was observed. Called when `fit` begins. The default does nothing."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.num_classes)

    @property
    def epsilon(self) -> float:
        """Half of the source's step, added before a logarithm (1e-14 for float scores)."""
        return max(self.score_step / 2, SMALLEST_FLOAT_SCORE)

    def base_config(self) -> dict[str, Any]:
        """The part of `get_config` that all maps share."""
        return {"num_classes": self.num_classes, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OutputMap:
        """Rebuilds what `get_config` wrote."""
        config = dict(config)
        trainable = config.pop("trainable", True)
        layer = cls(**config)
        layer.trainable = trainable
        return layer

    def build_for(self, scores: np.ndarray) -> np.ndarray:
        """Builds the layer for stored scores `(n, V, S)` if need be; returns them as float32."""
        scores = np.asarray(scores, np.float32)
        check_num_views(scores.shape, self.name)
        if not self.built:
            self.build((None, *scores.shape[1:]))
        return scores


def check_num_views(input_shape: tuple[int | None, ...], name: str) -> tuple[int, int]:
    """`(views, S)` of an input shape `(n, views, S)`, or a ValueError."""
    if len(input_shape) != 3 or None in input_shape[1:]:
        raise ValueError(f"{name} takes scores (n, views, S). Received: shape {input_shape}.")
    return int(input_shape[1] or 0), int(input_shape[2] or 0)


def smallest_score(scores: np.ndarray, score_step: float) -> float:
    """Half of the distance of neighbouring small scores, to add before a logarithm."""
    # A float32 softmax can return 1e-12 as a real value. A service that rounds returns 0 for
    # everything below half of its step, and one that lists its best labels returns 0 for all
    # others. Both are recognised in the answers: all scores are multiples of a step, or none lies
    # between 0 and the smallest listed one.
    scores = np.asarray(scores, np.float64)
    positive = scores[scores > 0]
    step = score_step
    if positive.size >= _FEWEST_SCORES:
        step = max(step, _common_step(positive))
        if positive.size < scores.size:
            step = max(step, float(positive.min()))
    return max(step / 2, SMALLEST_FLOAT_SCORE)


def _common_step(positive: np.ndarray) -> float:
    """The coarsest known step of which all scores are multiples, or 0."""
    for step in _STEPS:
        multiples = positive / step
        # float32 drops the fraction of large multiples, so they carry no information.
        multiples = multiples[multiples < _LARGEST_TELLING_MULTIPLE]
        off = np.abs(multiples - np.round(multiples))
        if len(off) >= _FEWEST_SCORES and np.all(off <= _FLOAT32_PRECISION * multiples):
            return step
    as_float16 = positive.astype(np.float16).astype(np.float64)
    return _FLOAT16_STEP if np.array_equal(as_float16, positive) else 0.0
