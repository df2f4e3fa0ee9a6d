"""Features asked once for all epochs: same training, same History, one pass of queries."""

import re
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    NUM_CLASSES,
    TARGET_SHAPE,
    assert_equal_values,
    frozen_source,
    head_model,
    images_and_labels,
    opaque_source,
    program_for,
    small_model,
    trained_values,
    values,
)

from keras_reprogram import (
    DenseMap,
    MultiLabelMap,
    NewHead,
    QueryLedger,
    ReprogrammedModel,
)
from keras_reprogram.asking.asker import say

IMAGES, LABELS = images_and_labels(26)
OTHERS = images_and_labels(10, seed=1)
WEIGHTS = np.linspace(0.1, 1.0, 26).astype("float32")
SAID = "The source is asked once"


def features_source(seed=7):
    """A few NumPy lines, which need no tracing."""
    return opaque_source(seed, score_kind="features", identity=f"features {seed}")


def dead_program(source, **options):
    """Its weights all lie under the image."""
    return program_for(source, placement="full", **options)


def model_of(source=None, output_map=None, program=None, **options):
    """On features, under a dead program; eager, which spares the tests the tracing."""
    source = source or features_source()
    program = program or dead_program(source)
    output_map = output_map or NewHead(NUM_CLASSES)
    options = {"optimizer": keras.optimizers.SGD(0.1, momentum=0.9)} | options
    model = small_model(source, output_map, fitted=False, program=program, **options)
    model.run_eagerly = True
    return model


def fit(model, x=IMAGES, y=LABELS, **options):
    """Two short epochs; the queries they asked, and their History."""
    before = model.queries_used
    options = {"batch_size": 16, "epochs": 2, "verbose": 0} | options
    history = model.fit(x, y, **options).history
    return model.queries_used - before, history


def data_set(images=IMAGES, labels=LABELS, size=16):
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(size)


