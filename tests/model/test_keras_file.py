"""`.keras` files: saved, loaded, trained on."""

import copy
import shutil

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
    saved_model_source,
    small_model,
    trained_values,
    values,
)

from keras_reprogram import DenseMap, LiteRTSource, MultiLabelMap, ReprogrammedModel, embedded_path

IMAGES, LABELS = images_and_labels(13)


def litert_source(folder):
    path = folder / "signs.tflite"
    shutil.copy(embedded_path("traffic_signs.tflite"), path)
    return LiteRTSource(path, value_range=(0, 255))


SOURCES = {
    "frozen": lambda folder: frozen_source(),
    "saved_model": lambda folder: saved_model_source(folder / "network"),
    "litert": litert_source,
}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("kind", SOURCES)
def test_a_loaded_model_predicts_and_trains_on_as_the_saved_one(kind, tmp_path) -> None:
    estimator = directions(2, smoothing=0.01) if kind == "frozen" else None
    model = small_model(
        SOURCES[kind](tmp_path),
        num_views=2,
        estimator=estimator,
        class_names=("a", "b", "c"),
        seed=3,
    )
    # Tracing takes longer than these steps.
    model.run_eagerly = True
    options = {"batch_size": 8, "verbose": 0}
    model.fit(IMAGES, LABELS, **options)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    assert isinstance(again, ReprogrammedModel)
    assert_equal_values(trained_values(again), trained_values(model))
    assert again.class_names == ("a", "b", "c")
    assert again.seed == 3
    assert again.source.fingerprint == model.source.fingerprint
    assert again.source.differentiable == model.source.differentiable
    assert again.program.get_config() == model.program.get_config()
    assert again.output_map.get_config() == model.output_map.get_config()
    assert again.gradient_estimator.get_config() == model.gradient_estimator.get_config()
    assert again.source.trainable_variables == []
    assert again.queries_used == 0
    again.run_eagerly = True
    for each in (model, again):
        each.fit(IMAGES, LABELS, initial_epoch=1, epochs=2, **options)
    np.testing.assert_allclose(
        again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-6
    )
    assert_equal_values(values(again.program.weights), values(model.program.weights))


@pytest.mark.parametrize("kind", ["saved_model", "litert"])
def test_a_source_file_that_changed_is_refused(kind, tmp_path) -> None:
    source = SOURCES[kind](tmp_path)
    small_model(source).save(tmp_path / "model.keras")
    changed = source.model_path if kind == "litert" else source.model_path / "saved_model.pb"
    changed.write_bytes(changed.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"is not the one expected.*Received: sha256"):
        keras.models.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("existing", [None, b"older"])
def test_a_callable_cannot_be_saved_and_leaves_files_as_they_were(existing, tmp_path) -> None:
    path = tmp_path / "model.keras"
    if existing:
        path.write_bytes(existing)
    model = small_model(opaque_source())
    with pytest.raises(ValueError, match="save_program"):
        model.save(path)
    assert (path.read_bytes() if path.exists() else None) == existing


@pytest.mark.slow
def test_a_map_that_is_not_fitted_may_be_saved(tmp_path) -> None:
    small_model(output_map=MultiLabelMap(NUM_CLASSES), fitted=False).save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert not again.output_map.ready
    again.fit_output_map(IMAGES, LABELS, verbose=0)
    assert again.evaluate(IMAGES, LABELS, verbose=0)


def test_regulariser_and_flags_survive(tmp_path) -> None:
    source = frozen_source()
    program = program_for(source, regularizer=0.01, grid=3, operation="multiply")
    model = small_model(source, program=program)
    model.program.trainable = False
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.program.get_config() == program.get_config()
    assert again.program.program_weights.shape == (1, 3, 3, 3)
    assert again.trainable_variables == again.output_map.trainable_variables


def test_weights_go_from_one_model_to_another(tmp_path) -> None:
    one, other = head_model(), head_model(seed=4)
    one.run_eagerly = True
    one.fit(IMAGES, LABELS, verbose=0)
    one.save_weights(tmp_path / "one.weights.h5")
    other.load_weights(tmp_path / "one.weights.h5")
    assert_equal_values(values(one.weights), values(other.weights))


def test_a_model_is_copied_whole() -> None:
    model = small_model(output_map=DenseMap(NUM_CLASSES))
    again = copy.deepcopy(model)
    assert_equal_values(values(again.weights), values(model.weights))
    assert again.source.model is not model.source.model
