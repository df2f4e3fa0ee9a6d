"""BAR as it was published: one shared direction a step for a program of one weight a pixel.

Tsai, Chen, Ho, "Transfer Learning without Knowing", ICML 2020: `P = tanh(W * M)` around the image,
m source labels a class, focal loss with gamma 2 and class weights `1 / n_j`, one-sided differences
averaged over q directions (eq. 5), SGD with an exponentially decaying step. Deviations, all in
its favour: directions use the free pixels only, the source's value range is kept, the step
size is tuned on validation.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from task import Method, Outcome, Task

from keras_reprogram import MultiLabelMap, RandomDirections, ReprogrammedModel
from keras_reprogram.source import Source

STEP_SIZES = (0.05, 0.5, 5.0, 50.0)
NUM_DIRECTIONS = 25
BATCH_SIZE = 20
GAMMA = 2.0
# Of the step, from the first step to the last.
DECAY = 0.1
QUERIES_PER_IMAGE = 8
BUDGET_FACTOR = 10
# At 224 pixels a query costs ten times as much: equal queries there.
EQUAL_QUERIES = ("moderation",)
QUICK_FACTOR = 2
PILOT_SHARE = 0.05


@dataclass(frozen=True)
class _Trial:
    model: ReprogrammedModel
    accuracy: float
    loss: float


def bar(assignment: str) -> Method:
    """BAR with one of its two maps.

    Args:
        assignment: `"random"` or `"frequency"`.
    """

    def method(task: Task) -> Outcome:
        return _Run(task, assignment).outcome()

    return method


class _Run:
    def __init__(self, task: Task, assignment: str) -> None:
        self.task, self.assignment = task, assignment
        self.source: Source = task.choice.opaque()
        self.factor = BUDGET_FACTOR
        if task.choice.name in EQUAL_QUERIES:
            self.factor = 1
        elif task.quick:
            self.factor = QUICK_FACTOR
        self.budget = self.factor * QUERIES_PER_IMAGE * task.num_train

    def outcome(self) -> Outcome:
        """Tunes the step size, trains with it, and answers for the test images."""
        answers = self._answers()
        map_queries = self.source.queries_used
        pilot = {
            size: self._trial(answers, size, int(PILOT_SHARE * self.budget)) for size in STEP_SIZES
        }
        chosen = max(pilot, key=lambda size: (pilot[size].accuracy, -pilot[size].loss))
        pilot_queries = self.source.queries_used - map_queries
        trained = self._trial(answers, chosen, self.budget - map_queries)
        queries = self.source.queries_used - pilot_queries
        tried = ",".join(f"{size:g}:{trial.accuracy:.3f}" for size, trial in pilot.items())
        return Outcome(
            self.task.predict(trained.model),
            trained.accuracy,
            queries_training=queries,
            queries_pilot=pilot_queries,
            views=1,
            choices=f"step_size={chosen:g};pilot={tried}",
            notes=f"{self.factor} x the 8-query budget, q={NUM_DIRECTIONS}, batch={BATCH_SIZE}",
        )

    def _answers(self) -> np.ndarray | None:
        """What the frequency map is made from: the training part without a program."""
        if self.assignment == "random":
            return None
        images, _ = self.task.part(held_out=False)
        return self._model().collect_scores(images, verbose=0)

    def _model(self) -> ReprogrammedModel:
        task = self.task
        output_map = MultiLabelMap(
            task.num_classes,
            labels_per_class=task.labels_per_class(self.source.num_labels),
            assignment=self.assignment,
            seed=task.seed,
        )
        estimator = RandomDirections(NUM_DIRECTIONS, per_image=False)
        program = task.framing_program(self.source)
        return ReprogrammedModel(program, self.source, output_map, estimator, seed=task.seed)

    def _trial(self, answers: np.ndarray | None, step_size: float, budget: int) -> _Trial:
        """Trains anew within a budget, the last look at the held-out images included."""
        (x, y), (held_x, held_y) = self.task.part(held_out=False), self.task.part(held_out=True)
        model = self._model()
        if answers is not None:
            model.fit_output_map(y=y, scores=answers, verbose=0)
        one_hot = np.eye(self.task.num_classes, dtype=np.float32)
        steps = max(1, (budget - len(held_x)) // (BATCH_SIZE * (1 + NUM_DIRECTIONS)))
        rate = keras.optimizers.schedules.ExponentialDecay(step_size, steps, DECAY)
        model.compile(
            keras.optimizers.SGD(rate),
            loss=keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=GAMMA),
            metrics=["accuracy"],
        )
        # The papers' class weights: 1 / n_j, here with mean 1.
        weight = len(y) / (len(np.unique(y)) * np.bincount(y, minlength=len(one_hot)).clip(1))
        model.fit(
            x,
            one_hot[y],
            sample_weight=weight[y],
            batch_size=BATCH_SIZE,
            epochs=-(-steps * BATCH_SIZE // len(x)) + 1,
            callbacks=[StopAfter(steps)],
            verbose=0,
        )
        logs = model.evaluate(held_x, one_hot[held_y], verbose=0, return_dict=True)
        loss = logs["loss"] if np.isfinite(logs["loss"]) else np.inf
        return _Trial(model, float(logs["accuracy"]), float(loss))


class StopAfter(keras.callbacks.Callback):
    """Ends training after a number of steps, in the middle of an epoch if need be.

    Args:
        steps: at least 1.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.left -= 1
        if self.left <= 0:
            self.model.stop_training = True
