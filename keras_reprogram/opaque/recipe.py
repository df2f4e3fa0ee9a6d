"""OpaqueRecipe: exact map, then views, then estimated steps, within a budget of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.asking.data import LabelledImages, joined
from keras_reprogram.fitting.validation import validation_score
from keras_reprogram.fitting.view_selection import READINGS, solve_views
from keras_reprogram.opaque.plan import OpaquePlan
from keras_reprogram.opaque.result import OpaqueFit, OpaqueStage
from keras_reprogram.opaque.step_check import warn_if_steps_drown
from keras_reprogram.opaque.views import draw_pool, pool_answers, view_pool
from keras_reprogram.program.placement import Placement
from keras_reprogram.source.errors import BudgetSpentError

# Epochs without a better validation loss after which steps are given up.
_PATIENCE = 2


class OpaqueRecipe:
    """One run of `ReprogrammedModel.fit_opaque`.

    Args:
        model: a `ReprogrammedModel`.
        plan: what is asked.
        train: what may be learned from.
        validation: what decides, and is asked within the budget too.
        refit_on_all: whether validation images are ours to learn from in the end.
        query_budget: image queries that may be asked.
        batch_size: images at once.
        progress: called with the number of queries asked so far, often.
    """

    def __init__(
        self,
        model: Any,
        plan: OpaquePlan,
        train: LabelledImages,
        validation: LabelledImages,
        *,
        refit_on_all: bool,
        query_budget: int,
        batch_size: int,
        progress: Callable[[int], None],
    ) -> None:
        self.model, self.plan = model, plan
        self.train, self.validation = train, validation
        self.refit_on_all, self.batch_size = refit_on_all, batch_size
        self.views = plan.num_views
        self.start, self.used_before = self._counted, model.queries_used
        self.fit = OpaqueFit(query_budget, num_images=len(train) + len(validation))
        self.progress = progress

    def run(self) -> OpaqueFit:
        """The whole recipe."""
        self.best_loss, self.best_error = np.inf, 1.0
        with self._undone_if_it_fails():
            self.fit.views = self._choose_views()
            self.train_answers = self._ask(self.train)
            self.validation_answers = self._ask(self.validation)
            self._try("map")
        try:
            self._take_steps()
        except BudgetSpentError:
            # The source's own budget, shared with other runs, ended before this fit's.
            self.fit.ended_by = "the ledger's budget"
        finally:
            # Ctrl-C and a failing source keep the best that was found.
            self._finish()
        return self.fit

    @contextmanager
    def _undone_if_it_fails(self) -> Iterator[None]:
        """New views under an old map would answer nonsense: both stay, or both are new."""
        model = self.model
        placement = model.program.placement
        trained = [(variable, variable.numpy()) for variable in model.output_map.weights]
        try:
            yield
        except BaseException:
            if placement is not model.program.placement:
                model.use_placement(placement)
            for variable, value in trained:
                variable.assign(value)
            raise

    # === Budget ===

    @property
    def _counted(self) -> int:
        # What a ledger answers counts too, and repetitions do not: a resumed run decides like an
        # uninterrupted one. The ledger's own budget counts every attempt.
        by_ledger = self.model.source.ledger is not None
        count = self.model.asker.count
        return count.asked if by_ledger else count.used

    @property
    def used(self) -> int:
        """Image queries of this run so far."""
        return self._counted - self.start

    @property
    def left(self) -> int:
        """Image queries that may still be asked."""
        return self.fit.query_budget - self.used

    def _ask(self, part: LabelledImages) -> np.ndarray:
        """Clean answers `(n, V, S)` under the program as it is."""
        starts = range(0, len(part), self.batch_size)
        batches = (part.images[start : start + self.batch_size] for start in starts)
        answers = []
        for answer in self.model.asker.each(batches, len(part), verbose=0):
            answers.append(answer)
            self.progress(self.used)
        if not all(np.isfinite(answer).all() for answer in answers):
            raise ValueError(
                "The source must answer with finite scores. Received: NaN or infinity. Check the "
                "value range that it expects."
            )
        return np.concatenate(answers)

    # === Views ===

    def _choose_views(self) -> str:
        """Changes the views for better ones of a pool, where the plan has a pilot."""
        pilot, pool_size = self.plan.pilot, self.plan.pool_views
        if not self.plan.chooses_views:
            return "views as they were"
        if not pool_size:
            return "no room in the budget to choose views"
        own = self.model.program.placement.views
        extra = draw_pool(self.model, pool_size, "mixed").views
        pool = Placement(
            [*own, *[view for view in extra if view not in own][: pool_size - len(own)]]
        )
        answers = pool_answers(self.model, pool, self.train.images[pilot], self.batch_size)
        self.progress(self.used)
        weight = None if self.train.weight is None else self.train.weight[pilot]
        if weight is not None and np.count_nonzero(weight) < 2:
            weight = None
        found = view_pool(self.model, answers, self.train.labels[pilot], weight)
        order = found.choose(self.views)
        asked = f"{pool.num_views} views, {len(pilot)} images"
        if order.errors[-1] >= found.error(tuple(range(self.views))):
            return f"own views kept ({asked})"
        self.model.use_placement(Placement([pool.views[view] for view in order.views]))
        return f"chosen {list(order.views)} of a pool ({asked})"

    # === Maps ===

    def _try(self, stage: str) -> bool:
        """Fits the map on the training answers, and keeps it if validation says so."""
        readings = [self.fit.reading] if self.fit.stages else self._readings()
        loss, error, reading = min(self._trial(reading) for reading in readings)
        # The first candidate is the map alone: what is kept later is never worse than it.
        kept = loss < self.best_loss and error <= self.best_error
        self.fit.stages.append(OpaqueStage(stage, self.used, 1.0 - error, loss, kept))
        if kept:
            self.best_loss, self.best_error = loss, error
            self.fit.reading = reading
            self.best_weights = [v.numpy() for v in self.model.program.trainable_variables]
            self.best_answers = self.train_answers.copy(), self.validation_answers.copy()
        return kept

    def _readings(self) -> list[str]:
        """How the map may read the views; see `OpaqueFit`."""
        return list(READINGS) if self._is_dense and self.views > 1 else [READINGS[0]]

    @property
    def _is_dense(self) -> bool:
        return hasattr(self.model.output_map, "kernel")

    def _trial(self, reading: str) -> tuple[float, float, str]:
        """Validation loss and error of a map that reads the views in this way."""
        self._fit_map(self.train, self.train_answers, reading)
        probabilities = keras.ops.convert_to_numpy(
            self.model.output_map(np.asarray(self.validation_answers, np.float32))
        )
        score = validation_score(probabilities, self.validation.labels, self.validation.weight)
        return score.loss, score.error, reading

    def _fit_map(self, part: LabelledImages, answers: np.ndarray, reading: str) -> None:
        model = self.model
        classes = model.output_map.num_classes
        how = {"num_classes": classes, "seed": model.seed, "groups": part.groups}
        solver = partial(solve_views, self.views, reading, **how)
        model.output_map.fit_answers(answers, part.labels, solver=solver, sample_weight=part.weight)

    def _finish(self) -> None:
        """The best program, and its map fitted on everything that was paid for it."""
        for variable, value in zip(
            self.model.program.trainable_variables, self.best_weights, strict=True
        ):
            variable.assign(value)
        part, answers = self.train, self.best_answers[0]
        if self.refit_on_all:
            part = joined(self.train, self.validation)
            answers = np.concatenate(self.best_answers)
        self._fit_map(part, answers, self.fit.reading)
        self.fit.queries_used = self.model.queries_used - self.used_before

    # === Estimated steps ===

    def _take_steps(self) -> None:
        """Epochs of estimated steps, as long as the budget lasts and validation improves."""
        model, plan = self.model, self.plan
        if not plan.epochs:
            return
        # Whatever reading was tried last, the steps start from the one that is kept.
        self._fit_map(self.train, self.train_answers, self.fit.reading)
        if plan.check:
            warn_if_steps_drown(model, self.train.images)
        waited, steps = 0, EstimatedSteps(model)
        for epoch in range(1, plan.epochs + 1):
            if waited == _PATIENCE:
                return
            if self.left < plan.epoch_queries:
                # What is planned fits; repetitions after failures may have eaten it.
                self.fit.ended_by = "this budget, of which repetitions took a part"
                return
            for rows, answers in steps.epoch(self.train, epoch):
                # Their clean answers are the next map's.
                self.train_answers[rows] = answers
                self.progress(self.used)
            self.validation_answers = self._ask(self.validation)
            waited = 0 if self._try(f"steps, epoch {epoch}") else waited + 1


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
        each = 1 + model.gradient_estimator.queries_per_image
        for start in range(0, len(order), _BATCH_SIZE):
            rows = order[start : start + _BATCH_SIZE]
            batch = part.take(rows)
            weight = np.ones(len(rows)) if batch.weight is None else batch.weight
            with model.asker.counting(len(rows) * each):
                answers = self._step(
                    tf.constant(batch.images, tf.float32),
                    tf.constant(batch.targets),
                    tf.constant(weight, tf.float32),
                )
            yield rows, np.asarray(answers)

    def _compiled(self) -> Callable[[Any, Any, Any], Any]:
        model, variables = self.model, self.model.program.trainable_variables

        def one(images: Any, targets: Any, weight: Any) -> Any:
            scores = tf.stop_gradient(model.asker.scores_of(images))
            model.steps.learn(lambda: scores, images, targets, weight, variables=variables)
            return scores

        def step(*batch: Any) -> Any:
            # As Keras's own steps do, for a strategy of one device.
            return model.distribute_strategy.run(one, args=batch)

        if not model.source.in_graph:
            return step
        return tf.function(step, autograph=False, reduce_retracing=True)
