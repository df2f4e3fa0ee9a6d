"""Zeroth-order steps alone: estimated gradients from a map that stays as it is."""

from __future__ import annotations

import keras
import numpy as np
from task import Outcome, Task, accuracy

from keras_reprogram import DenseMap, MultiLabelMap, RandomDirections, ReprogrammedModel

QUERIES_PER_IMAGE = 8
BATCH_SIZE = 25
LEARNING_RATE = 0.02


def zeroth_order(task: Task) -> Outcome:
    """A direction for each image on a 16 x 16 program, from the frequency map (dense if S < K).

    The map is fitted on the training part's answers and stands still, so that the gain is the
    program's. The best epoch on validation is kept, the map alone being the first candidate. All
    of it, validation included, stays within eight queries a training image.
    """
    source = task.choice.opaque()
    labels_per_class = task.labels_per_class(source.num_labels)
    output_map: keras.layers.Layer = DenseMap(task.num_classes)
    if labels_per_class:
        output_map = MultiLabelMap(task.num_classes, labels_per_class=labels_per_class)
    model = ReprogrammedModel(
        task.plain_program(source), source, output_map, RandomDirections(), seed=task.seed
    )
    budget = QUERIES_PER_IMAGE * task.num_train
    (x, y), held_out = task.part(held_out=False), task.part(held_out=True)
    model.fit_output_map(y=y, scores=model.collect_scores(x, verbose=0), verbose=0)
    model.output_map.trainable = False
    first = accuracy(_read(model, held_out[0]), held_out[1])
    kept, best = _train(model, x, y, held_out, budget, first)
    queries = source.queries_used
    return Outcome(
        task.predict(model),
        best,
        queries_training=queries,
        views=1,
        choices=f"map={'frequency' if labels_per_class else 'dense'};epoch={kept};"
        f"step_size={LEARNING_RATE:g}",
        notes=f"the map alone has validation accuracy {first:.3f}",
    )


def _train(
    model: ReprogrammedModel,
    x: np.ndarray,
    y: np.ndarray,
    held_out: tuple[np.ndarray, np.ndarray],
    budget: int,
    first: float,
) -> tuple[int, float]:
    """Whole epochs while they fit the budget; the best epoch and its validation accuracy."""
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    price = 2 * len(x) + len(held_out[0])
    kept, best, weights = 0, first, model.get_weights()
    epoch = 0
    while model.queries_used + price <= budget:
        epoch += 1
        model.fit(x, y, batch_size=BATCH_SIZE, epochs=epoch, initial_epoch=epoch - 1, verbose=0)
        reached = accuracy(_read(model, held_out[0]), held_out[1])
        if reached > best:
            kept, best, weights = epoch, reached, model.get_weights()
    model.set_weights(weights)
    return kept, best


def _read(model: ReprogrammedModel, images: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(images, verbose=0))
