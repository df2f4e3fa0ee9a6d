"""AnswerSteps: training and test steps on answers of the source that were asked before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.answer_store import AnswerMemory
from keras_reprogram.query_bar import QueryBar
from keras_reprogram.query_estimates import QueryEstimates

# A batch of images is a tensor; one of answers is a mapping with this key. Keras's compiled
# functions keep the two apart, so that a callback may evaluate images in the midst of a `fit`.
ANSWERS = "answers"


class AnswerSteps(QueryEstimates):
    """Lets the steps of a model begin behind its source, where batches hold answers.

    Such a batch is `({"answers": (n, V, S)}, y[, sample_weight])`. Its steps ask nothing, and
    give map and regularisers the gradients that the model's step on the images would give.
    """

    @cached_property
    def answer_memory(self) -> AnswerMemory:
        """Answers of the last fit, which the next one may need again."""
        return AnswerMemory()

    def answers_to(
        self, batches: Iterable[np.ndarray], num_images: int, verbose: Any
    ) -> Iterator[np.ndarray]:
        """Asks the source once per image and view, under a bar of queries.

        Args:
            batches: images `(rows, h, w, c)` each, float32.
            num_images: in all batches.
            verbose: 0 for silence.

        Yields:
            Scores `(rows, V, S)`.
        """
        bar = QueryBar(self, num_images * self.queries_per_prediction, verbose)
        asked = self.asked_queries
        for images in batches:
            with self.counting(len(images) * self.queries_per_prediction):
                answer = np.asarray(self._answer_batch(tf.constant(images)))
            bar.update(self.asked_queries - asked)
            yield answer
        bar.finish()

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not isinstance(x, dict):
            return super().train_step(data)
        with self.after_batch(x[ANSWERS]):
            return self._train_on_answers(x[ANSWERS], y, sample_weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if not isinstance(x, dict):
            return super().test_step(data)
        answers = x[ANSWERS]
        probabilities = self.output_map(answers, training=False)
        loss = self.compute_loss(answers, y, probabilities, sample_weight, training=False)
        return self._step_results(answers, y, sample_weight, probabilities, loss)

    def _train_on_answers(self, answers: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
        self.output_map.observe(answers, y, sample_weight)
        variables = self.trainable_variables
        # The other two steps on images keep the map as it predicts.
        in_training = self.gradient_estimator is None and not self.output_map.observes
        with tf.GradientTape() as tape:
            probabilities = self.output_map(answers, training=in_training)
            loss = self.compute_loss(answers, y, probabilities, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        # A map that only follows its answers has no weights to train.
        if variables:
            # Keras variables crash with ZERO; their values do not. Weights of a program that
            # reach no pixel get the zeros that autodiff would give them.
            gradients = tape.gradient(
                scaled,
                [variable.value for variable in variables],
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            self.optimizer.apply(gradients, variables)
        return self._step_results(answers, y, sample_weight, probabilities, loss)
