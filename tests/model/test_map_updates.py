"""Maps that follow the program: from the epoch's own answers, without a query more."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import (
    NUM_CLASSES,
    assert_equal_values,
    directions,
    frozen_source,
    images_and_labels,
    opaque_source,
    program_for,
    small_model,
    trained_values,
    values,
)

from keras_reprogram import (
    MultiLabelMap,
    assign_labels,
    bayesian_weights,
    load_program,
    save_program,
)

IMAGES, LABELS = images_and_labels(26)
SIZE = 8  # batches of 8, 8, 8 and 2
FOLLOWING = ["iterative", "bayesian", "bayesian_plus"]
SOURCES = {"frozen": frozen_source, "opaque": opaque_source}


def following_model(assignment="iterative", source="frozen", built=True, **options):
    output_map = MultiLabelMap(NUM_CLASSES, assignment=assignment)
    return small_model(SOURCES[source](), output_map, built=built, **options)


def still():
    return keras.optimizers.SGD(0.0)


def fit(model, *callbacks, labels=LABELS, **options):
    options = {"batch_size": SIZE, "epochs": 2, "verbose": 0} | options
    return model.fit(IMAGES, labels, callbacks=list(callbacks), **options).history


def weights_of(model):
    return values([model.output_map.label_weights])[0]


def move(model, seed=0):
    """Puts another program in: what the source answers changes."""
    weights = model.program.program_weights
    weights.assign(np.random.default_rng(seed).normal(0, 3, weights.shape))


def assigned(assignment, scores):
    """What answers to `IMAGES` say, by the functions for stored answers."""
    facts = {"num_classes": NUM_CLASSES, "scores": scores, "labels": LABELS}
    if assignment != "iterative":
        return bayesian_weights(assignment, **facts)
    table = assign_labels("frequency", num_source_labels=scores.shape[-1], **facts)
    matrix = np.zeros((scores.shape[-1], NUM_CLASSES))
    matrix[table[:, 0], np.arange(NUM_CLASSES)] = 1
    return matrix


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("assignment", FOLLOWING)
def test_map_follows_a_program_that_moved(assignment, source) -> None:
    model = following_model(assignment, source, optimizer=still())
    move(model)
    expected = assigned(assignment, model.collect_scores(IMAGES, verbose=0))
    before = weights_of(model)
    assert np.abs(before - expected).max() > 0.05, "the program changes nothing"
    fit(model, epochs=1)
    np.testing.assert_allclose(weights_of(model), expected, atol=1e-5)
    assert not any(seen.any() for seen in values(model.output_map.weights[1:]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "num_views"), [pytest.param("frozen", 3, marks=pytest.mark.slow), ("opaque", 1)]
)
def test_following_asks_nothing_more(source, num_views) -> None:
    spent = []
    for assignment in ("frequency", "iterative", "bayesian_plus"):
        model = following_model(assignment, source, num_views=num_views)
        validation = {"validation_data": (IMAGES[:5], LABELS[:5])}
        history = fit(model, **validation)
        spent.append(history["queries_used"])
        assert spent[-1][-1] == model.queries_used
    per_image = 1 if source == "frozen" else 1 + model.gradient_estimator.queries_per_image
    assert spent[0] == [num_views * (26 + n * (26 * per_image + 5)) for n in (1, 2)]
    assert spent == [spent[0]] * 3


def test_step_is_that_of_keras() -> None:
    """Same start, same batch: program, optimizer and metrics end where Keras's own step ends."""
    weight = np.linspace(0.2, 3, 26).astype("float32")
    found = []
    for follows in (True, False):
        program = program_for(frozen_source(), regularizer=0.01)
        model = following_model(program=program)
        if not follows:
            fixed = MultiLabelMap(NUM_CLASSES, weights=weights_of(model))
            program = program_for(frozen_source(), regularizer=0.01)
            model = small_model(output_map=fixed, program=program)
        history = fit(model, epochs=1, sample_weight=weight)
        history.pop("queries_used")
        found.append((history, values(model.program.weights + model.optimizer.variables)))
    assert found[0][0].keys() == found[1][0].keys() == {"loss", "accuracy"}
    for key, entries in found[0][0].items():
        assert entries == pytest.approx(found[1][0][key], abs=1e-5)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.abs(found[0][1][0]).max() > 1e-3


@pytest.mark.slow
def test_validation_sees_the_map_that_is_saved(tmp_path) -> None:
    model = following_model("bayesian", optimizer=still())
    move(model)
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_test_begin=lambda logs: seen.append(weights_of(model)),
        on_epoch_end=lambda epoch, logs: seen.append(weights_of(model)),
    )
    before = weights_of(model)
    history = fit(model, watch, epochs=1, validation_data=(IMAGES[:9], LABELS[:9]))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert np.abs(seen[0] - before).max() > 0.05
    again = model.evaluate(IMAGES[:9], LABELS[:9], verbose=0)
    assert again == pytest.approx([history["val_loss"][0], history["val_accuracy"][0]], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "assignment", ["iterative", pytest.param("bayesian_plus", marks=pytest.mark.slow)]
)
def test_weights_of_images_and_classes_enter(assignment) -> None:
    weight = np.linspace(0.1, 3, 26).astype("float32")
    followed = following_model(assignment, optimizer=still())
    move(followed)
    fitted = following_model(assignment)
    move(fitted)
    options = {"sample_weight": weight, "class_weight": {0: 1.0, 1: 0.3, 2: 2.0}}
    fitted.fit_output_map(IMAGES, LABELS, **options, verbose=0)
    # With both, Keras takes the classes' alone.
    by_class = np.array([1.0, 0.3, 2.0])[LABELS]
    fit(followed, epochs=1, sample_weight=weight * by_class)
    np.testing.assert_allclose(weights_of(followed), weights_of(fitted), atol=1e-5)


