"""A student that is a small network of the user's own, trained on soft labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_reprogram.fitting.validation import ValidationScore, validation_score
from keras_reprogram.fitting.weight_copy import WeightCopy
from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.output_map.label_map import MultiLabelMap
from keras_reprogram.source.frozen_source import FrozenSource
from keras_reprogram.student.local_model import local_model
from keras_reprogram.student.mixing import FEW, Choice, Targets, choose_mix

BATCH_SIZE = 32
# Batches of one training at most, and so many without a better loss on validation end it.
MOST_STEPS, PATIENCE_STEPS = 2_000, 400


class ShuffledRows(keras.utils.PyDataset):
    """Batches in an order drawn from `[seed, epoch]`, whatever the global state is.

    Args:
        arrays: images, targets and weights, of one length.
        seed: at least 0.
    """

    def __init__(self, arrays: Sequence[np.ndarray], seed: int) -> None:
        super().__init__()
        self._arrays, self._seed, self._epoch = arrays, seed, 0
        self._draw()

    def __len__(self) -> int:
        return -(-len(self._order) // BATCH_SIZE)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        rows = self._order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        return tuple(array[rows] for array in self._arrays)

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._draw()

    def _draw(self) -> None:
        random = np.random.default_rng([self._seed, self._epoch])
        self._order = random.permutation(len(self._arrays[0]))


@dataclass(frozen=True, eq=False)
class NetworkTrial:
    """A training on the training part.

    Args:
        score: of the best epoch, on the held-out images.
        steps: batches until then.
    """

    score: ValidationScore
    steps: int


class NetworkLearner:
    """Trains a network from its first weights, as often as needed.

    Args:
        teacher: the fitted model, whose task it is.
        network: `(n, h, w, c)` target images -> `(n, K)` probabilities; checked here.
        images: `(n, h, w, c)`.
        most_steps: batches of one training at most.
    """

    def __init__(
        self, teacher: Any, network: keras.Model, images: np.ndarray, *, most_steps: int
    ) -> None:
        _check(teacher, network)
        self._teacher, self._network, self._images = teacher, network, images
        self._most_steps = most_steps
        optimizer = getattr(network, "optimizer", None) or keras.optimizers.Adam(1e-3)
        # Compiled once, and traced once; XLA takes longer to compile than these networks to train.
        network.compile(optimizer, loss="categorical_crossentropy", jit_compile=False)
        optimizer.build(network.trainable_variables)
        # Variables, not weights: dropout draws the same numbers in every training.
        self._first = WeightCopy([*network.variables, *optimizer.variables])

    def baseline(
        self, labels: np.ndarray, held_out: np.ndarray
    ) -> tuple[ReprogrammedModel, ValidationScore]:
        """The network on the true labels alone.

        Args:
            labels: `(n,)`, -1 where unknown.
            held_out: positions of labelled images.
        """
        rows = np.flatnonzero(labels >= 0)
        targets = np.eye(self._teacher.output_map.num_classes, dtype=np.float32)[labels[rows]]
        weight = np.ones(len(rows))
        trial = self._trial(rows, targets, weight, np.searchsorted(rows, held_out))
        self._train_all(rows, targets, weight, trial.steps)
        copy = keras.models.clone_model(self._network)
        copy.set_weights(self._network.get_weights())
        return self._as_model(copy), trial.score

    def student(self, targets: Targets, rows: np.ndarray) -> tuple[ReprogrammedModel, Choice]:
        """The network on true and soft labels of some rows, mixed as validation chooses."""
        choice = choose_mix(
            targets, FEW, lambda soft, weight: self._trial(rows, soft, weight, targets.held_out)
        )
        self._train_all(rows, *targets.for_fit(choice.mix), choice.trial.steps)
        return self._as_model(self._network), choice

    def _trial(
        self, rows: np.ndarray, targets: np.ndarray, weight: np.ndarray, held_out: np.ndarray
    ) -> NetworkTrial:
        """Trains until the held-out rows are read no better; their numbers are among `rows`."""
        train = np.setdiff1d(np.arange(len(rows)), held_out)
        shown = self._images[rows[held_out]]
        data = self._start(rows[train], targets[train], weight[train])
        stop = keras.callbacks.EarlyStopping(
            patience=max(1, round(PATIENCE_STEPS / len(data))), restore_best_weights=True
        )
        self._network.fit(
            data,
            epochs=max(1, round(self._most_steps / len(data))),
            validation_data=(shown, targets[held_out]),
            callbacks=[stop],
            verbose=0,
        )
        probabilities = self._network.predict(shown, verbose=0)
        score = validation_score(probabilities, targets[held_out].argmax(axis=1))
        return NetworkTrial(score, (stop.best_epoch + 1) * len(data))

    def _train_all(
        self, rows: np.ndarray, targets: np.ndarray, weight: np.ndarray, steps: int
    ) -> None:
        """Trains on all rows, the held-out ones too, for as many batches as a trial chose."""
        data = self._start(rows, targets, weight)
        self._network.fit(data, epochs=max(1, round(steps / len(data))), verbose=0)

    def _start(self, rows: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> ShuffledRows:
        self._first.restore()
        arrays = self._images[rows], targets, weight.astype(np.float32)
        return ShuffledRows(arrays, self._teacher.seed)

    def _as_model(self, network: keras.Model) -> ReprogrammedModel:
        """The network as a source whose labels are the classes, so that every export takes it."""
        teacher, num_classes = self._teacher, self._teacher.output_map.num_classes
        source = FrozenSource(
            network, value_range=teacher.program.target_range, score_kind="probabilities"
        )
        table = [[number] for number in range(num_classes)]
        output_map = MultiLabelMap(num_classes, assignment="self-defined", label_table=table)
        return local_model(teacher, source, output_map)


def _check(teacher: Any, network: keras.Model) -> None:
    """Refuses networks that cannot learn the task."""
    shape, num_classes = tuple(teacher.program.target_shape), teacher.output_map.num_classes
    expected = (
        "A student network takes the task's images and gives a probability of each class: "
        f"(n, {', '.join(map(str, shape))}) -> (n, {num_classes})."
    )
    if not getattr(network, "inputs", None):
        raise ValueError(
            f"{expected} Received: {type(network).__name__}, which is no functional or Sequential "
            f"model with an input shape. Build it from `keras.Input({shape})`."
        )
    given = network.input_shape, network.output_shape
    if given != ((None, *shape), (None, num_classes)):
        raise ValueError(
            f"{expected} Received: {given[0]} -> {given[1]}. Build it from `keras.Input({shape})`, "
            f'and end it with `keras.layers.Dense({num_classes}, activation="softmax")`.'
        )
    low, high = teacher.program.target_range
    answer = network(np.full((1, *shape), (low + high) / 2, np.float32), training=False)
    total = float(np.sum(keras.ops.convert_to_numpy(answer)))
    if not np.isclose(total, 1.0, atol=1e-3):
        raise ValueError(
            f"{expected} Received: an answer that sums to {total:.4g}. End it with "
            '`activation="softmax"`.'
        )
    if not network.trainable_variables:
        raise ValueError(
            f"{expected} Received: a network without trainable weights. Set `trainable = True` on "
            "what should learn; a frozen network is a `FrozenSource`, which gets a new head."
        )
