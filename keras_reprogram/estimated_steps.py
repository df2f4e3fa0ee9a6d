"""EstimatedSteps: epochs of estimated steps for the program alone, their answers handed out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.labelled_images import LabelledImages

_BATCH_SIZE = 32
_LEARNING_RATE = 0.02


class EstimatedSteps:
    """Steps of a model's program by its estimator, while the output map stands still.

    Args:
        model: a `ReprogrammedModel` with an estimator; compiled here if it was not.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        if not model.compiled:
            optimizer = keras.optimizers.Adam(_LEARNING_RATE)
            model.compile(optimizer, loss="sparse_categorical_crossentropy")
        # Before the first step, so that no variable is made inside a graph.
        model.optimizer.build(model.trainable_variables)
        self._step = self._compiled()

    def epoch(self, part: LabelledImages, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """One pass over the images, in an order drawn from the model's seed and the epoch.

        Args:
            part: what is learned from.
            epoch: its number.

        Yields:
            Rows of a batch, and the clean answers `(rows, V, S)` that its step asked.
        """
        model = self.model
        order = np.random.default_rng([model.seed, epoch]).permutation(len(part))
        cost = model.queries_per_prediction * (1 + model.gradient_estimator.queries_per_image)
        for start in range(0, len(order), _BATCH_SIZE):
            rows = order[start : start + _BATCH_SIZE]
            batch = part.take(rows)
            weight = np.ones(len(rows)) if batch.weight is None else batch.weight
            with model.counting(len(rows) * cost):
                answers = self._step(
                    tf.constant(batch.images, tf.float32),
                    tf.constant(batch.targets),
                    tf.constant(weight, tf.float32),
                )
            yield rows, np.asarray(answers)

    def _compiled(self) -> Callable[[Any, Any, Any], Any]:
        model, variables = self.model, self.model.program.trainable_variables

        def one(images: Any, targets: Any, weight: Any) -> Any:
            scores = model.source_scores(images)
            model.step_on_answers(scores, images, targets, weight, variables)
            return scores

        def step(*batch: Any) -> Any:
            # As Keras's own steps do, for a strategy of one device.
            return model.distribute_strategy.run(one, args=batch)

        if not model.source.in_graph:
            return step
        return tf.function(step, autograph=False, reduce_retracing=True)
