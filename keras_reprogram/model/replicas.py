"""Training on the replicas of a `tf.distribute` strategy: batches, directions, checks, files."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_reprogram.asking.data import first_batch, is_array, known_length
from keras_reprogram.asking.strategy import (
    check_one_replica,
    described,
    has_several_replicas,
    has_several_workers,
    is_chief,
    sum_over_replicas,
)
from keras_reprogram.fitting.weight_copy import trained_variables
from keras_reprogram.model.callbacks import BatchOrder

_BATCH_SIZE = 32
_MEANS = ("sum_over_batch_size", "mean")
# What an optimizer does to the gradients of one replica before it adds those of all.
_OF_ONE_REPLICA = ("clipnorm", "clipvalue", "global_clipnorm", "gradient_accumulation_steps")


# === Batches ===


def divided(model: Any, data: Any, batch_size: int | None, steps: int | None) -> tuple[Any, Any]:
    """Batches that are divided among the replicas, and the number of them.

    Every batch is divided by itself, into parts of consecutive images that differ by one image at
    most, so that a step sees the images that one device would see. Data of known length repeat
    for ever, and Keras counts their batches: it opens more iterators than it reads, and those of
    a strategy read ahead.

    Args:
        model: a `ReprogrammedModel` of several replicas.
        data: a tuple of arrays, or a `tf.data.Dataset` of whole batches.
        batch_size: of arrays, of all replicas together; a larger one is taken where the last
            batch would not reach all of them.
        steps: batches, if the caller counts them.

    Raises:
        ValueError: for too few images.
    """
    strategy = model.distribute_strategy
    if is_array(data):
        arrays = tuple(np.asarray(part) for part in data if part is not None)
        size = _size_for_all(len(arrays[0]), batch_size or _BATCH_SIZE, strategy)
        data = tf.data.Dataset.from_tensor_slices(arrays).batch(size)
    count = known_length(data)
    endless = steps is None and count is not None
    parts = strategy.distribute_datasets_from_function(
        lambda context: _own_parts(data, context, endless)
    )
    return parts, int(count) if endless else steps  # type: ignore[arg-type]


def check_data_set(model: Any, data: Any) -> None:
    """Refuses data in batches that cannot be divided.

    Raises:
        ValueError: under a strategy of several replicas, for all but a `tf.data.Dataset`.
    """
    strategy = model.distribute_strategy
    if has_several_replicas(strategy) and not isinstance(data, tf.data.Dataset):
        raise ValueError(
            "Several replicas divide arrays or a `tf.data.Dataset` of whole batches. Received: a "
            f"{type(data).__name__}, under {described(strategy)}. Pass one of the two, such as "
            "`tf.data.Dataset.from_generator(...)`; the model divides it by itself."
        )


def _own_parts(
    dataset: tf.data.Dataset, context: tf.distribute.InputContext, endless: bool
) -> tf.data.Dataset:
    """The parts of each batch that belong to this worker's replicas, one after the other."""
    replicas, as_tuple = context.num_replicas_in_sync, isinstance(dataset.element_spec, tuple)
    # In the order in which Keras joins the replicas' predictions.
    own = tf.range(context.input_pipeline_id, replicas, context.num_input_pipelines)

    def parts(*batch: Any) -> tf.data.Dataset:
        whole = batch if as_tuple else batch[0]
        rows = tf.shape(tf.nest.flatten(whole)[0])[0]
        enough = tf.debugging.assert_greater_equal(
            rows,
            replicas,
            f"A batch needs an image for each of {replicas} replicas. Choose another batch size, "
            "or leave a shorter last batch out: `batch(size, drop_remainder=True)`.",
        )
        with tf.control_dependencies([enough]):
            rows = tf.identity(rows)

        def part(number: Any) -> Any:
            start, stop = rows * number // replicas, rows * (number + 1) // replicas
            return tf.nest.map_structure(lambda tensor: tensor[start:stop], whole)

        return tf.data.Dataset.from_tensor_slices(own).map(part)

    dataset = dataset.flat_map(parts)
    return (dataset.repeat() if endless else dataset).prefetch(2 * replicas)


def _size_for_all(count: int, batch_size: int, strategy: tf.distribute.Strategy) -> int:
    """The first batch size from `batch_size` on whose last batch reaches all replicas."""
    replicas = strategy.num_replicas_in_sync
    if count < replicas:
        raise ValueError(
            f"A batch needs an image for each of {replicas} replicas. Received: {count} images. "
            "Pass more images, or use the model on one device."
        )
    sizes = range(max(batch_size, replicas), max(batch_size, count) + 1)
    return next(size for size in sizes if not 0 < count % size < replicas)


