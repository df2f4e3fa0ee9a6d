"""Batches come in an order drawn from seed and epoch, also after a run was killed."""

import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    TARGET_SHAPE,
    assert_equal_values,
    directions,
    frozen_source,
    images_and_labels,
    opaque_source,
    small_model,
    trained_values,
)

from keras_reprogram import ProgramLayer
from keras_reprogram.asking.data import split_last
from keras_reprogram.model.callbacks import BatchOrder
from keras_reprogram.model.draws import seed_random_layers

IMAGES, LABELS = images_and_labels(22)
SIZE = 4  # 6 batches an epoch, the last one short


class Steps:
    """Stands for a model: only its number of steps is asked."""

    def __init__(self) -> None:
        self.steps = SimpleNamespace(taken=0)


def batch_order(seed=0, shuffle=True, **options):
    order = BatchOrder((np.arange(22), LABELS), SIZE, seed, shuffle, 0, **options)
    order.set_model(Steps())
    return order


def epoch(order, number):
    order.on_epoch_begin(number)
    return [row for images, _ in order.dataset().as_numpy_iterator() for row in images]


def test_order_differs_from_epoch_to_epoch_and_is_equal_for_equal_seeds() -> None:
    order, same, other = batch_order(0), batch_order(0), batch_order(1)
    epochs = [epoch(order, number) for number in range(3)]
    assert all(sorted(rows) == list(range(22)) for rows in epochs)
    assert len({tuple(rows) for rows in epochs}) == 3
    assert [epoch(same, number) for number in range(3)] == epochs
    assert epoch(other, 0) != epochs[0]


def test_without_shuffle_the_order_is_that_of_the_arrays() -> None:
    order = batch_order(shuffle=False)
    assert epoch(order, 0) == epoch(order, 1) == list(range(22))


def test_keras_knows_the_number_of_batches() -> None:
    assert int(batch_order().dataset().cardinality()) == 6


def test_what_is_done_of_an_epoch_is_not_repeated() -> None:
    order = batch_order()
    whole = epoch(order, 2)
    order.model.steps.taken = 2 * 6 + 5
    assert epoch(order, 2) == whole[20:]
    order.model.steps.taken = 2 * 6 + 6
    assert epoch(order, 2) == []
    assert epoch(order, 3) == order.order(3).tolist()


def test_steps_per_epoch_let_one_pass_follow_the_other() -> None:
    order = batch_order(steps_per_epoch=4)
    order.on_epoch_begin(0)
    stream = order.dataset().as_numpy_iterator()
    rows = [row for _ in range(12) for row in next(stream)[0]]
    assert rows == [*order.order(0), *order.order(1)]
    order.model.steps.taken = 8
    order.on_epoch_begin(2)
    stream = order.dataset().as_numpy_iterator()
    assert [row for _ in range(4) for row in next(stream)[0]] == rows[30:]


@pytest.mark.parametrize("options", [{}, {"steps_per_epoch": 4}], ids=["whole", "steps"])
def test_who_reads_before_training_sees_one_pass_and_changes_nothing(options) -> None:
    order = batch_order(**options)
    dataset = order.dataset()
    for _ in range(2):
        seen = [row for images, _ in dataset.as_numpy_iterator() for row in images]
        assert seen == order.order(0).tolist()
    order.on_epoch_begin(0)
    stream = dataset.as_numpy_iterator()
    assert [row for _ in range(6) for row in next(stream)[0]] == order.order(0).tolist()


def test_the_last_images_validate() -> None:
    train, validation = split_last((np.arange(10), np.arange(10) * 2), 0.2)
    assert train[0].tolist() == list(range(8))
    assert validation[1].tolist() == [16, 18]
    for share in (1.0, 0.9, 1.5):
        with pytest.raises(ValueError, match=r"`validation_split` .*Received: "):
            split_last((np.arange(3),), share)


# === Killed and resumed ===

FEW = IMAGES[:14], LABELS[:14]  # 4 batches an epoch, the last one short
EPOCHS = 3


class KilledError(Exception):
    """What stops a run."""


class KillAt(keras.callbacks.Callback):
    def __init__(self, epoch, batch, error=KilledError) -> None:
        super().__init__()
        self.at, self.error, self.epoch = (epoch, batch), error, None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise self.error("killed")

    def on_epoch_end(self, epoch, logs=None):
        if self.at == (epoch, "end"):
            raise self.error("killed")


class RandomProgram(ProgramLayer):
    """Draws in training, once by a layer with a seed and once by one without."""

    def build(self, input_shape):
        self.noise = [keras.layers.Dropout(0.3, seed=5), keras.layers.Dropout(0.3)]
        super().build(input_shape)

    def call(self, images, training=None):
        for layer in self.noise:
            images = layer(images, training=training)
        return super().call(images)


def random_program(source):
    facts = {"source_range": source.value_range, "placement": "center"}
    return RandomProgram(TARGET_SHAPE, source.source_shape, **facts)