def assert_same_training(make, queries, x=IMAGES, y=LABELS, **options):
    """Cached and uncached fits end with the same weights and History, but for the queries."""
    cached, uncached = make(), make()
    asked, history = fit(cached, x, y, **options)
    asked_anew, expected = fit(uncached, x, y, cache_features=None, **options)
    assert (asked, asked_anew) == queries
    assert list(history) == list(expected)
    for name in history.keys() - {"queries_used"}:
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-5, atol=1e-6)
    for left, right in zip(trained_values(cached), trained_values(uncached), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
    assert history["queries_used"][-1] == cached.queries_used


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "queries"),
    [
        ({"validation_data": OTHERS, "validation_batch_size": 4}, (36, 72)),
        ({"validation_split": 0.25, "class_weight": {0: 2.0, 1: 1.0, 2: 0.5}}, (26, 52)),
        ({"sample_weight": WEIGHTS, "shuffle": False}, (26, 52)),
        pytest.param({"steps_per_epoch": 3, "epochs": 3}, (26, 120), marks=pytest.mark.slow),
        pytest.param(
            {"validation_data": data_set(*OTHERS), "validation_freq": 2, "epochs": 4},
            (36, 124),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_training_is_the_same_for_one_pass_of_queries(options, queries) -> None:
    assert_same_training(model_of, queries, **options)


@pytest.mark.slow
def test_the_same_in_a_graph_with_several_steps_at_once() -> None:
    def make():
        model = model_of(frozen_source(output="features"))
        model.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=2)
        model.run_eagerly = False
        return model

    assert_same_training(make, (36, 72), validation_data=OTHERS)


def noisy_map():
    """A user's map that behaves differently in training."""

    class Noisy(NewHead):
        def build(self, input_shape):
            super().build(input_shape)
            self.scaling = keras.layers.BatchNormalization(axis=-1)
            self.scaling.build(input_shape)

        def call(self, features, training=False):
            return super().call(self.scaling(features, training=training))

    return Noisy(NUM_CLASSES)


MODELS = {
    "regularised dead program": lambda: model_of(
        program=nonzero(dead_program(features_source(), regularizer=0.1))
    ),
    "frozen program": lambda: model_of(program=frozen(nonzero(program_for(features_source())))),
    "weight decay": lambda: model_of(optimizer=keras.optimizers.AdamW(0.01, weight_decay=0.1)),
    "map that observes": lambda: fitted(
        model_of(opaque_source(), MultiLabelMap(NUM_CLASSES, assignment="iterative"))
    ),
    "map that behaves differently in training": lambda: model_of(
        frozen_source(output="features"), noisy_map()
    ),
    "dense map of a black box": lambda: fitted(model_of(opaque_source(), DenseMap(NUM_CLASSES))),
}


def nonzero(program):
    program.program_weights.assign(np.full(program.program_weights.shape, 0.5))
    return program


def frozen(program):
    program.trainable = False
    return program


def fitted(model):
    model.fit_output_map(IMAGES, LABELS, verbose=0)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_trains_the_same(name) -> None:
    assert_same_training(MODELS[name], (26, 52))


@pytest.mark.slow
def test_it_says_so_shows_a_bar_and_is_silent_when_told(capsys) -> None:
    fit(model_of(), verbose=2, validation_data=OTHERS)
    printed = capsys.readouterr().out
    assert len(re.findall(SAID, printed)) == 1
    assert "in memory" in printed and "26/26" in printed
    fit(model_of())
    assert capsys.readouterr().out == ""


class Own(ReprogrammedModel):
    """With a step of its own, which wants to see images."""

    seen = ()

    def train_step(self, data):
        self.seen = [*self.seen, tuple(data[0].shape)]
        return super().train_step(data)


def test_it_is_logged_where_keras_logs_its_progress(capsys, caplog) -> None:
    keras.config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO", "keras_reprogram"):
            say("The source is asked once.")
    finally:
        keras.config.enable_interactive_logging()
    assert caplog.messages == ["The source is asked once."]
    assert capsys.readouterr().out == ""


def test_programs_that_are_trained_are_none_of_its_business(capsys) -> None:
    source = frozen_source(output="features")
    model = Own(program_for(source), source, NewHead(NUM_CLASSES))
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    assert fit(model, verbose=2)[0] == 52
    printed = capsys.readouterr().out
    assert SAID not in printed and "every epoch" not in printed
    assert np.abs(values(model.program.weights)[0]).max() > 0


# === Data sets ===


@pytest.mark.slow
def test_data_sets_of_fixed_order_are_cached() -> None:
    x = data_set().map(lambda image, label: (image, tf.one_hot(label, NUM_CLASSES)))

    def make():
        model = model_of()
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        model.run_eagerly = True
        return model

    assert_same_training(make, (26, 52), x=x, y=None, batch_size=None)


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return IMAGES[8 * index : 8 * index + 8], LABELS[8 * index : 8 * index + 8]


def darker(image, label):
    share = tf.numpy_function(
        lambda: np.float32(np.random.default_rng().uniform(0.5, 1)), [], tf.float32
    )
    return image * share, label


def weighed(image, label):
    share = tf.numpy_function(
        lambda: np.float32(np.random.default_rng().uniform(0.5, 1)), [], tf.float32
    )
    return image, label, tf.zeros_like(label, tf.float32) + share


MOVING = {
    "shuffled": (lambda: data_set().shuffle(4), "another order", {}),
    "augmented": (lambda: data_set().map(darker), "gives other images", {}),
    "reweighted": (lambda: data_set().map(weighed), "labels or weights", {}),
    "endless": (lambda: data_set().repeat(), r"leave out `.repeat\(\)`", {"steps_per_epoch": 4}),
    "PyDataset": (Sequence, "a Sequence may give other images", {}),
    "of unknown length": (
        lambda: data_set().filter(lambda image, label: True).repeat(2),
        "does not say that it ends",
        {"steps_per_epoch": 3},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MOVING)
def test_data_that_may_change_are_asked_in_every_epoch(name, capsys) -> None:
    make, reason, options = MOVING[name]
    model = model_of()
    asked, history = fit(model, make(), None, batch_size=None, verbose=2, **options)
    assert asked >= 48
    assert len(history["loss"]) == 2
    assert re.search(f"The source is asked in every epoch: .*{reason}", capsys.readouterr().out)


class Augmenting(keras.layers.Layer):
    """With random numbers of Keras, which it keeps as state."""

    def __init__(self, program):
        super().__init__()
        self.target_shape, self.program = program.target_shape, frozen(program)
        self.make_layers()

    def make_layers(self):
        self.flip = keras.layers.RandomFlip()

    def call(self, images, training=False):
        return self.program(self.flip(images, training=training))


class Flickering(Augmenting):
    """With random numbers from anywhere."""

    def make_layers(self):
        pass

    def call(self, images, training=False):
        share = np.random.default_rng().uniform(0.5, 1.0) if training else 1.0
        return self.program(images * share)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "reason"), [(Augmenting, "random numbers"), (Flickering, "other images in training")]
)
def test_augmentation_inside_the_program_turns_it_off(kind, reason, capsys) -> None:
    program = kind(program_for(features_source()))
    assert fit(model_of(program=program), verbose=2)[0] == 52
    said = rf"in every epoch: the program .*{reason} \(augmentation\)"
    assert re.search(said, capsys.readouterr().out)