def check_batches(model: Any, count: int, batch_size: int | None) -> None:
    """Refuses training images whose last batch does not reach all replicas.

    Raises:
        ValueError: under a strategy of several replicas.
    """
    replicas = model.distribute_strategy.num_replicas_in_sync
    size = batch_size or _BATCH_SIZE
    smallest = min(size, count) if count % size == 0 else count % size
    if smallest < replicas:
        raise ValueError(
            f"A batch needs an image for each of {replicas} replicas. Received: {count} images in "
            f"batches of {size}, the last one of {smallest}. Choose another `batch_size`, which "
            "is that of all replicas together, or leave some images out."
        )


def fit_options(model: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Options of Keras's `fit` with divided batches and the checks of `ReplicaRun`."""
    data, steps, callbacks = options["x"], options["steps_per_epoch"], options["callbacks"]
    order = next((one for one in callbacks if isinstance(one, BatchOrder)), None)
    if order is not None:
        check_batches(model, len(order.arrays[0]), order.batch_size)
    run = ReplicaRun(model.distribute_strategy, callbacks, data, order)
    if options["class_weight"] is not None:
        data = _with_class_weights(data, options["class_weight"], model.output_map.num_classes)
    options = {**options, "callbacks": [*callbacks, run], "class_weight": None}
    options["x"], options["steps_per_epoch"] = divided(model, data, None, steps)
    validation = options["validation_data"]
    if validation is not None:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(validation)
        if is_array(x):
            validation = model.data_checks.arrays(x, y, sample_weight)
        size = options.get("validation_batch_size")
        options["validation_data"], options["validation_steps"] = divided(
            model, validation, size, options.get("validation_steps")
        )
    return options


def _with_class_weights(
    dataset: Any, class_weight: dict[int, float], num_classes: int
) -> tf.data.Dataset:
    """A data set with the weight of each image's class, which Keras adds on one device."""
    table = tf.constant([class_weight.get(number, 1.0) for number in range(num_classes)])

    def add(x: Any, y: Any, *given: Any) -> tuple[Any, Any, Any]:
        if given:
            raise ValueError(
                "`class_weight` and `sample_weight` cannot both be given. Received: both. Multiply "
                "them, and pass `sample_weight`."
            )
        one_hot = y.shape.rank == 2 and y.shape[-1] > 1
        labels = tf.argmax(y, axis=-1) if one_hot else tf.reshape(y, (-1,))
        return x, y, tf.gather(table, tf.cast(labels, tf.int32))

    return dataset.map(add)


def local_batch(strategy: tf.distribute.Strategy, iterator: Any) -> Any:
    """A batch of this process's first replica, from Keras's iterator over an epoch."""
    for _, _, batches in iterator:
        batch = next(batches)
        return tf.nest.map_structure(
            lambda part: strategy.experimental_local_results(part)[0], batch
        )
    return None


def replica_share(rows: Any) -> Any:
    """Share of the whole batch's images that this replica has."""
    rows = tf.cast(rows, tf.float32)
    return rows / sum_over_replicas(rows)


# === Directions ===


class ReplicaSeed(keras.random.SeedGenerator):
    """Seeds from `[seed, step, replica]`; the first replica draws what one device draws.

    Its state is a tensor: a variable cannot hold another value on each replica.
    """

    def __init__(self, seed: int, step: Any) -> None:
        context = tf.distribute.get_replica_context()
        seeds = tf.constant(replica_seeds(seed, context.num_replicas_in_sync), tf.uint32)
        own = tf.gather(seeds, context.replica_id_in_sync_group)
        self.state = tf.stack([own, tf.cast(step, tf.uint32)])

    def next(self, ordered: bool = True) -> Any:
        drawn, self.state = self.state, self.state + tf.constant([0, 1], tf.uint32)
        return drawn


def replica_seeds(seed: int, count: int) -> list[int]:
    """A seed for each replica, from the model's."""
    others = [np.random.SeedSequence([seed, replica]) for replica in range(1, count)]
    return [seed, *(int(one.generate_state(1)[0]) for one in others)]


# === Checks ===


def check_fit(model: Any) -> None:
    """Refuses what would differ from one device, or fail in the first step.

    Raises:
        ValueError: under a strategy of several replicas.
    """
    strategy = model.distribute_strategy
    if not has_several_replicas(strategy):
        return
    if model.output_map.observes:
        check_one_replica(
            strategy,
            f"A map that observes scores ({type(model.output_map).__name__})",
            "Fit such a map on one device; or take another map, such as `DenseMap`.",
        )
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    for option in _OF_ONE_REPLICA:
        if getattr(optimizer, option, None):
            check_one_replica(
                strategy,
                f"An optimizer with `{option}`",
                "Keras applies it to the gradients of each replica, before they are added. Leave "
                "it out.",
            )
    for loss in tf.nest.flatten(model.loss):
        reduction = getattr(loss, "reduction", _MEANS[0])
        if reduction not in _MEANS:
            check_one_replica(
                strategy,
                f"A loss with reduction={reduction!r}",
                f'Take `reduction="{_MEANS[0]}"`, the mean over the batch of all replicas.',
            )
    variables = [*model.trainable_variables, optimizer.iterations]
    if not all(isinstance(one.value, tf.distribute.DistributedValues) for one in variables):
        raise ValueError(
            "Program, output map and optimizer must have a copy on each replica. Received: some "
            f"that were made outside of the scope of {described(strategy)}. Build the model, and "
            "call `compile`, in `with strategy.scope():`."
        )


def check_single_batch(model: Any) -> None:
    """Refuses Keras's steps on one batch, which every replica would take as a whole."""
    instead = "Pass the batch to `fit`, `evaluate` or `predict`, which divide it."
    check_one_replica(model.distribute_strategy, "A step on a single batch", instead)


class ReplicaRun(keras.callbacks.Callback):
    """Checks that all workers train the same program, and lets them wait for each other.

    It is the last of the callbacks: what others restored or wrote is there.

    Args:
        strategy: of several replicas.
        callbacks: the other callbacks of this `fit`.
        data: training data, of which all workers must have the same.
        order: of arrays; a run that is restored in mid-epoch would miss it.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        callbacks: list[Any],
        data: tf.data.Dataset,
        order: BatchOrder | None,
    ) -> None:
        super().__init__()
        self.strategy, self.data, self.order = strategy, data, order
        self._steps_before = 0
        kind = keras.callbacks.BackupAndRestore
        self._backups = [callback for callback in callbacks if isinstance(callback, kind)]

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self._steps_before = self._taken()

    def on_train_begin(self, logs: Any = None) -> None:
        self._check_end_of_epoch(self._taken() - self._steps_before)
        if not has_several_workers(self.strategy):
            return
        for backup in self._backups:
            # Keras makes the folder on each worker, which fails on all but the first, and deletes
            # it on each.
            tf.io.gfile.makedirs(str(backup.backup_dir))
            backup.delete_checkpoint = backup.delete_checkpoint and is_chief(self.strategy)
        weights = [np.asarray(variable) for variable in trained_variables(self.model)]
        self._compare(
            _digest([*weights, np.array(self._taken())]),
            "weights and step number",
            "Give `BackupAndRestore` and `load_program` a folder that all workers can read, and "
            "load the same file on each.",
        )
        first: Any = first_batch(self.data)
        if self.order is not None:
            first = [array[: self.order.batch_size] for array in self.order.arrays]
            first.append(np.array(len(self.order.arrays[0])))
        self._compare(
            _digest([part for part in first or () if part is not None]),
            "training data (the first batch)",
            "Read the same files in the same order on each, and give `shuffle` a seed.",
        )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        # So that the one who deletes backups at the end does not overtake another who writes.
        if has_several_workers(self.strategy):
            self._gather(0)

    def _check_end_of_epoch(self, done: int) -> None:
        steps = self.order and self.order.steps_per_epoch
        if steps and done % steps:
            raise ValueError(
                "Training on several replicas resumes at the end of an epoch. Received: a backup "
                f"after {done} steps, {done % steps} of them in an epoch of {steps}. Use "
                '`BackupAndRestore(path, save_freq="epoch")`, or resume this one on one device.'
            )

    def _taken(self) -> int:
        return int(tf.convert_to_tensor(self.model.steps.taken))

    def _compare(self, number: int, what: str, mend: str) -> None:
        numbers = self._gather(number)
        if len(set(numbers)) > 1:
            raise ValueError(
                f"All workers must start with the same {what}. Received: "
                f"{len(set(numbers))} different ones on {len(numbers)} workers. {mend}"
            )

    def _gather(self, number: int) -> list[int]:
        return self._gathered(tf.constant([number], tf.int64)).numpy().tolist()

    @cached_property
    def _gathered(self) -> Any:
        def gathered(own: Any) -> Any:
            return self.strategy.gather(self.strategy.run(tf.identity, args=(own,)), axis=0)

        return tf.function(gathered, autograph=False)


def _digest(arrays: list[Any]) -> int:
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    return int.from_bytes(digest.digest()[:7], "big")


# === Files ===


@contextlib.contextmanager
def written_by_chief(model: Any, path: Any) -> Iterator[Any]:
    """The path, or a temporary one on workers that are not the chief.

    They write too, because reading a metric of all workers takes all of them.
    """
    if is_chief(model.distribute_strategy):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder) / Path(path).name)
