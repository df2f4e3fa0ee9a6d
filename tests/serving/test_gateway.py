"""Program and output map from files, with a live source between them."""

import base64
import json
import logging
import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from served_models import (
    CLASS_NAMES,
    CLIENT,
    example,
    examples_input,
    post,
    predict_request,
    refusal,
    stubs_of,
    target_images,
)
from small_models import images_and_labels, opaque_source, sign_source, small_model
from tensorflow_serving.apis import classification_pb2

from keras_reprogram import QueryLedger
from keras_reprogram.export import export_halves
from keras_reprogram.serving import ModelServer
from keras_reprogram.serving.page_steps import read_page_facts, show_steps
from keras_reprogram.source.remote import TFServingSource, retries
from keras_reprogram.testing import HostedModel
from keras_reprogram.testing.fake_tf_serving import FakeTFServing

NUM_VIEWS = 2
KEY = "planted-key-5113"
LABELS = tuple(f"label {number}" for number in range(43))


def halves(folder, source):
    model = small_model(source, num_views=NUM_VIEWS, class_names=CLASS_NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_reprogram.export.halves.check_reloaded", lambda *arguments: (0.0, 0))
        export_halves(model, folder / "signs")
    return folder / "signs", model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return halves(tmp_path_factory.mktemp("halves"), sign_source())


@pytest.fixture(scope="module")
def gateway(exported):
    with ModelServer(exported[0], source=sign_source(), poll_seconds=60) as server:
        yield server


@pytest.fixture(scope="module")
def stubs(gateway):
    with stubs_of(gateway) as stubs:
        yield stubs


def test_pixels_score_as_the_model_itself(gateway, exported):
    images = target_images()
    expected = exported[1].predict(images, verbose=0)
    answer = post(gateway, {"instances": images.tolist()})
    np.testing.assert_allclose(answer.json()["predictions"], expected, atol=1e-6)


def test_files_score_as_their_pixels(gateway, stubs, exported):
    codes = np.random.default_rng(1).integers(0, 256, (4, 4, 4, 1), np.uint8)
    files = [tf.io.encode_png(image).numpy() for image in codes]
    expected = exported[1].predict(codes.astype("float32"), verbose=0)
    encoded = [{"b64": base64.b64encode(file).decode()} for file in files]
    answer = post(gateway, {"signature_name": "image_bytes", "instances": encoded})
    rows = answer.json()["predictions"]
    # Rounding: two halves with JSON between them, and one graph.
    np.testing.assert_allclose([row["scores"] for row in rows], expected, rtol=1e-5, atol=1e-6)
    assert all(row["classes"] == CLASS_NAMES for row in rows)
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "signs", "classify"
    examples = (example(**{"image/encoded": file}) for file in files)
    request.input.CopyFrom(examples_input(*examples))
    answer = stubs.predictions.Classify(request)
    scores = [[one.score for one in row.classes] for row in answer.result.classifications]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


def test_steps_show_what_the_source_was_asked(gateway, stubs, exported):
    images, model = target_images(), exported[1]
    request = predict_request(gateway, "steps", image=images)
    answer = stubs.predictions.Predict(request)
    steps = {name: tf.make_ndarray(proto) for name, proto in answer.outputs.items()}
    shown = model.program(images)
    np.testing.assert_allclose(steps["source_images"], shown, atol=1e-3)
    asked = model.source(steps["source_images"])
    np.testing.assert_allclose(steps["source_scores"], asked, atol=1e-6)
    np.testing.assert_allclose(steps["scores"], model.predict(images, verbose=0), atol=1e-6)


@pytest.mark.slow
def test_it_has_the_signatures_of_a_whole_export(gateway, brightness):
    def shapes(server):
        found = {}
        for name, signature in server.versions.latest().signature_defs.items():
            for kind, infos in (("in", signature.inputs), ("out", signature.outputs)):
                for key, info in infos.items():
                    sizes = [dim.size for dim in info.tensor_shape.dim]
                    found[name, kind, key] = (info.dtype, len(sizes), signature.method_name)
        return found

    assert shapes(gateway) == shapes(brightness)
    # A file on this machine costs nothing.
    assert not gateway.versions.latest().costs_queries


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (target_images() / 255, "one 8-bit step"),
        (target_images() - 300, "must lie in the program's `target_range` (0, 255)"),
        (np.full((1, 4, 4, 1), np.nan), "must be finite"),
    ],
    ids=["divided by 255", "too dark", "nan"],
)
def test_pixels_on_another_scale_are_refused_and_not_asked(gateway, stubs, images, said):
    before = gateway._source.queries_used
    for signature in ("serving_default", "steps"):
        request = predict_request(gateway, signature, image=images.astype(np.float32))
        code, text = refusal(stubs.predictions.Predict, request)
        assert code == "INVALID_ARGUMENT"
        assert said in text
    assert gateway._source.queries_used == before


