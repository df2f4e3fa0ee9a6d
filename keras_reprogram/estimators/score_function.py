"""ScoreFunction: REINFORCE, the gradient from answers to what the program draws."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reprogram.arguments import one_of
from keras_reprogram.estimators.gradient_estimator import GradientEstimator, Losses

REWARDS = ("top_label", "loss")
BASELINES = (None, "batch")


@keras.saving.register_keras_serializable(package="keras_reprogram")
class ScoreFunction(GradientEstimator):
    """REINFORCE: `g = -(r - b) * grad log p(drawn)`, from one answer a row and step.

    For programs that can draw (`TextProgram`): in `fit` the source is shown a row of tokens drawn
    from the program, and its answer is the reward of that draw. Nothing else is asked, and
    `queries_per_image` is 0. Logs of `fit` are of what was drawn; `evaluate` is of the most
    probable tokens.

    Deviations from the paper's code: positions count from the first `1 + share * T` of the source's
    T on, where it takes the flat position modulo the target's length and so masks wrong ones; they
    grow with steps, where it counts epochs, 30 of them; the mean over a batch, where it sums; no
    1e-6 is added to probabilities before a draw. Baselines and the reward by loss are additions.

    Args:
        reward: `"top_label"`: 1 if the class that the map names is right, else -1, all that a
            service of one label can tell. `"loss"`: minus the row's loss.
        baseline: b. `None` as published; `"batch"`: the mean reward of the other rows of the
            batch, which leaves the mean of the estimate as it is.
        growing_steps: training steps until all positions count; 0 for all from the start.

    Raises:
        ValueError: for values outside of these.

    Example:
    ```python
    from keras_reprogram import ScoreFunction

    estimator = ScoreFunction(baseline="batch")
    assert estimator.queries_per_image == 0
    print(estimator.row_weights([0.1, 2.0], [1.0, 0.0]))  # a reward lowers, none raises the loss
    ```

    References:
        Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement
        learning", Machine Learning 1992. Neekhara et al., "Adversarial Reprogramming of Text
        Classification Neural Networks", EMNLP-IJCNLP 2019.
    """

    draws = True

    def __init__(
        self,
        reward: str = "top_label",
        baseline: str | None = None,
        growing_steps: int = 0,
    ) -> None:
        self.reward = one_of("reward", reward, REWARDS)
        if baseline not in BASELINES:
            raise ValueError(f"`baseline` must be one of {BASELINES}. Received: {baseline!r}.")
        self.baseline = baseline
        if isinstance(growing_steps, bool) or growing_steps < 0 or growing_steps % 1:
            raise ValueError(
                "`growing_steps` must be a whole number of at least 0. Received: "
                f"growing_steps={growing_steps!r}."
            )
        self.growing_steps = int(growing_steps)

    @property
    def queries_per_image(self) -> int:
        """0: the clean pass is all."""
        return 0

    def estimate(
        self, losses: Losses, value: Any, clean_losses: Any, active: Any, seed: Any
    ) -> Any:
        """Not for this estimator, which learns from draws."""
        raise ValueError(
            "A `ScoreFunction` learns from what a program draws. Received: a call of `estimate`. "
            "Use it in `fit`."
        )

    def row_weights(self, losses: Any, right: Any, sample_weight: Any = None) -> Any:
        """What the log-likelihood of each row's draw is multiplied with, b - r.

        Args:
            losses: `(batch,)`, weighted.
            right: `(batch,)`, 1 where the class is the right one, else 0.
            sample_weight: `(batch,)` or `None`.

        Returns:
            `(batch,)`; the gradient of their mean is that of the mean loss.
        """
        if self.reward == "loss":
            reward = -ops.cast(losses, "float32")
        else:
            reward = 2.0 * ops.cast(right, "float32") - 1.0
            if sample_weight is not None:
                reward = reward * ops.cast(ops.reshape(sample_weight, (-1,)), "float32")
        if self.baseline is None:
            return -reward
        count = ops.cast(ops.size(reward), "float32")
        others = (ops.sum(reward) - reward) / ops.maximum(count - 1.0, 1.0)
        return others - reward

    def position_weights(self, num_positions: int, step: Any) -> Any:
        """1 for the positions that count in a step, else 0.

        Args:
            num_positions: T.
            step: training steps before this one.

        Returns:
            `(num_positions,)`.
        """
        if not self.growing_steps:
            return ops.ones(num_positions)
        share = ops.cast(step, "float32") / self.growing_steps
        positions = ops.arange(num_positions, dtype="float32")
        return ops.cast(positions < ops.floor(share * num_positions) + 1.0, "float32")

    def get_config(self) -> dict[str, Any]:
        return {
            "reward": self.reward,
            "baseline": self.baseline,
            "growing_steps": self.growing_steps,
        }
