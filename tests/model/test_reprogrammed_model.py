"""`ReprogrammedModel` as a Keras user meets it: fit, callbacks, flags, optimizers."""

import keras
import numpy as np
import pytest
from small_models import (
    NUM_CLASSES,
    assert_equal_values,
    directions,
    frozen_source,
    head_model,
    images_and_labels,
    opaque_source,
    program_for,
    sign_source,
    small_model,
    source_values,
    trained_values,
    values,
)

from keras_reprogram import DenseMap, MultiLabelMap, OpaqueSource, ReprogrammedModel

IMAGES, LABELS = images_and_labels(26)


def eager(model):
    model.run_eagerly = True
    return model


def test_parts_are_layers_by_name_and_summary_prints() -> None:
    model = small_model(fitted=False)
    lines = []
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    for name in ("image", "program", "source", "output_map"):
        assert model.get_layer(name).name == name
        assert name in text
    assert model.input_shape == (None, 4, 4, 1)
    assert model.output_shape == (None, NUM_CLASSES)
    assert model.queries_per_prediction == 1


def test_training_lowers_the_loss_by_both_kinds_of_gradient() -> None:
    for options in ({}, {"estimator": directions(8)}):
        model = head_model(**options, learning_rate=0.05)
        loss = eager(model).fit(IMAGES, LABELS, epochs=6, verbose=0).history["loss"]
        assert loss[-1] < 0.7 * loss[0]
        assert np.abs(values(model.program.weights)[0]).max() > 0.01


def test_traffic_signs_learn_from_scores_alone() -> None:
    model = small_model(sign_source(), num_views=2)
    assert model.queries_used == 52
    accuracy = model.evaluate(IMAGES, LABELS, return_dict=True, verbose=0)["accuracy"]
    assert accuracy >= 0.8
    assert model.fit(IMAGES, LABELS, verbose=0).history["queries_used"] == [52 * 2 + 52 * 2]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("verbose", ["auto", 0, 1, 2])
def test_verbose_is_as_in_keras(verbose, capfd) -> None:
    model = eager(head_model())
    model.fit(IMAGES, LABELS, verbose=verbose)
    model.evaluate(IMAGES, LABELS, verbose=verbose)
    model.predict(IMAGES, verbose=verbose)
    model.fit_output_map(IMAGES, LABELS, verbose=verbose)
    printed = capfd.readouterr().out
    assert bool(printed.strip()) == (verbose != 0)
    if verbose != 0:
        assert "queries_used: 26" in printed
        assert "26/26" in printed and "queries_per_second" in printed


