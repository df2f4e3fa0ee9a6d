"""What a fitted model says of images from stored answers, also without having seen their labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_reprogram.asking.exact_fit import map_solver
from keras_reprogram.fitting.folds import fold_numbers
from keras_reprogram.fitting.validation import validation_score

_FOLDS = 4
_ROWS = 1024
_VALIDATION_SPLIT = 0.2


class Teacher:
    """Soft labels of a model for images whose answers are paid.

    A map knows the labels that it was fitted on. So an image with a label is read by a map that was
    fitted without it, on the same answers: that costs seconds, and no query.

    Args:
        model: a fitted `ReprogrammedModel`.
        scores: `(m, V, S)`, the answers.
        labels: `(m,)`, -1 where unknown.
        groups: `(m,)` or `None`; images of one value are read by a map that saw none of them.
    """

    def __init__(
        self, model: Any, scores: np.ndarray, labels: np.ndarray, groups: np.ndarray | None
    ) -> None:
        self._model, self._scores, self._labels, self._groups = model, scores, labels, groups

    def soft_labels(self, unseen: np.ndarray | None = None) -> np.ndarray:
        """Probabilities `(m, K)`; those of images with a label by maps that did not see it.

        Args:
            unseen: bool `(m,)`: labelled images that no map may see, for choices that are judged on
                them. `None` reads images without a label by the model's own map, or by one that is
                fitted anew if that reads the labelled images better.
        """
        labelled = self._labels >= 0
        seen = labelled if unseen is None else labelled & ~unseen
        soft = np.empty((len(self._scores), self._model.output_map.num_classes), np.float32)
        for fold in self._folds(seen):
            rest = seen & ~fold
            soft[fold] = _read(self._whole(rest, None), self._scores[fold])
        known = soft if unseen is None else None
        soft[~seen] = _read(self._whole(seen, known), self._scores[~seen])
        return soft

    def _whole(self, rows: np.ndarray, cross_read: np.ndarray | None) -> Any:
        """A map fitted on some rows; with what folds say of them, the better one of that and own.

        The model's own map where a class is missing among the rows.
        """
        own = self._model.output_map
        if not self._can_fit(rows):
            return own
        if cross_read is not None:
            labels = self._labels[rows]
            of_own = validation_score(_read(own, self._scores[rows]), labels)
            if of_own.loss <= validation_score(cross_read[rows], labels).loss:
                return own
        return self._fitted(rows)

    def _can_fit(self, rows: np.ndarray) -> bool:
        """Whether there is an image of every class: a map without one never names it."""
        every = np.arange(self._model.output_map.num_classes)
        return bool(np.isin(every, self._labels[rows]).all())

    def _fitted(self, rows: np.ndarray) -> Any:
        """The model's map, fitted on some of its answers."""
        own = self._model.output_map
        output_map = type(own).from_config(own.get_config())
        source = self._model.source
        output_map.attach(source.score_kind, source.score_step)
        if blocks := source.blocks(self._model.queries_per_prediction):
            output_map.attach_blocks(blocks)
        groups = None if self._groups is None else self._groups[rows]
        solver = map_solver(
            own, self._model.seed, validation_split=_VALIDATION_SPLIT, groups=groups
        )
        output_map.fit_answers(self._scores[rows], self._labels[rows], solver=solver)
        return output_map

    def _folds(self, rows: np.ndarray) -> list[np.ndarray]:
        """Bool `(m,)` each: parts of some rows that hold all classes and keep groups together."""
        positions = np.flatnonzero(rows)
        if not len(positions):
            return []
        groups = None if self._groups is None else self._groups[positions]
        number = np.full(len(rows), -1)
        number[positions] = fold_numbers(
            self._labels[positions], self._model.seed, groups, num_folds=_FOLDS
        )
        return [number == fold for fold in range(_FOLDS)]


def _read(output_map: Any, scores: np.ndarray) -> np.ndarray:
    parts = [scores[start : start + _ROWS] for start in range(0, len(scores), _ROWS)]
    read = [ops.convert_to_numpy(output_map(part)) for part in parts]
    return np.concatenate(read) if read else np.zeros((0, output_map.num_classes), np.float32)
