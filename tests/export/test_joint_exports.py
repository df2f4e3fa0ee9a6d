"""Exports of joint sources: whole where every part can be embedded, in halves where not."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from joint_models import joint, model_of, random_images
from small_models import NUM_LABELS, frozen_source, images_and_labels, opaque_source

from keras_reprogram import export_blockers, export_halves, export_litert, export_saved_model
from keras_reprogram.export import halves, saved_model
from keras_reprogram.export.onnx_export import onnx_blockers
from keras_reprogram.serving.gateway import GatewayServable

IMAGES = random_images()


@pytest.fixture(scope="module")
def whole():
    """A model whose parts can all become part of a graph."""
    return model_of(joint(frozen_source()), fitted=True)


@pytest.fixture(scope="module")
def opaque():
    return model_of(joint(opaque_source()), fitted=True)


@pytest.fixture
def unchecked(monkeypatch):
    """Without the fresh processes, which take seconds to start."""
    for module in (halves, saved_model):
        monkeypatch.setattr(module, "check_reloaded", lambda *arguments: (0.0, 0))


@pytest.mark.slow
def test_a_fresh_process_answers_like_the_model(whole, tmp_path):
    expected = whole.predict(IMAGES, verbose=0)
    exported = export_saved_model(whole, tmp_path / "joint", batch_sizes=(1,))
    assert exported.difference < 1e-5
    loaded = tf.saved_model.load(exported)
    found = loaded.signatures["serving_default"](image=IMAGES)["scores"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    steps = loaded.signatures["steps"](image=IMAGES)
    assert steps["source_scores"].shape == (6, 2, NUM_LABELS)
    np.testing.assert_allclose(steps["beside"], whole.source.beside(IMAGES), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["float32", "int8"])
def test_a_litert_file_answers_like_the_model(whole, tmp_path, form):
    images = random_images(64)
    file = export_litert(
        whole, tmp_path / f"{form}.tflite", form=form, calibration_images=images, force=True
    )
    runner = Interpreter(model_path=str(file)).get_signature_runner("serving_default")
    found = runner(image=images)["scores"]
    tolerance = 1e-5 if form == "float32" else 0.1
    np.testing.assert_allclose(found, whole.predict(images, verbose=0), atol=tolerance)


@pytest.mark.slow
def test_an_opaque_part_is_named_and_its_equivalent_taken_in_its_place(
    whole, opaque, tmp_path, unchecked
):
    (blocker,) = export_blockers(opaque)
    assert "OpaqueSource" in blocker and "export_halves" in blocker
    # As opaque and as a network the same source.
    twin = frozen_source()
    assert not export_blockers(whole, twin)
    exported = export_saved_model(whole, tmp_path / "twin", source=twin, batch_sizes=(1,))
    found = tf.saved_model.load(exported).signatures["serving_default"](image=IMAGES)["scores"]
    np.testing.assert_allclose(found, whole.predict(IMAGES, verbose=0), atol=1e-5)


def test_a_joint_source_is_no_onnx_file(opaque):
    assert any(blocker.startswith("The source is joint") for blocker in onnx_blockers(opaque))


@pytest.mark.slow
def test_a_gateway_asks_the_opaque_part_between_the_halves(opaque, tmp_path, unchecked):
    before = opaque.source.queries_used
    written = export_halves(opaque, tmp_path / "joint")
    assert opaque.source.queries_used == before and written.difference < 1e-5
    expected = opaque.predict(IMAGES, verbose=0)
    asked = opaque_source()
    gateway = GatewayServable(written.program, written.output_map, 1, asked)
    found = gateway.run("serving_default", {"image": IMAGES})["scores"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert asked.queries_used == 2 * len(IMAGES)
    steps = gateway.run("steps", {"image": IMAGES})
    definitions = gateway.signature_defs["steps"].outputs
    assert set(steps) == set(definitions)
    for name, value in steps.items():
        shape = [dim.size for dim in definitions[name].tensor_shape.dim]
        assert list(value.shape[1:]) == shape[1:], name


@pytest.mark.slow
def test_a_calibrated_model_says_the_same_through_a_gateway(opaque, tmp_path, unchecked):
    x, y = images_and_labels(120, seed=5)
    opaque.calibrate(x, y, verbose=0)
    try:
        expected = opaque.predict_sets(IMAGES, verbose=0)
        written = export_halves(opaque, tmp_path / "sets")
    finally:
        opaque.calibration = None
    gateway = GatewayServable(written.program, written.output_map, 1, opaque_source())
    found = gateway.run("sets", {"image": IMAGES})
    np.testing.assert_allclose(found["distance"], expected.distances, atol=1e-5)
    np.testing.assert_array_equal(found["set"], expected.sets)