class Watch(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(logs["queries_used"])


@pytest.mark.slow
def test_queries_are_in_history_and_in_what_callbacks_see(tmp_path) -> None:
    watch, log = Watch(), tmp_path / "log.csv"
    callbacks = [watch, keras.callbacks.CSVLogger(log)]
    model = eager(head_model())
    history = model.fit(
        IMAGES, LABELS, epochs=2, validation_data=(IMAGES, LABELS), callbacks=callbacks, verbose=0
    )
    assert watch.seen == history.history["queries_used"] == [52, 104]
    assert "queries_used" in log.read_text().splitlines()[0]
    # One callback need not be in a list.
    eager(head_model()).fit(IMAGES, LABELS, callbacks=watch, verbose=0)
    assert watch.seen == [52, 104, 26]


@pytest.mark.slow
def test_early_stopping_restores_the_best_epoch() -> None:
    model = eager(head_model(learning_rate=30.0))
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    history = model.fit(
        IMAGES, LABELS, epochs=30, validation_data=(IMAGES, LABELS), callbacks=[stop], verbose=0
    ).history["val_loss"]
    assert len(history) < 30
    assert model.evaluate(IMAGES, LABELS, verbose=0)[0] == pytest.approx(min(history), rel=1e-4)


@pytest.mark.slow
def test_learning_rate_callbacks_and_clipping_work() -> None:
    optimizer = keras.optimizers.AdamW(0.1, clipnorm=1.0, weight_decay=0.01, use_ema=True)
    model = eager(head_model(optimizer=optimizer, estimator=directions()))
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch))
    model.fit(IMAGES, LABELS, epochs=2, callbacks=[schedule], verbose=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("source", [frozen_source, opaque_source])
def test_checkpoints_of_weights(source, tmp_path) -> None:
    path = tmp_path / "best.weights.h5"
    model = eager(small_model(source()))
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    model.fit(IMAGES, LABELS, callbacks=[checkpoint], verbose=0)
    again = small_model(source(), fitted=False)
    again.load_weights(path)
    assert_equal_values(values(again.trainable_variables), values(model.trainable_variables))
    again.run_eagerly = True
    np.testing.assert_array_equal(
        again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )


def test_whole_checkpoints_of_a_frozen_source(tmp_path) -> None:
    path = tmp_path / "best.keras"
    model = eager(head_model())
    model.fit(IMAGES, LABELS, callbacks=[keras.callbacks.ModelCheckpoint(path)], verbose=0)
    again = keras.models.load_model(path)
    assert_equal_values(trained_values(again), trained_values(model))


def test_whole_checkpoints_of_a_callable_are_refused_before_a_query(tmp_path) -> None:
    model = small_model(opaque_source())
    before = model.queries_used
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras")
    with pytest.raises(ValueError, match=r"save_program.*save_weights_only=True"):
        model.fit(IMAGES, LABELS, callbacks=[checkpoint], verbose=0)
    assert model.queries_used == before


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [None, directions(2)])
def test_two_learning_rates(estimator, tmp_path) -> None:
    slow_map = keras.optimizers.OptimizerMap(
        keras.optimizers.SGD(0.0), {"program/.*": keras.optimizers.SGD(1.0)}
    )
    optimizer = keras.optimizers.MultiOptimizer(slow_map)
    model = head_model(estimator=estimator, optimizer=optimizer)
    head = values(model.output_map.weights)
    eager(model).fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0)
    assert_equal_values(values(model.output_map.weights), head)
    assert np.abs(values(model.program.weights)[0]).max() > 0
    model.save(tmp_path / "two.keras")
    again = keras.models.load_model(tmp_path / "two.keras")
    for each in (model, again):
        eager(each).fit(IMAGES, LABELS, batch_size=8, epochs=1, verbose=0)
    assert_equal_values(values(again.trainable_variables), values(model.trainable_variables))


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [None, directions(2)])
def test_source_weights_are_bit_identical_after_fit(estimator) -> None:
    model = small_model(estimator=estimator)
    before, fingerprint = source_values(model.source), model.source.fingerprint
    model.fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0)
    assert len(before) > 4
    assert_equal_values(source_values(model.source), before)
    assert model.source.fingerprint == fingerprint


@pytest.mark.slow
def test_flags_never_unfreeze_the_source() -> None:
    model = small_model(fitted=False)
    expected = model.program.weights + model.output_map.trainable_variables
    assert model.trainable_variables == expected
    model.trainable = False
    assert model.trainable_variables == model.trainable_weights == []
    model.trainable = True
    model.source.model.trainable = True
    assert [v.path for v in model.trainable_variables] == [v.path for v in expected]
    assert model.trainable_weights == model.trainable_variables
    everything = model.trainable_variables + model.non_trainable_variables
    assert {id(v) for v in everything} == {id(v) for v in model.variables}
    assert {id(v) for v in model.source.model.weights} <= {
        id(v) for v in model.non_trainable_weights
    }
    before = source_values(model.source)
    model.fit_output_map(IMAGES, LABELS, verbose=0)
    eager(model).fit(IMAGES, LABELS, verbose=0)
    # The moving statistics stay too: the source runs with `training=False`.
    assert_equal_values(source_values(model.source), before)


