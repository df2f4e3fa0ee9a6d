"""How a teacher's answers and true labels are mixed, and the choice of it on held-out images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_reprogram.fitting.validation import ValidationScore

# Below this a probability counts as so small.
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Mix:
    """What a student learns.

    Args:
        temperature: T of the teacher's probabilities, `p^(1/T)` renormalised, > 0: below 1 they
            are sharper.
        unlabelled_weight: what an image without a label counts, where one with a label counts 1.
        soft_share: share of the teacher's answer in the target of an image with a label, in [0, 1].
    """

    temperature: float = 1.0
    unlabelled_weight: float = 1.0
    soft_share: float = 0.0


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels of images, those of a teacher and the true ones.

    Args:
        true: `(n,)` integers, -1 where unknown.
        judged: `(n, K)` probabilities of a teacher that has not seen the labels of the held-out
            images; NaN where it was not asked.
        final: `(n, K)` probabilities of the whole teacher, for the fit in the end.
        held_out: positions of labelled images that choices are judged on.
    """

    true: np.ndarray
    judged: np.ndarray
    final: np.ndarray
    held_out: np.ndarray

    @property
    def answered(self) -> np.ndarray:
        """Whether the teacher was asked, bool `(n,)`."""
        return np.isfinite(self.final[:, 0])

    def take(self, rows: np.ndarray) -> Targets:
        """Those of some sorted rows, which hold all held-out images."""
        held_out = np.searchsorted(rows, self.held_out)
        return Targets(self.true[rows], self.judged[rows], self.final[rows], held_out)

    def for_choice(self, mix: Mix) -> tuple[np.ndarray, np.ndarray]:
        """Targets `(n, K)` and weights `(n,)`; held-out images have their true labels."""
        return self._mixed(mix, self.judged, self.held_out)

    def for_fit(self, mix: Mix) -> tuple[np.ndarray, np.ndarray]:
        """Targets `(n, K)` and weights `(n,)` of the fit on all images."""
        return self._mixed(mix, self.final, np.zeros(0, int))

    def _mixed(
        self, mix: Mix, soft: np.ndarray, only_true: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        labelled, answered = self.true >= 0, self.answered
        targets = np.zeros(soft.shape, np.float32)
        targets[answered] = _tempered(soft[answered], mix.temperature)
        own = np.eye(soft.shape[-1], dtype=np.float32)[self.true[labelled]]
        share = np.where(answered, mix.soft_share, 0.0).astype(np.float32)
        share[only_true] = 0.0
        share = share[labelled].reshape(-1, 1)
        targets[labelled] = share * targets[labelled] + (1 - share) * own
        return targets, np.where(labelled, 1.0, mix.unlabelled_weight)


def _tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    logits = np.log(np.maximum(probabilities, _SMALLEST)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Choice:
    """A mix, and what was found with it.

    Args:
        mix: the mix.
        trial: what the learner returned, with a `score`.
    """

    mix: Mix
    trial: Any

    @property
    def score(self) -> ValidationScore:
        """On the held-out images."""
        return self.trial.score


# One setting is tried after the other, each at the best of those before.
Axes = Sequence[tuple[str, Sequence[float]]]
# Exact fits take a second; trainings of a network take minutes.
MANY: Axes = (
    ("temperature", (1.0, 0.5, 2.0)),
    ("unlabelled_weight", (0.3, 0.1)),
    ("soft_share", (0.5,)),
)
FEW: Axes = (("temperature", (1.0, 2.0)),)
# Where no image without a label was asked about.
LABELLED_ONLY: Axes = (("soft_share", (0.5, 0.8)), ("temperature", (1.0, 2.0)))


def _axes_for(targets: Targets, axes: Axes) -> Axes:
    """The settings that make a difference to these targets."""
    labelled = targets.true >= 0
    if not (targets.answered & ~labelled).any():
        return LABELLED_ONLY
    both = bool((targets.answered & labelled).any())
    return [one for one in axes if both or one[0] != "soft_share"]


def choose_mix(targets: Targets, axes: Axes, trial: Callable[..., Any]) -> Choice:
    """The mix with the lowest loss on the held-out images."""
    tried: dict[Mix, Choice] = {}

    def best() -> Choice:
        return min(tried.values(), key=lambda found: found.score.loss)

    for name, values in _axes_for(targets, axes):
        start = best().mix if tried else Mix()
        for value in values:
            mix = replace(start, **{name: value})
            if mix not in tried:
                tried[mix] = Choice(mix, trial(*targets.for_choice(mix)))
    return best()
