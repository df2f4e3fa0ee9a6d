"""Recipe: fits the map, then trains the program, and keeps the best candidate on validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.asking.data import LabelledImages
from keras_reprogram.fitting.validation import NOTHING_YET, ValidationScore, validation_score
from keras_reprogram.fitting.view_selection import FIRST_VIEW, READINGS, solve_views
from keras_reprogram.fitting.weight_copy import WeightCopy, trained_variables
from keras_reprogram.opaque.plan import STEP_IMAGES
from keras_reprogram.opaque.result import OpaqueStage
from keras_reprogram.source.errors import BudgetSpentError

# Of fewer images than this, all choose: a validation part of them tells readings apart by chance.
FEW_TO_CHOOSE_BY = 1001

# `(description, total)` -> a block with a function that takes how much of the total is done.
Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def no_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar that shows nothing."""
    del description, total
    yield lambda done: None


class Recipe:
    """The training recipe of `fit_opaque`, `keras-reprogram train` and the demo.

    The first candidate is the map alone, fitted exactly on the answers to the training images.
    Each epoch of steps for the program makes another one. A candidate is kept if its loss on the
    validation images is lower than that of the best before it and its error no higher, images
    counted by their weights: what is kept is never worse there than the map alone. In the end the
    best one's map is fitted on all images that may be learned from.

    A careful recipe keeps a candidate only if it is better by more than the standard error of the
    paired difference, and reads several views together only if that is: of few images on what
    folds leave out of all paid answers, else on the validation images.

    Args:
        model: a `ReprogrammedModel`.
        data: all images, those that decide included.
        train: positions in `data` that are learned from.
        validation: positions that decide.
        refit: positions that the best map is fitted on in the end; `None` for all.
        readings: ways to read the views that the first candidate chooses from, see `READINGS`.
        exact_map: whether the map is fitted again after each epoch and is fixed during the
            steps. Otherwise it takes steps too, and only the map alone is fitted again in the end.
        careful: see above.
        batch_size: images asked at once.
        bar: shows progress.
    """

    def __init__(
        self,
        model: Any,
        data: LabelledImages,
        train: np.ndarray,
        validation: np.ndarray,
        *,
        refit: np.ndarray | None = None,
        readings: tuple[str, ...] = READINGS[:1],
        exact_map: bool = True,
        careful: bool = False,
        batch_size: int = 64,
        bar: Bar = no_bar,
    ) -> None:
        self.model, self.data, self.train, self.validation = model, data, train, validation
        self.refit = np.arange(len(data)) if refit is None else refit
        self.readings, self.exact_map, self.careful = readings, exact_map, careful
        self.choice = ""
        self.batch_size, self.bar = batch_size, bar
        self.stages: list[OpaqueStage] = []
        self.history: dict[str, list[float]] = {}
        self.ended_by = ""
        self.answers: np.ndarray | None = None
        # Until a candidate is judged: the model as it came.
        self.best = NOTHING_YET
        self._best_weights = WeightCopy(trained_variables(model))
        self._best_answers: np.ndarray | None = None
        self._asked_before = self._asked

    @property
    def _asked(self) -> int:
        # What a ledger answers counts too, and repetitions do not: a resumed run decides like an
        # uninterrupted one. The ledger's own budget counts every attempt.
        by_ledger = self.model.source.ledger is not None
        count = self.model.asker.count
        return count.asked if by_ledger else count.used

    @property
    def used(self) -> int:
        """Image queries of this recipe so far."""
        return self._asked - self._asked_before

    @property
    def reading(self) -> str:
        """The current reading of the views by the map."""
        return self.readings[0]

    @property
    def kept_epoch(self) -> int:
        """The epoch of the best candidate, 0 for the map alone."""
        return max(number for number, stage in enumerate(self.stages) if stage.kept)

    # === Answers and maps ===

    def ask(self, rows: np.ndarray | None = None, description: str = "asking the source") -> None:
        """Asks for the answers to some images, `None` for all, under the program as it is."""
        model, rows = self.model, np.arange(len(self.data)) if rows is None else rows
        parts = [rows[s : s + self.batch_size] for s in range(0, len(rows), self.batch_size)]
        images = (model.data_checks.images(self.data.images[part]) for part in parts)
        with self.bar(description, len(rows) * model.queries_per_prediction) as update:
            asked = model.asker.each(images, len(rows), progress=update)
            for part, answers in zip(parts, asked, strict=True):
                self.take_answers(part, answers)
        if self.answers is not None and not np.isfinite(self.answers[rows]).all():
            raise ValueError(
                "The source must answer with finite scores. Received: NaN or infinity. Check the "
                "value range that it expects."
            )

    def take_answers(self, rows: np.ndarray, answers: np.ndarray) -> None:
        """Replaces the answers `(rows, V, S)` to some images."""
        if self.answers is None:
            self.answers = np.zeros((len(self.data), *answers.shape[1:]), np.float32)
        self.answers[rows] = answers

    def fit_map(
        self, rows: np.ndarray | None = None, reading: str | None = None, **options: Any
    ) -> Any:
        """Fits the map exactly on the answers to some images, `None` for `refit`."""
        model, rows = self.model, self.refit if rows is None else rows
        part = self.data.take(rows)
        how: dict[str, Any] = {
            "num_classes": model.output_map.num_classes,
            "seed": model.seed,
            "method": model.output_map.fit,
            **options,
        }
        solver = partial(
            solve_views,
            model.queries_per_prediction,
            reading or self.reading,
            groups=part.groups,
            **how,
        )
        return model.output_map.fit_answers(
            self._answers_to(rows), part.labels, solver=solver, sample_weight=part.weight
        )

    def _answers_to(self, rows: np.ndarray) -> np.ndarray:
        if self.answers is None:
            raise ValueError("The source must be asked first. Received: no answers. Call `ask`.")
        return self.answers[rows]

    # === Candidates ===

    def judge(self, stage: str) -> None:
        """Evaluates the current answers as a candidate, and keeps it if it is the best."""
        if self.careful and len(self.readings) > 1:
            self._choose_by_folds()
        trials = {reading: self._trial(reading) for reading in self.readings}
        reading = self._chosen({name: score for name, (score, _) in trials.items()})
        score, weights = trials[reading]
        weights.restore()
        self.readings = (reading,)
        kept = self._beats(score, self.best)
        figures = (score.accuracy, score.loss, kept)
        self.stages.append(OpaqueStage(stage, self.used, *figures))
        if kept:
            self.best, self._best_weights = score, weights
            self._best_answers = np.array(self.answers)

    def _chosen(self, scores: dict[str, ValidationScore], rows: np.ndarray | None = None) -> str:
        """The best reading; of a careful recipe the first view, unless it is clearly beaten."""
        if not self.careful or len(scores) == 1:
            return min(scores, key=lambda name: (scores[name], name))
        plain = scores[FIRST_VIEW]
        best = min(set(scores) - {FIRST_VIEW}, key=lambda name: (scores[name], name))
        better = self._beats(scores[best], plain, rows)
        self.choice = (
            f"{best}: loss {scores[best].loss:.3f}, first view: {plain.loss:.3f}, on "
            f"{len(self.validation if rows is None else rows)} images; "
            f"{'better' if better else 'not better'} by more than the standard error"
        )
        return best if better else FIRST_VIEW

    def _choose_by_folds(self) -> None:
        """Chooses the reading on all paid answers, if they are few."""
        if len(self.refit) >= FEW_TO_CHOOSE_BY or not np.isin(self.validation, self.refit).all():
            return
        fits = {
            reading: self.fit_map(self.refit, reading, few=FEW_TO_CHOOSE_BY)
            for reading in self.readings
        }
        held_out = {name: None if fit is None else fit.held_out for name, fit in fits.items()}
        found = {name: each for name, each in held_out.items() if each is not None}
        rows = [each.rows for each in found.values() if each.rows is not None]
        if len(rows) < len(fits):
            return
        scores = {
            name: validation_score(np.exp(each.log_probabilities), each.labels, each.weight)
            for name, each in found.items()
        }
        self.readings = (self._chosen(scores, self.refit[rows[0]]),)

    def _beats(
        self, score: ValidationScore, best: ValidationScore, rows: np.ndarray | None = None
    ) -> bool:
        if not self.careful:
            return score.beats(best)
        part = self.data.take(self.validation if rows is None else rows)
        return score.clearly_beats(best, part.image_weight, part.groups)

    def _trial(self, reading: str) -> tuple[ValidationScore, WeightCopy]:
        if self.exact_map or not self.stages:
            self.fit_map(self.train, reading)
        held_out = self.validation
        read = keras.ops.convert_to_numpy(self.model.output_map(self._answers_to(held_out)))
        weight = None if self.data.weight is None else self.data.weight[held_out]
        score = validation_score(read, self.data.labels[held_out], weight)
        return score, WeightCopy(trained_variables(self.model))

    def improve(self, epochs: Iterable[str], patience: int | None = None) -> None:
        """Judges a candidate after each epoch; the model ends with the best one.

        Ctrl-C and a failing source keep the best that was found; a ledger's budget that is spent
        is an end like any other. `patience` epochs in a row that were not kept end it too.
        """
        waited = 0
        try:
            for stage in epochs:
                self.judge(stage)
                waited = 0 if self.stages[-1].kept else waited + 1
                if waited == patience:
                    break
        except BudgetSpentError:
            # The source's own budget, shared with other runs, ended before this one's.
            self.ended_by = "the ledger's budget"
        finally:
            self._best_weights.restore()
            self.answers = self._best_answers
            if self.exact_map or not self.kept_epoch:
                self.fit_map()