def test_a_frozen_program_costs_no_estimate() -> None:
    model = small_model(opaque_source(), fitted=False)
    model.program.trainable = False
    model.fit_output_map(IMAGES, LABELS, verbose=0)
    before = values(model.program.weights)
    model.fit(IMAGES, LABELS, verbose=0)
    assert model.queries_used == 26 + 26
    assert_equal_values(values(model.program.weights), before)


@pytest.mark.slow
def test_scores_are_collected_once_and_used_often() -> None:
    source = opaque_source()
    model = small_model(source, num_views=3, fitted=False)
    scores = model.collect_scores(IMAGES, batch_size=7, verbose=0)
    assert scores.shape == (26, 3, 5)
    np.testing.assert_allclose(
        scores, keras.ops.convert_to_numpy(source(model.program(IMAGES))), atol=1e-6
    )
    fit = model.fit_output_map(y=LABELS, scores=scores, verbose=0)
    assert model.queries_used == 78
    assert fit.validation_accuracy is not None
    paid = small_model(opaque_source(), num_views=3)
    np.testing.assert_allclose(
        paid.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-5
    )


@pytest.mark.parametrize("source", [frozen_source, opaque_source])
def test_images_without_labels_can_be_asked(source) -> None:
    model = small_model(source())
    batches = keras.utils.unpack_x_y_sample_weight([IMAGES])[0]
    generator = (IMAGES[i : i + 10] for i in (0, 10, 20))
    np.testing.assert_allclose(
        model.collect_scores(generator, steps=3, verbose=0),
        model.collect_scores(batches, verbose=0),
        atol=1e-6,
    )


@pytest.mark.slow
def test_many_models_in_one_process_bring_no_warning(caplog) -> None:
    for _ in range(6):
        small_model(fitted=False).collect_scores(IMAGES[:2], verbose=0)
    assert "retracing" not in caplog.text


def test_a_map_that_assigns_labels_is_fitted_and_not_solved() -> None:
    model = small_model(opaque_source(), MultiLabelMap(NUM_CLASSES), fitted=False)
    assert model.fit_output_map(IMAGES, LABELS, verbose=0) is None
    assert model.evaluate(IMAGES, LABELS, verbose=0)[1] > 0.5


def test_an_explicit_estimator_is_kept_and_an_opaque_source_has_one() -> None:
    estimator = directions(3)
    assert small_model(estimator=estimator, fitted=False).gradient_estimator is estimator
    assert small_model(fitted=False).gradient_estimator is None
    assert small_model(opaque_source(), fitted=False).gradient_estimator.queries_per_image == 1


@pytest.mark.slow
def test_whatever_a_source_raises_comes_out_as_itself() -> None:
    calls = []

    def unreliable(images):
        calls.append(len(images))
        if len(calls) > 6:
            raise ConnectionError("the service is down")
        return np.full((len(images), 5), 0.2, "float32")

    source = OpaqueSource(unreliable, (8, 8, 3), 5, value_range=(0, 255), identity="unreliable")
    model = ReprogrammedModel(program_for(source), source, DenseMap(NUM_CLASSES))
    model.fit_output_map(IMAGES, LABELS, verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ConnectionError, match="the service is down"):
        model.fit(IMAGES, LABELS, batch_size=8, epochs=3, verbose=0)
    # What was sent may have been paid for, answered or not.
    assert model.queries_used == sum(calls)


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_a_policy_of_half_precision_changes_nothing(policy) -> None:
    # A network that is built under a policy computes as the policy says.
    sources = [frozen_source(), frozen_source()]

    def learned():
        optimizer = keras.optimizers.SGD(0.1)
        model = eager(small_model(sources.pop(), estimator=directions(2), optimizer=optimizer))
        model.fit(IMAGES, LABELS, verbose=0)
        return [model.predict(IMAGES, verbose=0), *values(model.trainable_variables)]

    expected = learned()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        found = learned()
    finally:
        keras.config.set_dtype_policy(before)
    assert_equal_values(found, expected)