@pytest.mark.slow
def test_one_hot_labels_mean_the_same() -> None:
    one_hot = keras.utils.to_categorical(LABELS, NUM_CLASSES)
    found = []
    for labels, loss in (
        (LABELS, "sparse_categorical_crossentropy"),
        (one_hot, "categorical_crossentropy"),
    ):
        model = following_model("bayesian", built=False)
        model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
        fit(model, labels=labels, epochs=1)
        found.append(weights_of(model))
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


@pytest.mark.slow
def test_executing_several_steps_at_once_changes_nothing() -> None:
    found = []
    for steps in (1, 4):
        model = following_model("bayesian")
        model.compile(
            keras.optimizers.SGD(0.1),
            "sparse_categorical_crossentropy",
            steps_per_execution=steps,
        )
        fit(model)
        found.append(trained_values(model))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_a_data_set_and_a_frozen_program_do_too() -> None:
    model = following_model("bayesian")
    move(model)
    expected = assigned("bayesian", model.collect_scores(IMAGES, verbose=0))
    model.program.trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(SIZE)
    model.fit(data, verbose=0)
    np.testing.assert_allclose(weights_of(model), expected, atol=1e-5)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("estimator", [None, directions(1)])
def test_nothing_is_traced_again(estimator, monkeypatch) -> None:
    traces = []
    call = MultiLabelMap.observe

    def counted(self, *answers):
        traces.append(tf.executing_eagerly())
        call(self, *answers)

    monkeypatch.setattr(MultiLabelMap, "observe", counted)
    model = following_model(estimator=estimator)
    numbers = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: numbers.append(len(traces))
    )
    fit(model, watch, epochs=3)
    fit(model, watch)
    assert len(numbers) == 5 * 4
    assert set(numbers) == {numbers[0]}
    assert not any(traces)


class KilledError(Exception):
    """What stops a run."""


class KillAt(keras.callbacks.Callback):
    def __init__(self, epoch, batch) -> None:
        super().__init__()
        self.at, self.epoch = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KilledError


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(
    ("assignment", "source", "save_freq"),
    [
        pytest.param("iterative", "frozen", 3, marks=pytest.mark.slow),
        ("bayesian_plus", "opaque", "epoch"),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(assignment, source, save_freq, tmp_path) -> None:
    def run(*callbacks):
        model = following_model(assignment, source, built=False)
        fit(model, *callbacks, epochs=3)
        return trained_values(model)

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=save_freq)

    expected = run()
    with pytest.raises(KilledError):
        run(backup(), KillAt(1, 2))
    assert_equal_values(run(backup()), expected)


@pytest.mark.slow
def test_what_a_broken_run_saw_is_forgotten() -> None:
    expected = following_model("bayesian", "opaque", optimizer=still())
    fit(expected, epochs=1)
    model = following_model("bayesian", "opaque", optimizer=still())
    with pytest.raises(KilledError):
        fit(model, KillAt(0, 1))
    assert values([model.output_map.observed_counts])[0].any()
    fit(model, epochs=1)
    np.testing.assert_allclose(weights_of(model), weights_of(expected), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "assignment", ["iterative", pytest.param("self-defined", marks=pytest.mark.slow)]
)
def test_files_keep_the_map(assignment, tmp_path) -> None:
    table = {"label_table": [[4], [0, 2], [1]]} if assignment == "self-defined" else {}
    output_map = MultiLabelMap(NUM_CLASSES, assignment=assignment, **table)
    model = small_model(output_map=output_map)
    move(model)
    fit(model)
    expected = model.predict(IMAGES, verbose=0)
    model.save(tmp_path / "model.keras")
    save_program(model, tmp_path / "model.reprogram")
    whole = keras.saving.load_model(tmp_path / "model.keras")
    small = load_program(tmp_path / "model.reprogram", frozen_source())
    for again in (whole, small):
        assert again.output_map.assignment == assignment
        assert again.output_map.label_table == output_map.label_table
        np.testing.assert_array_equal(weights_of(again), weights_of(model))
        np.testing.assert_allclose(again.predict(IMAGES, verbose=0), expected, atol=1e-6)
    # A model read from a file trains on, and its map with it.
    move(whole, seed=4)
    fit(whole, epochs=1)
    assert assignment == "self-defined" or (weights_of(whole) != weights_of(model)).any()
