"""A student that is a new head on a local source: exact fits of soft labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_reprogram.fitting.fit_settings import MapFit
from keras_reprogram.fitting.soft_fit import SoftFits
from keras_reprogram.fitting.validation import ValidationScore
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.output_map.dense_map import DenseMap
from keras_reprogram.output_map.new_head import NewHead
from keras_reprogram.student.local_model import local_model
from keras_reprogram.student.mixing import MANY, Choice, Targets, choose_mix


class HeadLearner:
    """Fits heads on what a local source says of the whole image.

    Args:
        teacher: the fitted model, whose task it is.
        source: a source that costs nothing.
        images: `(n, h, w, c)`.
    """

    def __init__(self, teacher: Any, source: Any, images: np.ndarray) -> None:
        self._teacher, self._source, self._images = teacher, source, images
        self._num_classes = teacher.output_map.num_classes
        self._first = self._new_model()
        self._answers: np.ndarray | None = None

    def baseline(
        self, labels: np.ndarray, held_out: np.ndarray
    ) -> tuple[ReprogrammedModel, ValidationScore]:
        """The head on the true labels alone.

        Args:
            labels: `(n,)`, -1 where unknown.
            held_out: positions of labelled images.
        """
        rows = np.flatnonzero(labels >= 0)
        targets = np.eye(self._num_classes, dtype=np.float32)[labels[rows]]
        weight, held_out = np.ones(len(rows)), np.searchsorted(rows, held_out)
        found: list[ValidationScore] = []

        def solver(features: np.ndarray, *_: Any, **options: Any) -> MapFit:
            train = np.setdiff1d(np.arange(len(rows)), held_out)
            fits = SoftFits(features, train, held_out, num_classes=self._num_classes)
            trial = fits.trial(targets, weight)
            found.append(trial.score)
            return fits.fit(targets, weight, trial)

        return self._fitted(rows, labels[rows], solver), found[0]

    def student(self, targets: Targets, rows: np.ndarray) -> tuple[ReprogrammedModel, Choice]:
        """The head on true and soft labels of some rows, mixed as validation chooses."""
        found: list[Choice] = []

        def solver(features: np.ndarray, *_: Any, **options: Any) -> MapFit:
            train = np.setdiff1d(np.arange(len(rows)), targets.held_out)
            fits = SoftFits(features, train, targets.held_out, num_classes=self._num_classes)
            choice = choose_mix(targets, MANY, fits.trial)
            found.append(choice)
            return fits.fit(*targets.for_fit(choice.mix), choice.trial)

        return self._fitted(rows, targets.true, solver), found[0]

    def _fitted(
        self, rows: np.ndarray, labels: np.ndarray, solver: Callable[..., Any]
    ) -> ReprogrammedModel:
        if self._answers is None:
            self._answers = self._first.collect_scores(self._images, verbose=0)
        model = self._new_model()
        model.output_map.fit_answers(self._answers[rows], labels, solver=solver)
        return model

    def _new_model(self) -> ReprogrammedModel:
        head = NewHead if self._source.score_kind == "features" else DenseMap
        output_map = head(self._num_classes)
        return local_model(self._teacher, self._source, output_map)
