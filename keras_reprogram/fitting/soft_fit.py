"""Exact fits of soft labels, all judged on the same held-out rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from keras_reprogram.fitting.fit_device import FitDevice
from keras_reprogram.fitting.fit_settings import MapFit, axis_penalties, training_first
from keras_reprogram.fitting.logistic_solver import LogisticProblem
from keras_reprogram.fitting.map_fitting import FitPart, PenaltyTrial, all_classes, choose_penalty
from keras_reprogram.fitting.principal_axes import PrincipalAxes
from keras_reprogram.fitting.products import Products
from keras_reprogram.fitting.validation import ValidationScore


@dataclass(frozen=True, eq=False)
class SoftTrial:
    """The best penalty for some soft labels.

    Args:
        penalty: power and C.
    """

    penalty: PenaltyTrial = field(repr=False)

    @property
    def score(self) -> ValidationScore:
        """Loss and error on the held-out rows."""
        return ValidationScore(self.penalty.loss, 1.0 - self.penalty.accuracy)


class SoftFits:
    """Logistic regressions of the same features on different soft labels.

    Minimises `||kernel||^2 / 2 + C * sum_i weight_i * cross_entropy(target_i, p_i)`, with features
    scaled, and power and C chosen on the held-out rows, as in `fit_logistic_regression`. The axes
    of the features are found once.

    Args:
        features: `(n, d)`.
        train: positions of the rows that `trial` fits.
        held_out: positions of the rows that it is judged on, by their most probable class.
        num_classes: K.
        device: as of `fit_logistic_regression`.
    """

    def __init__(
        self,
        features: np.ndarray,
        train: np.ndarray,
        held_out: np.ndarray,
        *,
        num_classes: int,
        device: str | None = None,
    ) -> None:
        first = len(train)
        self._train, self._held_out = slice(first), slice(first, first + len(held_out))
        self._order = training_first(train, held_out, len(features))
        features = np.asarray(features, np.float32).reshape(len(features), -1)
        self._on = FitDevice(device, features.size * num_classes)
        self._axes, self._rows = self._on.run(partial(PrincipalAxes.fit, features, self._order))
        squares = np.einsum("ij,ij->j", self._rows, self._rows, dtype=np.float64)
        self._spread = np.sqrt(squares / len(features))

    def trial(self, targets: np.ndarray, weight: np.ndarray) -> SoftTrial:
        """Chooses power and C for soft labels.

        Args:
            targets: `(n, K)` rows of probabilities.
            weight: `(n,)` non-negative.
        """
        data = self._rows, targets[self._order], weight[self._order]

        def choose(products: Products) -> PenaltyTrial:
            part = FitPart.of(*data, self._train, self._held_out, products)
            return choose_penalty([part], self._spread)

        return SoftTrial(self._on.run(choose))

    def fit(self, targets: np.ndarray, weight: np.ndarray, trial: SoftTrial) -> MapFit:
        """Fits all rows as a trial chose; targets and weights as of `trial`."""
        chosen = trial.penalty
        data = self._rows, targets[self._order], weight[self._order]
        solution = self._on.run(
            lambda products: LogisticProblem(*data, products).solve(
                chosen.regularization,
                penalty=axis_penalties(self._spread, chosen.power),
                start=chosen.solutions[0],
            )
        )
        kernel, bias = self._axes.affine(*all_classes(solution, targets.shape[1]))
        return MapFit(
            kernel.astype(np.float32),
            bias.astype(np.float32),
            chosen.regularization,
            chosen.power,
            chosen.accuracy,
        )
