"""TrainSteps: a model's training, test and prediction steps, with exact or estimated gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.asking.answer_cache import ANSWERS
from keras_reprogram.asking.asker import split_calls
from keras_reprogram.asking.strategy import has_several_workers, in_replica
from keras_reprogram.estimators.gradient_estimator import row_loss
from keras_reprogram.model.draws import (
    check_draws,
    gradient_of_draws,
    row_weights,
    seed_random_layers,
    warn_of_no_draws,
)
from keras_reprogram.model.replicas import ReplicaSeed, replica_share
from keras_reprogram.program.program import flat_value, unflatten


class _FirstCandidateError(Exception):
    """Stops an estimate after its first candidate."""


class TrainSteps:
    """The training, test and prediction steps of a `ReprogrammedModel`, for TensorFlow.

    A model whose source is differentiable and that has no estimator takes Keras's own step,
    unless its map observes the scores. Every other step is `learn`, from clean scores: a batch of
    images is asked about, or holds stored answers and asks nothing.

    Args:
        model: a `ReprogrammedModel`.
        direction_seed: a `SeedGenerator` of the model, set anew for each step.
    """

    def __init__(self, model: Any, direction_seed: keras.random.SeedGenerator) -> None:
        self.model, self._direction_seed = model, direction_seed
        self._gradient_found = False
        warn_of_no_draws(model.gradient_estimator, model.program)
        self.use_views()

    def use_views(self) -> None:
        """Finds the weights that reach a pixel; called after every change of views."""
        self.active = np.asarray(self.model.program.live_coordinates(), bool)
        model = self.model
        check_draws(model.gradient_estimator, model.program, model.output_map)
        if self.model.gradient_estimator is not None:
            self.model.gradient_estimator.attach(self.active)

    @property
    def estimates(self) -> bool:
        """Whether `fit` estimates gradients: some weight of the program reaches a pixel."""
        if self.model.gradient_estimator is None:
            return False
        return bool(self.model.program.trainable_variables) and bool(self.active.any())

    @property
    def taken(self) -> Any:
        """Training steps so far, including those that accumulate gradients."""
        optimizer = self.model.optimizer
        if optimizer.gradient_accumulation_steps:
            return optimizer.variables[0]
        return optimizer.iterations

    def check_gradient(self) -> None:
        """Refuses white-box training if no gradient can reach the program.

        Raises:
            ValueError: if the source claims a gradient that it does not have.
        """
        model = self.model
        trained = model.trainable and model.program.trainable_variables and self.active.any()
        if model.gradient_estimator is not None or not trained or self._gradient_found:
            return
        low, high = model.source.probe_range
        shape = (1, 1, *model.source.source_shape)
        images = tf.random.stateless_uniform(shape, (0, 0), minval=low, maxval=high)
        with tf.GradientTape() as tape:
            tape.watch(images)
            scores = model.source(images)
        if tape.gradient(scores, images) is None:
            raise ValueError(
                "White-box training needs a gradient from the scores to the source's images. "
                f"Received: a {type(model.source).__name__} with a step that has none, such as a "
                "cast to integers, rounding or argmax. Estimate it from queries: "
                "`ReprogrammedModel(..., gradient_estimator=RandomDirections())`, or `--opaque`."
            )
        self._gradient_found = True

    # === What Keras calls ===

    def train(self, data: Any, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """A training step; `plain` is Keras's own."""
        model = self.model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(x, dict):
            answers = x[ANSWERS]
            # The other two steps on images keep the map as it predicts.
            as_keras = model.gradient_estimator is None and not model.output_map.observes
            with self._after(answers):
                self._seed_random_layers()
                return self.learn(lambda: answers, answers, y, sample_weight, training=as_keras)
        self._check_batch(x)
        rows = tf.shape(x)[0]
        if self.estimates:
            rows = rows * (1 + model.gradient_estimator.queries_per_image)
        with self._after(x), model.asker.counting(rows):
            self._seed_random_layers()
            if model.gradient_estimator is not None:
                drawn = self._drawn(x)
                scores = model.asker.scores_of(x, drawn)
                clean = lambda: tf.stop_gradient(scores)  # noqa: E731
                logs = self.learn(clean, x, y, sample_weight, drawn=drawn)
            elif model.output_map.observes or in_replica():
                # Keras's own step weighs replicas alike, whatever their number of images.
                clean = lambda: model.source(model.program(x, training=True))  # noqa: E731
                training = None if model.output_map.observes else True
                logs = self.learn(clean, x, y, sample_weight, training=training)
            else:
                logs = plain(data)
        return self._as_keras_reduces(logs)

    def test(self, data: Any, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """A test step; `plain` is Keras's own."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(x, dict):
            model, answers = self.model, x[ANSWERS]
            probabilities = model.output_map(answers, training=False)
            loss = model.compute_loss(answers, y, probabilities, sample_weight, training=False)
            return self._results(answers, y, sample_weight, probabilities, loss)
        self._check_batch(x)
        with self.model.asker.counting(tf.shape(x)[0]):
            return self._as_keras_reduces(plain(data))

    def predict(self, data: Any, plain: Callable[[Any], Any]) -> Any:
        """A step of `predict`; `plain` is Keras's own."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        self._check_batch(x)
        with self.model.asker.counting(tf.shape(x)[0]):
            return plain(data)

    def _as_keras_reduces(self, logs: dict[str, Any]) -> dict[str, Any]:
        """A step's logs, in the shape in which Keras averages them over workers."""
        # Keras 3.15 reduces them along their first axis, which scalars do not have.
        if not (in_replica() and has_several_workers(self.model.distribute_strategy)):
            return logs
        return {name: tf.reshape(value, (1,)) for name, value in logs.items()}

    def _check_batch(self, x: Any) -> None:
        """Checks a batch before a Python source is asked: it may charge for it."""
        if not self.model.source.in_graph:
            self.model.data_checks.images(x)

    @contextmanager
    def _after(self, batch: Any) -> Iterator[None]:
        """Delays a training step until its batch has arrived.

        Where data end unannounced, a last step without a batch is tried. In a graph it would
        still advance the optimizer's counter, and with it a resumed run's order and directions.
        """
        if self.model.jit_compile:
            # A function that XLA compiles runs once all its arguments are there, the batch among
            # them; inside it Keras could not create the variables of optimizer and metrics under a
            # condition.
            yield
            return
        with tf.control_dependencies([batch]):
            yield

    # === The step ===

    def learn(
        self,
        scores_of_batch: Callable[[], Any],
        x: Any,
        y: Any,
        sample_weight: Any,
        *,
        variables: list[Any] | None = None,
        training: bool | None = None,
        drawn: Any = None,
    ) -> dict[str, Any]:
        """One step from clean scores `(n, V, S)`.

        Map and regularisers get exact gradients from one tape. The program gets one too where its
        scores are computed on that tape, and an estimate where the model estimates.

        Args:
            scores_of_batch: gives the scores.
            x: the batch's images, or its stored answers.
            y: labels.
            sample_weight: `(n,)` or `None`.
            variables: what is trained; `None` for all that is trainable.
            training: of the map's call.
            drawn: the source images that these scores answer, where the program drew them.
        """
        model = self.model
        variables = model.trainable_variables if variables is None else variables
        share = replica_share(tf.shape(x)[0]) if in_replica() else None
        with tf.GradientTape() as tape:
            scores = scores_of_batch()
            probabilities = model.output_map(scores, training=training)
            loss = model.compute_loss(x, y, probabilities, sample_weight, training=True)
            # What an optimizer for low precision multiplies, it divides again in `apply`.
            scaled = model.optimizer.scale_loss(loss)
            if share is not None:
                # Keras's losses are divided by the number of replicas, and `apply` adds gradients.
                scaled = scaled * share * model.distribute_strategy.num_replicas_in_sync
        model.output_map.observe(scores, y, sample_weight)
        # A map that only follows its answers has no weights to train.
        if variables:
            # Keras variables fail with ZERO; their values do not. Program weights that reach no
            # pixel get zeros, as from autodiff.
            gradients = tape.gradient(
                scaled,
                [variable.value for variable in variables],
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            if self.estimates:
                estimated = self._estimate(x, y, sample_weight, scores, probabilities, share, drawn)
                gradients = _add_by_identity(
                    variables, gradients, model.program.trainable_variables, estimated
                )
            model.optimizer.apply(gradients, variables)
        return self._results(x, y, sample_weight, probabilities, loss)

    def _results(
        self, x: Any, y: Any, sample_weight: Any, probabilities: Any, loss: Any
    ) -> dict[str, Any]:
        if in_replica():
            loss = loss * self.model.distribute_strategy.num_replicas_in_sync
        for metric in self.model.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=tf.shape(x)[0])
        return self.model.compute_metrics(x, y, probabilities, sample_weight=sample_weight)

    # === The estimate ===

    def _estimate(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        scores: Any,
        probabilities: Any,
        share: Any,
        drawn: Any = None,
    ) -> list[Any]:
        weighted = self._weighted_rows(sample_weight)
        clean = weighted(y, probabilities, slice(None))
        if drawn is not None:
            weights = row_weights(
                self.model.gradient_estimator, clean, y, probabilities, sample_weight
            )
            gradient = gradient_of_draws(self.model, x, drawn, weights, self.taken)
        else:
            gradient = self.model.gradient_estimator.estimate(
                self._candidate_losses(x, self._loss_of_answers(y, weighted, scores, clean)),
                flat_value(self.model.program),
                clean,
                self.active,
                self._draw_directions(),
            )
        if share is not None:
            # A replica without images has estimated nothing, 0 / 0.
            gradient = tf.where(share > 0, gradient * share, tf.zeros_like(gradient))
        return unflatten(self.model.program, self.model.optimizer.scale_loss(gradient))

    def _drawn(self, x: Any) -> Any:
        """Source images that the program draws for an estimator that learns from draws."""
        if not (self.estimates and self.model.gradient_estimator.draws):
            return None
        return self.model.program.draw(x, self._draw_directions())

    def _seed_random_layers(self) -> None:
        """Lets random layers of program and map draw from the step number, as directions are."""
        seed_random_layers((self.model.program, self.model.output_map), self._seed_and_step())

    def _seed_and_step(self) -> Any:
        """`[seed, step]`, the seed that of this replica."""
        step = self.taken if self.model.compiled else 0
        if in_replica():
            return ReplicaSeed(self.model.seed, step).state
        return tf.stack([tf.cast(self.model.seed, tf.uint32), tf.cast(step, tf.uint32)])

    def _draw_directions(self) -> keras.random.SeedGenerator:
        """The estimator's seed, from the step number, so that resumed runs repeat its draws."""
        if in_replica():
            return ReplicaSeed(self.model.seed, self.taken)
        self._direction_seed.state.assign(self._seed_and_step())
        return self._direction_seed

    def first_candidate(self) -> Any:
        """The first candidate weights of the next step's estimate, `(1, size)`."""

        def stop(candidates: Any) -> Any:
            raise _FirstCandidateError(candidates[0, :1])

        seed = self._draw_directions()
        nothing = tf.zeros((1,))
        try:
            self.model.gradient_estimator.estimate(
                stop, flat_value(self.model.program), nothing, self.active, seed
            )
        except _FirstCandidateError as found:
            return found.args[0]
        raise ValueError(
            f"{type(self.model.gradient_estimator).__name__} must call `losses`. Received: an "
            "estimate that asked nothing."
        )

    def _weighted_rows(self, sample_weight: Any) -> Callable[[Any, Any, Any], Any]:
        """`(labels, probabilities, rows)` -> what each row adds to the mean loss, times n."""
        unweighted = row_loss(self.model.loss)

        def rows_of(labels: Any, probabilities: Any) -> Any:
            # Keras's losses cast like this, and users' own may count on it.
            return unweighted(tf.cast(labels, probabilities.dtype), probabilities)

        if sample_weight is None:
            return lambda labels, probabilities, rows: rows_of(labels, probabilities)
        weight = tf.cast(tf.reshape(sample_weight, (-1,)), tf.float32)
        if getattr(self.model.loss, "reduction", None) == "mean_with_sample_weight":
            weight = weight / tf.maximum(tf.reduce_mean(weight), 1e-12)

        def weighted(labels: Any, probabilities: Any, rows: Any) -> Any:
            chosen = weight if isinstance(rows, slice) else tf.gather(weight, rows)
            return chosen * rows_of(labels, probabilities)

        return weighted

    def _loss_of_answers(
        self, y: Any, weighted: Callable, scores: Any, clean: Any
    ) -> Callable[[Any, Any], Any]:
        """`(answers, rows)` -> losses, exact or linear in the scores around the clean ones."""
        if self.model.gradient_estimator.differences == "loss":
            return lambda answers, rows: weighted(
                tf.gather(y, rows), self.model.output_map(answers), rows
            )
        with tf.GradientTape() as tape:
            tape.watch(scores)
            rows_losses = weighted(y, self.model.output_map(scores), slice(None))
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
        x, source = tf.convert_to_tensor(x), self.model.source
        # The same for all candidates.
        beside = None if source.beside is None else source.beside(x)

        def losses(candidates: Any) -> Any:
            batch = tf.shape(x)[0]
            number, per_image = tf.shape(candidates)[0], candidates.shape[1] != 1

            def some(start: Any, stop: Any) -> Any:
                pairs = tf.range(start, stop)
                candidate, row = pairs // batch, pairs % batch
                # One candidate for all images is stored once, and one image needs no second.
                column = row if per_image else tf.zeros_like(row)
                values = tf.gather_nd(candidates, tf.stack([candidate, column], axis=1))
                images = self.model.program.transform(tf.gather(x, row), values)
                scores = self.model.asker.answer(images)
                near = None if beside is None else tf.gather(beside, row)
                return loss_of_answers(source.join(scores, near), row)

            flat = split_calls(some, number * batch, self.model.asker.rows_per_call, ())
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
