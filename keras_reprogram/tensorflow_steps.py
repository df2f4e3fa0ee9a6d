"""TensorFlowSteps: the training steps that count queries and may estimate gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_reprogram.program.candidate_images import (
    candidate_images,
    flat_value,
    live_coordinates,
    unflatten,
)
from keras_reprogram.split_calls import split_calls
from keras_reprogram.training.row_losses import row_loss

# Of one call, where a source names no limit; sums of two such numbers still fit 32 bits.
_MOST_IMAGES = 2**30


class _FirstCandidateError(Exception):
    """Ends an estimate that is wanted for its first question only."""


class TensorFlowSteps(keras.Model):
    """What `ReprogrammedModel` adds to Keras's own steps on the TensorFlow backend.

    A model whose source is differentiable and that has no estimator takes Keras's own step; if
    its map observes, the same step, which shows it the answers too. Otherwise one clean pass asks
    the source and holds its answer constant: everything after it and the regularisers get exact
    gradients from one tape, and the program gets the estimate.
    """

    def prepare_steps(self) -> None:
        """Makes the state of the steps. Called once, after the layers are set."""
        # TensorFlow's own variable, which a step in a graph can add to: Keras would save it,
        # and hand it to optimizers and `stateless_call`.
        self._graph_queries = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._python_queries = 0
        self._asked_queries = 0
        self._gradient_found = False
        self._direction_seed = keras.random.SeedGenerator(self.seed)
        if self.gradient_estimator is not None:
            # The loop over slices has rows of unknown number, which XLA does not compile.
            self.supports_jit = False
        self.prepare_live_coordinates()

    def prepare_live_coordinates(self) -> None:
        """Finds the weights that reach a pixel; again after every change of the views."""
        self._live = live_coordinates(self.program)
        if self.gradient_estimator is not None:
            self.gradient_estimator.attach(self._live)

    def add_queries(self, used: int, asked: int) -> None:
        """Counts queries of another model that were asked on this model's behalf."""
        self._python_queries += used
        self._asked_queries += asked

    @property
    def counted_queries(self) -> int:
        """Image queries of all steps so far."""
        return self._python_queries + int(self._graph_queries.numpy())

    @property
    def asked_queries(self) -> int:
        """Image queries put to the source so far, those that a ledger answered included.

        Equal in an interrupted, resumed run and an uninterrupted one, which `queries_used` is not.
        """
        return self._asked_queries + int(self._graph_queries.numpy())

    @property
    def run_eagerly(self) -> bool:
        """Always true for sources that run as Python code."""
        return not self.source.in_graph or super().run_eagerly

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        keras.Model.run_eagerly.fset(self, value)

    @property
    def steps_taken(self) -> Any:
        """Training steps so far, also where the optimizer updates at every k-th step only."""
        if self.optimizer.gradient_accumulation_steps:
            return self.optimizer.variables[0]
        return self.optimizer.iterations

    @property
    def metrics(self) -> list[Any]:
        """The model's own metrics, and those of layers in program and map.

        Keras leaves out what a network was compiled with where it is a layer of the model, but not
        where it is a layer inside one, as in a source and in a `DecoderProgram`.
        """
        inside = self._flatten_layers(include_self=False)
        networks = [layer for layer in inside if isinstance(layer, keras.Model)]
        theirs = [metric for network in networks for metric in network.metrics]
        theirs += keras.layers.Layer.metrics.fget(self.source)
        others = {id(metric) for metric in theirs}
        return [metric for metric in super().metrics if id(metric) not in others]

    @property
    def has_strategy(self) -> bool:
        """Whether Keras's steps run under a `tf.distribute` strategy, be it of one device."""
        return self._distribute_strategy is not None or tf.distribute.has_strategy()

    def check_replicas(self) -> None:
        """Refuses to train or ask on several devices at once.

        Raises:
            ValueError: under a `tf.distribute` strategy of several replicas.
        """
        # The model's own where it was made in a scope, else that of the scope it is asked in.
        for strategy in (self.distribute_strategy, tf.distribute.get_strategy()):
            if strategy.num_replicas_in_sync > 1:
                raise ValueError(
                    "A ReprogrammedModel runs on one device: on several its queries would be "
                    "counted for one of them, and epochs after the first would get no batch. "
                    f"Received: a {type(strategy).__name__} of {strategy.num_replicas_in_sync} "
                    "replicas. Build and use the model outside of `strategy.scope()`, or in that "
                    "of a strategy of one device, such as `tf.distribute.OneDeviceStrategy`."
                )

    def check_gradient(self) -> None:
        """Refuses white-box training where no slope can reach the program, which would stand still.

        Raises:
            ValueError: if the source claims a gradient that it does not have.
        """
        trained = self.trainable and self.program.trainable_variables and self._live.any()
        if self.gradient_estimator is not None or not trained or self._gradient_found:
            return
        low, high = self.source.value_range
        shape = (1, 1, *self.source.source_shape)
        images = tf.random.stateless_uniform(shape, (0, 0), minval=low, maxval=high)
        with tf.GradientTape() as tape:
            tape.watch(images)
            scores = self.source(images)
        if tape.gradient(scores, images) is None:
            raise ValueError(
                "White-box training needs a gradient from the scores to the source's images. "
                f"Received: a {type(self.source).__name__} with a step that has none, such as a "
                "cast to integers, rounding or argmax. Estimate it from queries: "
                "`ReprogrammedModel(..., gradient_estimator=RandomDirections())`, or `--opaque`."
            )
        self._gradient_found = True

    @contextmanager
    def counting(self, num_images: Any) -> Iterator[None]:
        """Counts what the source is asked inside: itself if it can, else the declared number."""
        self.check_replicas()
        if self.source.in_graph:
            self._graph_queries.assign_add(tf.cast(num_images, tf.int64))
            yield
            return
        before = self.source.queries_used
        self._asked_queries += int(num_images)
        try:
            yield
        finally:
            self._python_queries += self.source.queries_used - before

    def check_batch(self, x: Any) -> None:
        """A batch that a source in Python is about to be asked about: it may charge for it."""
        if not self.source.in_graph:
            self.data_checks.images(x)

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.check_batch(x)
        cost = tf.shape(x)[0] * self.queries_per_prediction
        if self.estimates:
            cost = cost * (1 + self.gradient_estimator.queries_per_image)
        with self.after_batch(x), self.counting(cost):
            if self.gradient_estimator is not None:
                return self._estimated_step(x, y, sample_weight)
            if self.output_map.observes:
                return self._observed_step(x, y, sample_weight)
            return super().train_step(data)

    @contextmanager
    def after_batch(self, batch: Any) -> Iterator[None]:
        """Lets a training step begin when its batch is there.

        Where data end unannounced, a last step without a batch is tried. In a graph it would
        still advance the optimizer's counter, and with it a resumed run's order and directions.
        """
        if self.jit_compile:
            # A function that XLA compiles runs when it has all its arguments, the batch among
            # them; in it Keras could not make the variables of optimizer and metrics under a
            # condition.
            yield
            return
        with tf.control_dependencies([batch]):
            yield

    def test_step(self, data: Any) -> dict[str, Any]:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.check_batch(x)
        with self.counting(tf.shape(x)[0] * self.queries_per_prediction):
            return super().test_step(data)

    def predict_step(self, data: Any) -> Any:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.check_batch(x)
        with self.counting(tf.shape(x)[0] * self.queries_per_prediction):
            return super().predict_step(data)

    def get_metrics_result(self) -> dict[str, Any]:
        # A run that was killed at the end of an epoch resumes with none of its batches left.
        if not all(getattr(metric, "built", True) for metric in self.metrics):
            return {}
        return super().get_metrics_result()

    def source_scores(self, x: Any) -> Any:
        """The source's answers to target images, `(n, V, S)`, at most `max_batch` at once."""
        x = tf.convert_to_tensor(x)
        num_scores = (self.queries_per_prediction, self.source.num_labels)

        def scores(start: Any, stop: Any) -> Any:
            return self.answers_of(self.program(x[start:stop]))

        return split_calls(scores, tf.shape(x)[0], self._rows_per_call, num_scores)

    @property
    def _rows_per_call(self) -> int:
        limit = self.source.max_batch or _MOST_IMAGES
        return max(1, limit // self.queries_per_prediction)

    def answers_of(self, source_images: Any) -> Any:
        """Answers to `(n, V, H, W, C)`, by groups of views where one image has too many."""
        limit = self.source.max_batch or self.queries_per_prediction
        if limit >= self.queries_per_prediction:
            return self.source(source_images)
        starts = range(0, self.queries_per_prediction, limit)
        parts = [self.source(source_images[:, start : start + limit]) for start in starts]
        return tf.concat(parts, axis=1)

    @property
    def estimates(self) -> bool:
        """Whether `fit` estimates: a program that reaches no pixel asks no questions."""
        if self.gradient_estimator is None:
            return False
        return bool(self.program.trainable_variables) and bool(self._live.any())

    def _observed_step(self, x: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            scores = self.source(self.program(x, training=True))
            probabilities = self.output_map(scores)
            loss = self.compute_loss(x, y, probabilities, sample_weight, training=True)
            scaled = self.optimizer.scale_loss(loss)
        self.output_map.observe(scores, y, sample_weight)
        # A program that stands still leaves the map to follow the data.
        if variables:
            gradients = tape.gradient(scaled, variables)
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self._step_results(x, y, sample_weight, probabilities, loss)

    def _step_results(
        self, x: Any, y: Any, sample_weight: Any, probabilities: Any, loss: Any
    ) -> dict[str, Any]:
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=tf.shape(x)[0])
        return self.compute_metrics(x, y, probabilities, sample_weight=sample_weight)

    def _estimated_step(self, x: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
        return self.step_on_answers(self.source_scores(x), x, y, sample_weight)

    def step_on_answers(
        self, scores: Any, x: Any, y: Any, sample_weight: Any, variables: Any = None
    ) -> dict[str, Any]:
        """One estimated step from clean answers `(n, V, S)` that were asked already.

        Args:
            scores: `(n, V, S)`.
            x: images.
            y: labels.
            sample_weight: `(n,)` or `None`.
            variables: what is trained; `None` for all that is trainable.
        """
        scores = tf.stop_gradient(scores)
        self.output_map.observe(scores, y, sample_weight)
        variables = self.trainable_variables if variables is None else variables
        with tf.GradientTape() as tape:
            probabilities = self.output_map(scores)
            loss = self.compute_loss(x, y, probabilities, sample_weight, training=True)
            # What an optimizer for low precision multiplies, it divides again in `apply`.
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(
            scaled,
            # Keras variables crash with ZERO; their values do not.
            [variable.value for variable in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        if self.estimates:
            estimated = self._estimate(x, y, sample_weight, scores, probabilities)
            gradients = _add_by_identity(
                variables, gradients, self.program.trainable_variables, estimated
            )
        self.optimizer.apply(gradients, variables)
        return self._step_results(x, y, sample_weight, probabilities, loss)

    def _estimate(
        self, x: Any, y: Any, sample_weight: Any, scores: Any, probabilities: Any
    ) -> list[Any]:
        self._draw_directions()
        weighted = self._weighted_rows(sample_weight)
        clean = weighted(y, probabilities, slice(None))
        gradient = self.gradient_estimator.estimate(
            self._candidate_losses(x, self._loss_of_answers(y, weighted, scores, clean)),
            flat_value(self.program),
            clean,
            self._live,
            self._direction_seed,
        )
        return unflatten(self.program, self.optimizer.scale_loss(gradient))

    def _draw_directions(self) -> None:
        """Sets what the estimator draws from, by the step: a resumed run asks the same again."""
        step = self.steps_taken if self.compiled else 0
        self._direction_seed.state.assign(
            tf.stack([tf.cast(self.seed, tf.uint32), tf.cast(step, tf.uint32)])
        )

    def first_candidate(self) -> Any:
        """The first weights that the estimator will ask about in the next step, `(1, size)`."""

        def stop(candidates: Any) -> Any:
            raise _FirstCandidateError(candidates[0, :1])

        self._draw_directions()
        nothing = tf.zeros((1,))
        try:
            self.gradient_estimator.estimate(
                stop, flat_value(self.program), nothing, self._live, self._direction_seed
            )
        except _FirstCandidateError as found:
            return found.args[0]
        raise ValueError(
            f"{type(self.gradient_estimator).__name__} must call `losses`. Received: an estimate "
            "that asked nothing."
        )

    def _weighted_rows(self, sample_weight: Any) -> Callable[[Any, Any, Any], Any]:
        """`(labels, probabilities, rows)` -> what each row adds to the mean loss, times n."""
        unweighted = row_loss(self.loss)

        def rows_of(labels: Any, probabilities: Any) -> Any:
            # Keras's losses cast like this, and users' own may count on it.
            return unweighted(tf.cast(labels, probabilities.dtype), probabilities)

        if sample_weight is None:
            return lambda labels, probabilities, rows: rows_of(labels, probabilities)
        weight = tf.cast(tf.reshape(sample_weight, (-1,)), tf.float32)
        if getattr(self.loss, "reduction", None) == "mean_with_sample_weight":
            weight = weight / tf.maximum(tf.reduce_mean(weight), 1e-12)

        def weighted(labels: Any, probabilities: Any, rows: Any) -> Any:
            chosen = weight if isinstance(rows, slice) else tf.gather(weight, rows)
            return chosen * rows_of(labels, probabilities)

        return weighted

    def _loss_of_answers(
        self, y: Any, weighted: Callable, scores: Any, clean: Any
    ) -> Callable[[Any, Any], Any]:
        """`(answers, rows)` -> losses, exact or linear in the scores around the clean ones."""
        if self.gradient_estimator.differences == "loss":
            return lambda answers, rows: weighted(
                tf.gather(y, rows), self.output_map(answers), rows
            )
        with tf.GradientTape() as tape:
            tape.watch(scores)
            rows_losses = weighted(y, self.output_map(scores), slice(None))
        # A row's loss depends on its own scores only, so the sum's gradient is every row's own.
        slopes = tape.gradient(
            rows_losses, scores, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

        def linear(answers: Any, rows: Any) -> Any:
            moved = answers - tf.gather(scores, rows)
            return tf.gather(clean, rows) + tf.reduce_sum(
                tf.gather(slopes, rows) * moved, axis=(1, 2)
            )

        return linear

    def _candidate_losses(self, x: Any, loss_of_answers: Callable) -> Callable[[Any], Any]:
        x = tf.convert_to_tensor(x)

        def losses(candidates: Any) -> Any:
            batch = tf.shape(x)[0]
            number, per_image = tf.shape(candidates)[0], candidates.shape[1] != 1

            def some(start: Any, stop: Any) -> Any:
                pairs = tf.range(start, stop)
                candidate, row = pairs // batch, pairs % batch
                # One candidate for all images is stored once, and one image needs no second.
                column = row if per_image else tf.zeros_like(row)
                values = tf.gather_nd(candidates, tf.stack([candidate, column], axis=1))
                images = candidate_images(self.program, tf.gather(x, row), values)
                return loss_of_answers(self.answers_of(images), row)

            flat = split_calls(some, number * batch, self._rows_per_call, ())
            return tf.reshape(flat, (number, batch))

        return losses


def _add_by_identity(
    variables: list[Any], gradients: list[Any], estimated_for: list[Any], estimates: list[Any]
) -> list[Any]:
    """Adds estimates to the exact gradients (of regularisers) of the same variables."""
    extra = {id(v): estimate for v, estimate in zip(estimated_for, estimates, strict=True)}
    return [
        gradient + extra[id(variable)] if id(variable) in extra else gradient
        for variable, gradient in zip(variables, gradients, strict=True)
    ]
