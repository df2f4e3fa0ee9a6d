"""Small fits on one device or on several, run in this process or as a worker of its own.

    python replica_runs.py mirrored|workers FOLDER RUN...

Workers read their place from `TF_CONFIG`. Each run writes what it found to FOLDER.
"""

import contextlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from small_models import head_model, images_and_labels, values

from keras_reprogram import RandomDirections, save_program
from keras_reprogram.model.replicas import replica_seeds

# The last of three batches has five images: two on one replica, three on the other.
IMAGES, LABELS = images_and_labels(21)
BATCH_SIZE, EPOCHS = 8, 2


class InParts(RandomDirections):
    """On one device, the directions that two replicas draw for their parts of a batch."""

    def _draw(self, shape, active, seed):
        number, rows, size = shape
        step = int(tf.convert_to_tensor(seed.state[1]))
        parts = []
        for replica, own in enumerate(replica_seeds(int(seed.state[0]), 2)):
            count = rows * (replica + 1) // 2 - rows * replica // 2
            drawn = keras.random.SeedGenerator(0)
            drawn.state.assign(np.array([own, step], np.uint32))
            parts.append(super()._draw((number, count, size), active, drawn))
        return tf.concat(parts, axis=1)


def fit(estimator=None, epochs=EPOCHS, optimizer=None, strategy=None, callbacks=None, **options):
    """A model on features and its history, made and compiled in the strategy's scope."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        optimizer = keras.optimizers.get(optimizer or "sgd")
        optimizer.learning_rate = 0.05
        model = head_model(estimator=estimator, optimizer=optimizer, built=True)
    model.run_eagerly = isinstance(estimator, InParts)
    history = model.fit(
        IMAGES,
        LABELS,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        verbose=0,
        validation_data=(IMAGES[:9], LABELS[:9]),
        callbacks=callbacks,
        **options,
    ).history
    return model, history


def figures(model, history):
    """Everything that must be the same."""
    return {
        "history": history,
        "queries": model.queries_used,
        "steps": int(tf.convert_to_tensor(model.steps.taken)),
        "weights": [value.tolist() for value in trained(model)],
    }


def trained(model):
    return values([*model.program.weights, *model.output_map.weights])


def white_box(strategy, folder):
    del folder
    model, history = fit(strategy=strategy)
    found = figures(model, history)
    found["evaluated"] = model.evaluate(IMAGES, LABELS, batch_size=BATCH_SIZE, verbose=0)
    found["predicted"] = model.predict(IMAGES, batch_size=BATCH_SIZE, verbose=0).tolist()
    found["queries"] = model.queries_used
    return found


def estimated(strategy, folder):
    del folder
    # A difference over a small step would magnify the rounding of single losses.
    kind = RandomDirections if strategy else InParts
    return figures(*fit(kind(2, smoothing=0.05), strategy=strategy))


def weighted(strategy, folder):
    """Adam, weights of classes, and a data set whose short batch stands in the middle."""
    del folder
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = head_model(optimizer=keras.optimizers.Adam(0.01), built=True)
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(BATCH_SIZE).repeat(2)
    history = model.fit(data, epochs=EPOCHS, class_weight={0: 2.0, 2: 0.5}, verbose=0).history
    return figures(model, history)


def resumed(strategy, folder):
    """Two epochs, stopped after one; files of a run are written once."""
    backup = folder / "backup"
    kept = keras.callbacks.BackupAndRestore(backup, delete_checkpoint=False)
    fit(strategy=strategy, epochs=1, callbacks=[kept])
    written = keras.callbacks.ModelCheckpoint(folder / "last.weights.h5", save_weights_only=True)
    again = keras.callbacks.BackupAndRestore(backup)
    model, history = fit(strategy=strategy, callbacks=[again, written])
    save_program(model, folder / "last.reprogram")
    return figures(model, history)


def strays(strategy, folder):
    """What each worker is refused, if the workers differ; and what runs in one process."""
    del folder
    number = strategy.cluster_resolver.task_id
    with strategy.scope():
        model = head_model(built=True)
    messages = []
    for fails in (
        lambda: model.fit(IMAGES + number / 4, LABELS, batch_size=BATCH_SIZE, verbose=0),
        lambda: (shift(model, number), model.fit(IMAGES, LABELS, batch_size=8, verbose=0)),
        lambda: model.fit_output_map(IMAGES, LABELS, verbose=0),
    ):
        try:
            fails()
        except ValueError as error:
            messages.append(str(error))
    return {"messages": messages, "queries": model.queries_used}


def shift(model, number):
    weights = model.program.trainable_variables[0]
    weights.assign(weights + float(number))


RUNS = {run.__name__: run for run in (white_box, estimated, weighted, resumed, strays)}


def main(kind, folder, *runs):
    worker = 0
    if kind == "mirrored":
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        worker = strategy.cluster_resolver.task_id
    for run in runs:
        found = RUNS[run](strategy, Path(folder))
        Path(folder, f"{run}_{worker}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
