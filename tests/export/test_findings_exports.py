"""Exports of a model of several findings say what it says: sigmoids, and which are found."""

import json

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from onnx_files import write_onnx
from small_models import frozen_source, images_and_labels, opaque_source, small_model

from keras_reprogram import DenseMap, ONNXSource, export_litert, export_onnx, export_saved_model
from keras_reprogram.export import (
    export_halves,
    onnx_export,
    read_litert_facts,
    read_onnx_facts,
    saved_model,
)
from keras_reprogram.serving.gateway import GatewayServable
from keras_reprogram.serving.page_steps import read_page_facts, show_steps
from keras_reprogram.serving.servable import ExportedServable

IMAGES, _LEVELS = images_and_labels(90, classes=6)
FINDINGS = np.stack([_LEVELS > 3, _LEVELS > 4, _LEVELS < 1], axis=1).astype(int)
FINDINGS[np.random.default_rng(0).random(FINDINGS.shape) < 0.05] ^= 1
NAMES = ("bright", "glaring", "dark")


def fitted(source):
    output_map = DenseMap(3, targets="multi_label")
    model = small_model(source, output_map, fitted=False, num_views=2, class_names=NAMES)
    model.fit_output_map(IMAGES, FINDINGS, verbose=0)
    return model


@pytest.fixture(scope="module")
def model():
    return fitted(frozen_source())


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    # Without the fresh process, which takes seconds to start.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_reloaded", lambda *arguments: (0.0, 0))
        return export_saved_model(model, tmp_path_factory.mktemp("findings") / "brightness")


@pytest.fixture(scope="module")
def expected(model):
    found = model.predict_findings(IMAGES, verbose=0)
    assert found.any(axis=0).all() and not found.all(axis=0).any()
    return model.predict(IMAGES, verbose=0), found


def check(answer, expected):
    scores, found = expected
    np.testing.assert_allclose(answer["scores"], scores, atol=1e-5)
    np.testing.assert_array_equal(answer["findings"], found)


@pytest.mark.slow
def test_saved_model(model, exported, expected):
    signatures = tf.saved_model.load(str(exported.folder)).signatures
    assert exported.signatures[-3:] == ("findings", "findings_of_files", "findings_of_scores")
    answer = signatures["findings"](image=tf.constant(IMAGES))
    check(answer, expected)
    assert answer["classes"].numpy()[0].tolist() == [name.encode() for name in NAMES]
    scores = model.collect_scores(IMAGES, verbose=0)
    check(signatures["findings_of_scores"](source_scores=tf.constant(scores)), expected)
    plain = signatures["serving_default"](image=tf.constant(IMAGES))
    assert list(plain) == ["scores"]
    facts = json.loads((exported.folder / "assets.extra/keras_reprogram.json").read_text())
    np.testing.assert_allclose(facts["thresholds"], model.output_map.thresholds)


@pytest.mark.slow
def test_litert(model, expected, tmp_path):
    file = export_litert(model, tmp_path / "it.tflite")
    interpreter = Interpreter(str(file))
    check(interpreter.get_signature_runner("findings")(image=IMAGES), expected)
    plain = interpreter.get_signature_runner("serving_default")(image=IMAGES[:2])
    assert list(plain) == ["scores"]
    facts = read_litert_facts(file)
    assert facts.agreement.same_class == 1.0
    np.testing.assert_allclose(facts.thresholds, model.output_map.thresholds)


@pytest.mark.slow
def test_litert_int8(model, expected, tmp_path):
    options = {"calibration_images": IMAGES, "least_agreement": 0.8}
    file = export_litert(model, tmp_path / "it.tflite", form="int8", **options)
    answer = Interpreter(str(file)).get_signature_runner("findings")(image=IMAGES)
    assert (answer["findings"] == expected[1]).mean() > 0.95


@pytest.mark.slow
def test_a_fresh_process_agrees(model, tmp_path):
    assert export_saved_model(model, tmp_path / "brightness").difference < 1e-5


@pytest.mark.slow
def test_halves_around_an_opaque_source(tmp_path):
    source = opaque_source()
    opaque = fitted(source)
    halves = export_halves(opaque, tmp_path / "brightness")
    servable = GatewayServable(halves.program, halves.output_map, 1, source)
    expected = (opaque.predict(IMAGES, verbose=0), opaque.predict_findings(IMAGES, verbose=0))
    check(servable.run("findings", {"image": IMAGES}), expected)
    scores = opaque.collect_scores(IMAGES, verbose=0)
    check(servable.run("findings_of_scores", {"source_scores": scores}), expected)


@pytest.mark.slow
def test_the_page_names_what_is_found(exported, expected):
    servable = ExportedServable(exported.folder, 1)
    facts = read_page_facts(servable)
    for row in (int(expected[1].any(axis=1).argmax()), int((~expected[1].any(axis=1)).argmax())):
        shown = show_steps(servable, facts, IMAGES[row : row + 1])["classes"]
        found = [one["label"] for one in shown if one["found"]]
        assert sorted(found) == sorted(np.array(NAMES)[expected[1][row]])
        assert len(shown) == 3 and "verdict" not in shown


def onnx_model(folder):
    source = ONNXSource(
        write_onnx(folder / "net.onnx"), value_range=(0, 255), score_kind="probabilities"
    )
    return fitted(source)


def test_onnx(tmp_path, monkeypatch):
    # Without the fresh process, which takes seconds to start.
    monkeypatch.setattr(onnx_export, "_check", lambda *arguments: 0.0)
    model = onnx_model(tmp_path)
    file = export_onnx(model, tmp_path / "it.onnx")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == ["scores", "findings"]
    answer = dict(zip(names, session.run(names, {"image": IMAGES}), strict=True))
    check(answer, (model.predict(IMAGES, verbose=0), model.predict_findings(IMAGES, verbose=0)))
    thresholds = read_onnx_facts(file)["thresholds"]
    np.testing.assert_allclose(thresholds, model.output_map.thresholds)


@pytest.mark.slow
def test_a_fresh_process_agrees_with_an_onnx_file(tmp_path):
    export_onnx(onnx_model(tmp_path), tmp_path / "it.onnx")