def test_a_model_with_a_step_of_its_own_keeps_it(capsys) -> None:
    source = features_source()
    model = Own(dead_program(source), source, NewHead(NUM_CLASSES))
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    assert fit(model, verbose=2)[0] == 52
    assert model.seen == [(16, *TARGET_SHAPE), (10, *TARGET_SHAPE)] * 2
    assert "Own has a `train_step` of its own" in capsys.readouterr().out


# === What is kept ===


def test_a_second_fit_asks_nothing_until_something_changes(capsys) -> None:
    model = model_of()
    assert fit(model, validation_data=OTHERS)[0] == 36
    assert fit(model, validation_data=OTHERS, verbose=2)[0] == 0
    assert "No query is sent" in capsys.readouterr().out
    assert fit(model, 255 - IMAGES)[0] == 26
    model.source.identity = "another version"
    assert fit(model, 255 - IMAGES)[0] == 26


@pytest.mark.slow
def test_one_epoch_is_trained_as_ever(capsys) -> None:
    model = model_of()
    assert fit(model, Sequence(), None, batch_size=None, epochs=1, verbose=2)[0] == 24
    assert "asked" not in capsys.readouterr().out
    assert fit(model, epochs=1)[0] == fit(model, epochs=1)[0] == 26
    assert fit(model, epochs=4, initial_epoch=3)[0] == 26


@pytest.mark.slow
def test_files_serve_later_runs_and_know_their_source_program_and_images(tmp_path) -> None:
    options = {"cache_features": tmp_path / "features", "validation_data": OTHERS}
    first, second = model_of(), model_of()
    assert fit(first, **options)[0] == 36
    assert fit(second, **options)[0] == 0
    assert_equal_values(trained_values(first), trained_values(second))
    assert len(list((tmp_path / "features").iterdir())) == 2
    assert fit(model_of(features_source(8)), **options)[0] == 36
    wide = dead_program(features_source(), target_range=(-1, 255))
    assert fit(model_of(program=wide), **options)[0] == 36
    assert fit(model_of(), 255 - IMAGES, **options)[0] == 26
    assert len(list((tmp_path / "features").iterdir())) == 7


class Shade(keras.layers.Layer):
    """A program whose config does not say what its code does."""

    factor = 1.0

    def __init__(self, program):
        super().__init__(name="shade")
        self.target_shape, self.program = program.target_shape, frozen(program)

    def call(self, images):
        return self.program(images) * self.factor

    def get_config(self):
        return {}


@pytest.mark.slow
def test_files_know_code_and_request_options(tmp_path, monkeypatch) -> None:
    def asked():
        source = features_source()
        monkeypatch.setattr(type(source), "request_options", options)
        program = Shade(dead_program(source))
        return fit(model_of(source, program=program), cache_features=tmp_path)[0]

    options = ""
    assert [asked(), asked()] == [26, 0]
    options = "labels 50"
    assert [asked(), asked()] == [26, 0]
    monkeypatch.setattr(Shade, "factor", 0.5)
    assert [asked(), asked()] == [26, 0]


class Restore(keras.callbacks.Callback):
    """Gives the program other weights, as `BackupAndRestore` may."""

    def __init__(self, when) -> None:
        super().__init__()
        setattr(self, when, self.restore)

    def restore(self, *arguments):
        weights = self.model.program.weights[0]
        weights.assign(weights + 1.0)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("when", ["on_train_begin", "on_epoch_end"])
@pytest.mark.parametrize("kind", ["arrays", "data set"])
def test_a_callback_that_changes_the_program_ends_fit(when, kind) -> None:
    model = model_of(program=frozen(program_for(features_source())))
    data = {} if kind == "arrays" else {"x": data_set(), "y": None, "batch_size": None}
    with pytest.raises(ValueError, match="program with other weights than then, which a callback"):
        fit(model, callbacks=[Restore(when)], **data)
    fit(model, callbacks=[Restore(when)], cache_features=None, **data)