def test_no_rows_are_no_queries(gateway, stubs):
    source = gateway._source
    before = source.queries_used
    request = predict_request(gateway, image=np.zeros((0, 4, 4, 1), np.float32))
    assert tf.make_ndarray(stubs.predictions.Predict(request).outputs["scores"]).shape == (0, 3)
    assert source.queries_used == before


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"no example", "Could not parse example input number 0."),
        (tf.train.Example().SerializeToString(), "image/encoded (data type: string) is required"),
        (
            example(**{"image/encoded": b"no image"}).SerializeToString(),
            "Image files must be JPEG, PNG",
        ),
    ],
)
def test_what_is_no_image_is_refused_and_not_asked(gateway, stubs, contents, said):
    before = gateway._source.queries_used
    request = predict_request(gateway, "classify", inputs=np.array([contents], object))
    code, text = refusal(stubs.predictions.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert said in text
    assert gateway._source.queries_used == before


def test_a_source_it_was_not_made_for(exported):
    for source, said in (
        (opaque_source(), r"source_shape \[8, 8, 3\], expected \[32, 32, 3\]; .*num_labels 5"),
        (
            sign_source(class_names=LABELS, score_kind="logits"),
            "scores logits, expected probabilities",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            ModelServer(exported[0], source=source).start()


def test_a_source_of_the_same_form_that_is_another(exported, monkeypatch):
    source = sign_source()
    monkeypatch.setattr(type(source), "fingerprint", "another")
    with pytest.raises(ValueError, match="fingerprint another, expected"):
        ModelServer(exported[0], source=source).start()


def test_halves_need_a_source_and_whole_models_have_theirs(exported, brightness_export):
    with pytest.raises(ValueError, match="Received: no source. Pass it as `source`"):
        ModelServer(exported[0])
    with pytest.raises(ValueError, match="Received: a source too"):
        ModelServer(brightness_export[0], source=sign_source())


@pytest.fixture(scope="module")
def service():
    signs = HostedModel.of(sign_source(class_names=LABELS))
    with FakeTFServing(signs, "signs", key=KEY) as fake:
        yield fake


@pytest.fixture(scope="module")
def remote_halves(service, exported, tmp_path_factory):
    """The same halves, as if the model had been trained on the service."""
    folder = shutil.copytree(exported[0], tmp_path_factory.mktemp("remote") / "signs")
    for half in ("program", "output_map"):
        file = folder / half / "1" / "assets.extra" / "keras_reprogram.json"
        facts = json.loads(file.read_text())
        facts["source"]["fingerprint"] = remote_source(service).fingerprint
        file.write_text(json.dumps(facts))
    return folder


def remote_source(service, ledger=None):
    return TFServingSource(
        service.address,
        "signs",
        (32, 32, 3),
        LABELS,
        value_range=(0, 255),
        identity="signs, version 1",
        key_variable="PLANTED",
        ledger=ledger,
        retries=1,
    )


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("PLANTED", KEY)
    monkeypatch.setattr(retries, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(retries, "_LONGEST_WAIT", 0.02)


def test_asked_twice_is_billed_once(service, remote_halves, key, tmp_path):
    images = target_images(3, seed=4).tolist()
    ledger = QueryLedger(tmp_path / "signs.ledger", budget=6, price_per_thousand=500.0)
    with ledger, ModelServer(remote_halves, source=remote_source(service, ledger)) as server:
        assert server.versions.latest().costs_queries
        billed = service.bill
        first = post(server, {"instances": images})
        assert first.status_code == 200, first.text
        assert service.bill == billed + 3 * NUM_VIEWS
        assert post(server, {"instances": images}).json() == first.json()
        assert service.bill == billed + 3 * NUM_VIEWS
        more = post(server, {"instances": target_images(3, seed=5).tolist()})
        assert more.status_code == 429
        assert more.json()["error"] == (
            "The budget of the source model is spent. The server's log says more."
        )
        figures = CLIENT.get(f"{server.rest_address}/metrics").text
    assert service.bill == billed + 6
    assert "keras_reprogram_source_queries 6.0" in figures
    assert "keras_reprogram_ledger_spent 6.0" in figures
    assert "keras_reprogram_ledger_left 0.0" in figures
    assert "keras_reprogram_ledger_money_spent 3.0" in figures


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("fault", "wrong_key", "status", "code"),
    [
        (None, "wrong-key-7720", 400, "FAILED_PRECONDITION"),
        (503, None, 503, "UNAVAILABLE"),
        (429, None, 503, "UNAVAILABLE"),
        ("nan", None, 500, "INTERNAL"),
    ],
)
def test_failures_of_the_source(
    service, remote_halves, key, fault, wrong_key, status, code, monkeypatch, caplog
):
    if wrong_key:
        monkeypatch.setenv("PLANTED", wrong_key)
    caplog.set_level(logging.INFO)
    images, faults = target_images(1, seed=6), service.faults.left
    source = remote_source(service)
    with ModelServer(remote_halves, source=source) as server, stubs_of(server) as stubs:
        faults.extend([fault] * 4 if fault else [])
        answer = post(server, {"instances": images.tolist()})
        faults.clear()
        faults.extend([fault] * 4 if fault else [])
        received = refusal(stubs.predictions.Predict, predict_request(server, image=images))
        faults.clear()
    assert answer.status_code == status
    assert received[0] == code
    said = f"{answer.text} {received[1]} {caplog.text}"
    assert "The source model" in said
    for secret in (KEY, wrong_key or KEY):
        assert secret not in said
    # The service and its address are nobody's business but the log's.
    assert service.address not in f"{answer.text} {received[1]}"
    assert any(record.name == "keras_reprogram.serving" for record in caplog.records)


def test_one_call_of_the_source_at_a_time(gateway, monkeypatch):
    source, inside, most = gateway._source, [], []
    ask = type(source).ask

    def watched(source, images):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.03)
        inside.pop()
        return ask(source, images)

    monkeypatch.setattr(type(source), "ask", watched)
    document = {"instances": target_images(2).tolist()}
    clients = [threading.Thread(target=post, args=(gateway, document)) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert most == [1] * 4


@pytest.mark.slow
def test_a_calibrated_gateway_answers_with_sets(tmp_path):
    source = sign_source()
    model = small_model(source, num_views=NUM_VIEWS, class_names=CLASS_NAMES)
    images = images_and_labels(60, seed=5)
    model.calibrate(*images, verbose=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keras_reprogram.export.halves.check_reloaded", lambda *arguments: (0.0, 0))
        export_halves(model, tmp_path / "signs")
    asked = target_images()
    expected = model.predict_sets(asked, verbose=0)
    with ModelServer(tmp_path / "signs", source=source, poll_seconds=60) as server:
        body = {"signature_name": "sets", "instances": asked.tolist()}
        rows = post(server, body).json()["predictions"]
        served = server.versions.latest()
        steps = show_steps(served, read_page_facts(served), asked[:1])
    assert [row["set"] for row in rows] == expected.sets.tolist()
    assert [row["accepted"] for row in rows] == expected.accepted.tolist()
    np.testing.assert_allclose(
        [row["probabilities"] for row in rows], expected.probabilities, atol=1e-5
    )
    assert rows[0]["classes"] == CLASS_NAMES
    names = [CLASS_NAMES[k] for k in np.flatnonzero(expected.sets[0])]
    verdict = {"accepted": bool(expected.accepted[0]), "foreign": bool(expected.foreign[0])}
    assert sorted(steps["verdict"].pop("set")) == sorted(names)
    assert steps["verdict"] == verdict | {"coverage": 0.9}
