"""White-box adversarial reprogramming: the same program with the source's true gradients.

Elsayed, Goodfellow, Sohl-Dickstein, "Adversarial Reprogramming of Neural Networks", ICLR 2019, with
BAR's map of m source labels a class. Deviations: step size and epoch are chosen on validation.
"""

from __future__ import annotations

import keras
import numpy as np
from task import Method, Outcome, Task, accuracy

from keras_reprogram import MultiLabelMap, ReprogrammedModel

STEP_SIZES = (0.01, 0.05)
EPOCHS = 20
QUICK_EPOCHS = 8
BATCH_SIZE = 25


def adversarial(assignment: str) -> Method:
    """Adversarial reprogramming with one of the two maps.

    Args:
        assignment: `"random"` or `"frequency"`.
    """

    def method(task: Task) -> Outcome:
        trials = {size: _trial(task, assignment, size) for size in STEP_SIZES}
        chosen = max(trials, key=lambda size: trials[size][1])
        model, validation, epoch = trials[chosen]
        queries = {size: trial[0].queries_used for size, trial in trials.items()}
        epochs = QUICK_EPOCHS if task.quick else EPOCHS
        return Outcome(
            task.predict(model),
            validation,
            queries_training=queries[chosen],
            queries_pilot=sum(queries.values()) - queries[chosen],
            views=1,
            choices=f"step_size={chosen:g};epoch={epoch}",
            notes=f"white box, {epochs} epochs",
        )

    return method


def _trial(task: Task, assignment: str, step_size: float) -> tuple[ReprogrammedModel, float, int]:
    """A trained model in its best epoch's state, its validation accuracy, and that epoch."""
    source = task.choice.transparent()
    output_map = MultiLabelMap(
        task.num_classes,
        labels_per_class=task.labels_per_class(source.num_labels),
        assignment=assignment,
        seed=task.seed,
    )
    model = ReprogrammedModel(task.framing_program(source), source, output_map, seed=task.seed)
    (x, y), (held_x, held_y) = task.part(held_out=False), task.part(held_out=True)
    if assignment == "frequency":
        model.fit_output_map(x, y, verbose=0)
    model.compile(
        keras.optimizers.Adam(step_size),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    best, kept, weights = -1.0, 0, np.zeros(0)
    for epoch in range(1, (QUICK_EPOCHS if task.quick else EPOCHS) + 1):
        model.fit(x, y, batch_size=BATCH_SIZE, epochs=epoch, initial_epoch=epoch - 1, verbose=0)
        reached = accuracy(model.predict(held_x, batch_size=64, verbose=0), held_y)
        if reached > best:
            best, kept = reached, epoch
            weights = keras.ops.convert_to_numpy(model.program.program_weights).copy()
    model.program.program_weights.assign(weights)
    return model, best, kept