def test_training_on_kept_answers_is_guarded_where_validation_moves(capsys) -> None:
    model = model_of(program=frozen(program_for(features_source())))
    moving = tf.data.Dataset.from_tensor_slices(OTHERS).batch(5).shuffle(2)
    options = {"validation_data": moving, "verbose": 2}
    with pytest.raises(ValueError, match="with other weights than then"):
        fit(model, callbacks=[Restore("on_epoch_end")], **options)
    assert "asked in every epoch for validation: the data set" in capsys.readouterr().out


class Toggle(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.trainable = False


def test_what_else_becomes_trainable_is_no_change_of_the_program() -> None:
    assert fit(model_of(), callbacks=[Toggle()])[0] == 26


def test_a_full_disk_is_known_before_anything_is_asked(tmp_path, monkeypatch) -> None:
    model = model_of()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(OSError, match="Received: 100 free bytes. Make room, name a folder"):
        fit(model, cache_features=tmp_path)
    assert model.queries_used == 0
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_pass_leaves_nothing_and_a_damaged_file_is_named(tmp_path) -> None:
    def interrupted(images):
        raise ConnectionError("gone")

    model = fitted(model_of(opaque_source(), DenseMap(NUM_CLASSES)))
    function, model.source.function = model.source.function, interrupted
    with pytest.raises(ConnectionError):
        fit(model, cache_features=tmp_path)
    assert list(tmp_path.iterdir()) == []
    model.source.function = function
    fit(model, cache_features=tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=rf"{path.name} must hold .* Received: .* Delete it"):
        fit(model, cache_features=tmp_path)


def test_a_folder_that_cannot_serve_is_refused_or_warned_of(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ValueError, match="`cache_features` must be a folder"):
        fit(model_of(), cache_features=path)
    model = head_model()
    model.run_eagerly = True
    with pytest.warns(UserWarning, match="the program is trained.* has no effect") as caught:
        fit(model, cache_features=tmp_path)
    assert caught[0].filename == __file__


def test_more_than_memory_is_meant_to_hold_is_asked_in_every_epoch(monkeypatch, capsys) -> None:
    monkeypatch.setattr("keras_reprogram.asking.answer_cache._MOST_MEMORY", 100)
    assert fit(model_of(), verbose=2)[0] == 52
    assert "`cache_features=path`" in capsys.readouterr().out


# === Beside it ===


@pytest.mark.parametrize(("budget", "asked"), [(26, 26), (60, 52)])
def test_a_ledger_pays_for_one_pass_or_for_what_it_can(budget, asked, tmp_path) -> None:
    with QueryLedger(tmp_path / "ledger", budget=budget) as ledger:
        model = model_of(opaque_source(score_kind="features", ledger=ledger))
        fit(model, validation_data=(255 - IMAGES, LABELS) if budget == 60 else None)
        assert ledger.spent == asked


def test_a_budget_below_one_pass_leaves_fit_as_it_was(tmp_path, capsys) -> None:
    with QueryLedger(tmp_path / "ledger", budget=16) as ledger:
        model = model_of(opaque_source(score_kind="features", ledger=ledger))
        with pytest.warns(UserWarning, match="Training ended"):
            fit(model, verbose=2)
        assert ledger.spent == 16
    assert "one pass may take 26 queries" in capsys.readouterr().out


class Evaluate(keras.callbacks.Callback):
    """What users do in callbacks: looks at images in the midst of a fit."""

    def on_epoch_end(self, epoch, logs=None):
        answers = self.model.predict(OTHERS[0], verbose=0)
        loss = self.model.evaluate(*OTHERS, verbose=0)[0]
        own = -np.log(answers[np.arange(10), OTHERS[1]]).mean()
        assert loss == pytest.approx(own, rel=1e-4)
        assert loss == pytest.approx(logs["val_loss"], rel=1e-4)


@pytest.mark.slow
def test_callbacks_may_evaluate_images_meanwhile() -> None:
    model = model_of(frozen_source(output="features"))
    model.run_eagerly = False
    assert fit(model, validation_data=OTHERS, callbacks=[Evaluate()])[0] == 36 + 2 * 20


class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 6:
            raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_killed_and_resumed_equals_uninterrupted(tmp_path) -> None:
    def run(*callbacks):
        model = model_of()
        asked, _ = fit(
            model, callbacks=list(callbacks), cache_features=tmp_path / "features", batch_size=8
        )
        return asked, trained_values(model)

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=2)
    with pytest.raises(KeyboardInterrupt):
        run(backup, Kill())
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=2)
    asked, resumed = run(backup)
    assert asked == 0
    assert_equal_values(resumed, run()[1])