def fit_epochs(recipe: Recipe, epochs: int, batch_size: int = STEP_IMAGES) -> Iterator[str]:
    """Epochs of Keras's `fit` with the model's own gradients, exact or estimated ones.

    What `fit` asks is not kept: after each epoch the answers that the next candidate needs are
    asked anew. Yields the name of each candidate.
    """
    model, part = recipe.model, recipe.data.take(recipe.train)
    trainable, steps = model.output_map.trainable, -(-len(part) // batch_size)
    for epoch in range(1, epochs + 1):
        name = f"epoch {epoch}/{epochs}"
        with recipe.bar(f"{name}: training the program", steps) as update:
            shown = keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs, update=update: update(batch + 1)
            )
            model.output_map.trainable = trainable and not recipe.exact_map
            try:
                logs = model.fit(
                    part.images,
                    part.targets,
                    sample_weight=part.image_weight,
                    batch_size=batch_size,
                    epochs=epoch,
                    initial_epoch=epoch - 1,
                    callbacks=[shown],
                    verbose=0,
                ).history
            finally:
                model.output_map.trainable = trainable
        for metric in ("loss", "accuracy"):
            recipe.history.setdefault(metric, []).extend(map(float, logs.get(metric, ())))
        recipe.ask(None if recipe.exact_map else recipe.validation, f"{name}: asking for the map")
        yield f"steps, epoch {epoch}"


_LEARNING_RATE = 0.02


class EstimatedSteps:
    """Steps of a model's program by its estimator, while the output map is fixed.

    Args:
        model: a `ReprogrammedModel` with an estimator; compiled here if it was not.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        if not model.compiled:
            several = model.output_map.multi_label
            loss = "binary_crossentropy" if several else "sparse_categorical_crossentropy"
            model.compile(keras.optimizers.Adam(_LEARNING_RATE), loss=loss)
        # Before the first step, so that no variable is made inside a graph.
        model.optimizer.build(model.trainable_variables)
        self._step = self._compiled()

    def epoch(self, part: LabelledImages, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """One pass over the images, in an order drawn from the model's seed and the epoch.

        Yields the rows of each batch, and the clean answers `(rows, V, S)` that its step asked.
        """
        model = self.model
        order = np.random.default_rng([model.seed, epoch]).permutation(len(part))
        each = 1 + model.gradient_estimator.queries_per_image
        for start in range(0, len(order), STEP_IMAGES):
            rows = order[start : start + STEP_IMAGES]
            batch = part.take(rows)
            weight = batch.image_weight
            weight = np.ones(len(rows)) if weight is None else weight
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
