"""Calibrated models: their sets in SavedModels, halves and LiteRT files are the model's own."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from exported_models import png, signatures
from small_models import NUM_CLASSES, frozen_source, images_and_labels, opaque_source, small_model

from keras_reprogram import export_halves, export_litert, export_saved_model
from keras_reprogram.export import read_litert_facts

# tests/asking/test_prediction_sets.py has what is fast.
pytestmark = pytest.mark.slow

_, LABELS = images_and_labels(120)
NAMES = ["dark", "grey", "bright"]

SET_OUTPUTS = ["accepted", "distance", "foreign", "probabilities", "scores", "set"]


def noisy_images(seed, labels=LABELS):
    """Images that overlap so far that sets of one, two and three classes occur, as 8-bit codes."""
    random = np.random.default_rng(seed)
    levels = 255 * (labels + 0.5) / NUM_CLASSES + random.normal(0, 60, len(labels))
    images = levels[:, None, None, None] + random.normal(0, 30, (len(labels), 4, 4, 1))
    return np.clip(images, 0, 255).round().astype("float32")


NEW = noisy_images(3)


def calibrated(source, **choices):
    model = small_model(source, fitted=False, class_names=NAMES)
    model.fit_output_map(noisy_images(1), LABELS, verbose=0)
    model.calibrate(noisy_images(2), LABELS, verbose=0, **choices)
    return model


@pytest.fixture(scope="module")
def model():
    return calibrated(frozen_source(), coverage=0.85)


@pytest.fixture(scope="module")
def expected(model):
    found = model.predict_sets(NEW, verbose=0)
    assert set(found.sizes) >= {1, 2} and 0 < found.accepted.mean() < 1
    return found


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_saved_model(model, tmp_path_factory.mktemp("sets") / "model")


def assert_sets_equal(answer, expected) -> None:
    np.testing.assert_allclose(answer["probabilities"], expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(answer["distance"], expected.distances, atol=1e-5)
    np.testing.assert_array_equal(answer["set"], expected.sets)
    np.testing.assert_array_equal(answer["accepted"], expected.accepted)
    np.testing.assert_array_equal(answer["foreign"], expected.foreign)


@pytest.mark.slow
def test_saved_models_answer_with_the_models_sets(model, exported, expected) -> None:
    served = signatures(exported)
    files = tf.constant([png(image) for image in NEW])
    scores = tf.constant(model.collect_scores(NEW, verbose=0))
    plain = served["serving_default"](image=tf.constant(NEW))
    for answer in (
        served["sets"](image=tf.constant(NEW)),
        served["sets_of_files"](image_bytes=files),
        served["sets_of_scores"](source_scores=scores),
    ):
        assert_sets_equal(answer, expected)
        np.testing.assert_allclose(answer["scores"], plain["scores"], atol=1e-6)
        assert (answer["classes"].numpy() == [name.encode() for name in NAMES]).all()
    assert set(plain) == {"scores"}
    assert exported.warmup_requests == 17


def test_the_facts_say_what_the_sets_promise(model, exported) -> None:
    facts = (exported.folder / "assets.extra/keras_reprogram.json").read_text()
    assert '"coverage": 0.85' in facts and '"num_images": 120' in facts
    assert exported.signatures[-3:] == ("sets", "sets_of_files", "sets_of_scores")


@pytest.mark.parametrize("form", ["float32", pytest.param("int8", marks=pytest.mark.slow)])
def test_a_litert_file_has_a_signature_for_sets(model, expected, form, tmp_path) -> None:
    options = {"calibration_images": noisy_images(1), "least_agreement": 0.9}
    options = {} if form == "float32" else options
    file = export_litert(model, tmp_path / "one.tflite", form=form, **options)
    interpreter = Interpreter(str(file))
    outputs = {name: one["outputs"] for name, one in interpreter.get_signature_list().items()}
    assert outputs == {"serving_default": ["scores"], "sets": SET_OUTPUTS}
    answer = interpreter.get_signature_runner("sets")(image=NEW)
    plain = interpreter.get_signature_runner("serving_default")(image=NEW)
    np.testing.assert_array_equal(plain["scores"], answer["scores"])
    if form == "float32":
        assert_sets_equal(answer, expected)
    else:
        assert np.mean(answer["set"] == expected.sets) > 0.9
    # By its place, as clients without signatures ask.
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], NEW.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], NEW)
    interpreter.invoke()
    first = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_array_equal(first, plain["scores"])
    assert read_litert_facts(file).calibration["coverage"] == 0.85


@pytest.mark.slow
def test_halves_answer_with_the_models_sets(tmp_path) -> None:
    model = calibrated(opaque_source())
    halves = export_halves(model, tmp_path / "halves")
    scores = model.collect_scores(NEW, verbose=0)
    expected = model.predict_sets(scores=scores)
    of_scores = signatures(halves.output_map)["sets_of_scores"]
    assert_sets_equal(of_scores(source_scores=tf.constant(scores)), expected)
    runner = Interpreter(str(halves.output_map_file)).get_signature_runner("sets")
    assert_sets_equal(runner(source_scores=scores), expected)


def test_sets_of_other_weights_are_not_exported(tmp_path) -> None:
    model = calibrated(frozen_source())
    model.calibration = replace(model.calibration, weights="of before")
    for export in (export_saved_model, export_halves):
        with pytest.raises(ValueError, match="weights have changed since"):
            export(model, tmp_path / "none")
    with pytest.raises(ValueError, match="weights have changed since"):
        export_litert(model, tmp_path / "none.tflite")
    assert not list(tmp_path.iterdir())