MODELS = {
    "random": lambda: small_model(source := frozen_source(), program=random_program(source)),
    "frozen": lambda: small_model(frozen_source()),
    "estimated": lambda: small_model(frozen_source(), estimator=directions(2)),
    "callable": lambda: small_model(opaque_source()),
}


def run(kind, *callbacks, epochs=EPOCHS, **options):
    model = MODELS[kind]()
    options = {"batch_size": SIZE, "epochs": epochs, "verbose": 0} | options
    model.fit(*FEW, callbacks=list(callbacks), **options)
    return model


@functools.cache
def uninterrupted(kind, epochs=EPOCHS):
    return trained_values(run(kind, epochs=epochs))


def backup(folder, save_freq="epoch"):
    return keras.callbacks.BackupAndRestore(folder, save_freq=save_freq)


# With `save_freq=3` Keras keeps a backup after 3 steps and after 6: in mid-epoch.
KILLS = {"epoch": ("epoch", (1, 1), KilledError), "mid-epoch": (3, (1, 2), SystemExit)}


@pytest.mark.fast_cases(1)
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(
    ("kind", "killed"),
    [
        ("callable", "epoch"),
        ("callable", "mid-epoch"),
        ("frozen", "mid-epoch"),
        ("random", "mid-epoch"),
        # Estimated steps resume in mid-epoch as others do, at twice the time.
        pytest.param("estimated", "mid-epoch", marks=pytest.mark.slow),
        # The backup of an epoch's end is kept by the same callback for every kind of source.
        pytest.param("frozen", "epoch", marks=pytest.mark.slow),
        pytest.param("estimated", "epoch", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(kind, killed, tmp_path) -> None:
    save_freq, kill_at, error = KILLS[killed]
    folder = tmp_path / "backup"
    with pytest.raises(error):
        run(kind, backup(folder, save_freq), KillAt(*kill_at, error=error))
    resumed = run(kind, backup(folder, save_freq), epochs=2)
    assert_equal_values(trained_values(resumed), uninterrupted(kind, epochs=2))
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("kill_at", [(1, "end"), pytest.param((0, 1), marks=pytest.mark.slow)])
def test_runs_killed_at_the_edges_resume_too(kill_at, tmp_path) -> None:
    expected = uninterrupted("callable")
    with pytest.raises(KilledError):
        # The kill comes first: Keras keeps no backup of that epoch's end.
        run("callable", KillAt(*kill_at), backup(tmp_path / "backup", 2))
    resumed = run("callable", backup(tmp_path / "backup", 2))
    assert_equal_values(trained_values(resumed), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_run_killed_twice_in_one_epoch_resumes(tmp_path) -> None:
    expected = uninterrupted("callable")
    for kill_at in ((1, 1), (1, 1)):
        with pytest.raises(KilledError):
            run("callable", backup(tmp_path / "backup", 2), KillAt(*kill_at))
    assert_equal_values(trained_values(run("callable", backup(tmp_path / "backup", 2))), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_resumed_epochs_are_whole_again(tmp_path) -> None:
    with pytest.raises(KilledError):
        run("callable", backup(tmp_path / "backup", 2), KillAt(1, 2))
    batches = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(1))
    run("callable", backup(tmp_path / "backup", 2), count)
    assert len(batches) == 2 + 4


@pytest.mark.slow
def test_runs_with_accumulated_gradients_resume(tmp_path) -> None:
    def model():
        optimizer = keras.optimizers.Adam(0.01, gradient_accumulation_steps=3)
        return small_model(opaque_source(), optimizer=optimizer)

    def fit(*callbacks):
        each = model()
        each.fit(*FEW, SIZE, EPOCHS, 0, list(callbacks))
        return trained_values(each)

    expected = fit()
    with pytest.raises(KilledError):
        fit(backup(tmp_path / "backup"), KillAt(1, 2))
    assert_equal_values(fit(backup(tmp_path / "backup")), expected)


@pytest.mark.slow
def test_data_that_end_unannounced_leave_the_step_counter_alone() -> None:
    model = small_model(frozen_source(), built=True)
    batches = [(IMAGES[start : start + SIZE], LABELS[start : start + SIZE]) for start in (0, 4, 8)]
    with pytest.warns(UserWarning, match="ran out of data"):
        model.fit((batch for batch in batches), verbose=0)
    assert int(model.optimizer.iterations) == 3


@pytest.mark.slow
def test_training_may_go_on_in_a_second_fit() -> None:
    expected = uninterrupted("callable")
    model = run("callable", epochs=2)
    model.fit(*FEW, SIZE, epochs=EPOCHS, initial_epoch=2, verbose=0)
    assert_equal_values(trained_values(model), expected)


def test_random_layers_draw_something_else_in_every_step_and_from_each_seed() -> None:
    def drawn(step, seed=1):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dropout(0.5, seed=4) for _ in range(2)]
        seed_random_layers(layers, tf.constant([seed, step], tf.uint32))
        return [tuple(map(int, layer.seed_generator.state.numpy())) for layer in layers]

    every = [one for step in range(4) for one in drawn(step)] + drawn(0, seed=2**32 - 1)
    assert len(set(every)) == len(every)
    assert drawn(3) == every[6:8]
