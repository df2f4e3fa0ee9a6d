"""CustomVisionSource against a fake of Custom Vision, which Azure's own client checks first."""

import io
import json
import pickle
import re
import sys

import numpy as np
import pytest
import trustme
from azure.cognitiveservices.vision.customvision.prediction import CustomVisionPredictionClient
from azure.cognitiveservices.vision.customvision.prediction.models import (
    CustomVisionErrorException,
)
from msrest.authentication import ApiKeyCredentials
from msrest.exceptions import HttpOperationError
from PIL import Image

from keras_reprogram import LiteRTSource, QueryLedger, embedded_path
from keras_reprogram.source.remote import SourceRefusedError, SourceUnavailableError
from keras_reprogram.source.remote.custom_vision import CustomVisionSource
from keras_reprogram.testing import MALFORMED_ANSWERS, TRANSPORT_FAULTS, HostedModel
from keras_reprogram.testing.fake_custom_vision import FakeCustomVision

KEY = "planted-key-8461"


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setenv("VISION_PREDICTION_KEY", KEY)


@pytest.fixture(scope="module")
def signs():
    return LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))


@pytest.fixture
def hosted(signs):
    return HostedModel.of(signs)


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.float32)


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(stream, "png")
    return stream.getvalue()


def source_of(fake, **changes):
    facts = {
        "endpoint": fake.address + "/",
        "project_id": fake.project_id,
        "iteration": fake.iteration,
        "source_shape": (32, 32, 3),
        "class_names": fake.hosted.class_names,
        "value_range": (0, 255),
        "identity": "signs, Iteration1",
    } | changes
    return CustomVisionSource(**facts)


def azures_client(fake, key=KEY):
    credentials = ApiKeyCredentials(in_headers={"Prediction-key": key})
    client = CustomVisionPredictionClient(fake.address, credentials)
    client.config.retry_policy.policy.total = 0
    return client


# The fake, asked by Azure's own client.


@pytest.mark.parametrize("store", [False, True])
def test_azures_client_understands_the_fake(hosted, signs, store):
    image = images_of(1)[0]
    with FakeCustomVision(hosted, key=KEY) as fake, azures_client(fake) as client:
        ask = client.classify_image if store else client.classify_image_with_no_store
        answer = ask(fake.project_id, fake.iteration, png(image))
        assert fake.stored == [png(image)] * store
        assert (answer.project, fake.bill) == (fake.project_id, 1)
    assert None not in (answer.id, answer.iteration, answer.created)
    scores = {tag.tag_name: tag.probability for tag in answer.predictions}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    expected = np.asarray(signs(image[None]))[0]
    np.testing.assert_allclose([scores[label] for label in hosted.class_names], expected, atol=1e-6)
    assert len({tag.tag_id for tag in answer.predictions}) == 43
    assert {tag.tag_type for tag in answer.predictions} == {"Regular"}


@pytest.mark.parametrize(
    ("place", "image", "code"),
    [
        ({"project_id": "other"}, png(np.zeros((8, 8, 3))), "NotFoundProject"),
        ({"iteration": "other"}, png(np.zeros((8, 8, 3))), "NotFoundIteration"),
        ({}, b"no image", "BadRequestImageFormat"),
        ({}, bytes(4 * 2**20 + 1), "BadRequestImageSizeBytes"),
    ],
)
def test_azures_client_understands_refusals(hosted, place, image, code):
    with FakeCustomVision(hosted, key=KEY) as fake, azures_client(fake) as client:
        asked = {"project_id": fake.project_id, "iteration": fake.iteration} | place
        with pytest.raises(CustomVisionErrorException) as caught:
            client.classify_image(asked["project_id"], asked["iteration"], image)
        assert caught.value.error.code == code
        assert fake.bill == 0


def test_azures_client_is_refused_without_the_key(hosted):
    with FakeCustomVision(hosted, key=KEY) as fake, azures_client(fake, "other") as client:
        with pytest.raises(HttpOperationError) as caught:
            client.classify_image(fake.project_id, fake.iteration, png(images_of(1)[0]))
        assert caught.value.response.status_code == 401


# Our source.


@pytest.mark.parametrize("store", [False, True])
def test_answers_are_those_of_the_model_behind_it(hosted, signs, store):
    images = images_of(5)
    with FakeCustomVision(hosted, key=KEY, iteration="a b/c") as fake:
        source = source_of(fake, store=store)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        assert source.queries_used == fake.bill == 5
        assert len(fake.stored) == 5 * store


# The shape of an answer in Azure's documentation (Prediction API 3.1).
RECORDED = {
    "id": "bc61bd11-b9d0-4a2c-b5ab-9d0c6a3e2bd9",
    "project": "64b822c5-8082-4b36-a426-27225f4aa18c",
    "iteration": "2b9d6d6a-f2ef-4b2f-9a2c-3c5f3a4a0c60",
    "created": "2020-09-28T15:50:53.5630000Z",
    "predictions": [
        {
            "probability": 0.979654133,
            "tagId": "28c8e3b9-3ac3-45b2-a58c-0c5a8a5e45c5",
            "tagName": "Hemlock",
            "tagType": "Regular",
        },
        {
            "probability": 0.020345867,
            "tagId": "a7a0d3f1-2c5b-4f0a-9f7e-6a4b7e2c9d11",
            "tagName": "Japanese Cherry",
            "tagType": "Regular",
        },
    ],
}


def test_documented_answers(hosted):
    with FakeCustomVision(hosted) as fake:
        source = source_of(fake, class_names=["Japanese Cherry", "Hemlock"])
    assert source.read(json.dumps(RECORDED).encode()) == [[0.020345867, 0.979654133]]


def test_a_multilabel_project_sums_to_anything(signs):
    both = HostedModel(lambda images: np.full((len(images), 2), 0.9), (32, 32, 3), ["stop", "wet"])
    with FakeCustomVision(both, key=KEY) as fake:
        with pytest.raises(ValueError, match='Pass .*`score_kind="independent"`'):
            source_of(fake)(images_of(1))
        source = source_of(fake, score_kind="independent")
        scores = source(images_of(1))
        assert source_of(fake, sum_tolerance=None).score_kind == source.score_kind
    np.testing.assert_allclose(scores, [[0.9, 0.9]])


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", TRANSPORT_FAULTS, ids=str)
def test_what_may_pass_is_repeated(tmp_path, hosted, signs, fault):
    images = images_of(3)
    with (
        FakeCustomVision(hosted, key=KEY, faults=[fault, fault]) as fake,
        QueryLedger(tmp_path / "l") as ledger,
    ):
        source = source_of(fake, ledger=ledger, concurrency=1)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        counts = ledger.counts()
        throttled = fault == 429 or isinstance(fault, tuple)
        free, sent = (2, 0) if throttled else (0, 0) if fault == "drip" else (0, 2)
        assert counts == {"billed": 3, "free": free, "sent": sent}
        assert fake.requests == sum(counts.values())
        assert ledger.spent >= fake.bill
        again = source_of(fake, ledger=ledger)
        again(images)
        assert again.queries_used == 0


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", MALFORMED_ANSWERS)
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, hosted, fault):
    with FakeCustomVision(hosted, key=KEY, faults=[fault] * 3) as fake:
        with QueryLedger(tmp_path / "l") as ledger:
            with pytest.raises(ValueError, match="Received") as caught:
                source_of(fake, ledger=ledger)(images_of(1))
            assert ledger.spent == fake.bill == 2
            assert '"predictions"' in str(caught.value)
        with QueryLedger(tmp_path / "m") as ledger:
            source_of(fake, ledger=ledger)(images_of(1))
            assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}


def refusal(source, tmp_path, images=None):
    """What a source is refused with, once and for nothing."""
    with QueryLedger(tmp_path / "refused") as ledger:
        source.ledger = ledger
        with pytest.raises(SourceRefusedError) as caught:
            source(images_of(1) if images is None else images)
        assert (ledger.spent, source.queries_used) == (0, 1)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"project_id": "other"}, "404 .*NotFoundProject.* Check `project_id`"),
        ({"iteration": "other"}, "404 .*NotFoundIteration.* `iteration`"),
        ({"key_variable": "NO_SUCH_KEY"}, "no NO_SUCH_KEY. Set it: export NO_SUCH_KEY="),
    ],
)
def test_wrong_places_and_no_key(tmp_path, hosted, changes, hint):
    with FakeCustomVision(hosted, key=KEY) as fake:
        said = refusal(source_of(fake, **changes), tmp_path)
        assert re.search(f"Received: {hint}", said)
        assert fake.bill == 0


@pytest.mark.parametrize(("status", "hint"), [(400, "is published"), (403, "quota is spent")])
def test_other_refusals(tmp_path, hosted, status, hint):
    with FakeCustomVision(hosted, key=KEY, faults=[status]) as fake:
        assert hint in refusal(source_of(fake), tmp_path)
        assert fake.requests == 1


def test_a_wrong_key_is_refused_and_nowhere_else(tmp_path, hosted, monkeypatch, caplog, capfd):
    caplog.set_level(0)
    monkeypatch.setenv("VISION_PREDICTION_KEY", "other-8461")
    with FakeCustomVision(hosted, key=KEY) as fake:
        source = source_of(fake)
        said = refusal(source, tmp_path)
    assert "401" in said and "not the training key" in said
    out, err = capfd.readouterr()
    everywhere = (
        said + out + err + caplog.text + repr(vars(source)) + repr(pickle.dumps(source.client))
    )
    assert KEY not in everywhere and "other-8461" not in everywhere


def test_images_that_are_too_large_are_not_sent(tmp_path, hosted):
    noise = np.random.default_rng(0).integers(0, 256, (1, 1300, 1300, 3)).astype(np.float32)
    with FakeCustomVision(hosted, key=KEY) as fake:
        said = refusal(source_of(fake, source_shape=(1300, 1300, 3)), tmp_path, noise)
        assert "at most 4,194,304 bytes. Received: 5," in said
        assert fake.requests == 0


def test_nobody_there(hosted):
    with FakeCustomVision(hosted) as fake:
        source = source_of(fake, retries=0)
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        source(images_of(1))


def test_certificates(tmp_path, hosted, signs):
    authority, images = trustme.CA(), images_of(2)
    issued = authority.issue_cert("127.0.0.1")
    files = [str(tmp_path / name) for name in ("certificate.pem", "key.pem", "authority.pem")]
    issued.cert_chain_pems[0].write_to_path(files[0])
    issued.private_key_pem.write_to_path(files[1])
    authority.cert_pem.write_to_path(files[2])
    with FakeCustomVision(hosted, key=KEY, certificate=tuple(files[:2])) as fake:
        assert "cannot be trusted" in refusal(source_of(fake), tmp_path)
        assert fake.requests == 0
        np.testing.assert_allclose(
            source_of(fake, certificates=files[2])(images), signs(images), atol=1e-6
        )
        with pytest.raises(ValueError, match="must be a file of certificates in PEM form"):
            source_of(fake, certificates=files[1])


def test_a_copy_in_another_process_asks_for_itself(hosted, signs):
    image = images_of(1)
    with FakeCustomVision(hosted, key=KEY) as fake:
        source = source_of(fake)
        client = pickle.loads(pickle.dumps(source.client))
        (endpoint,) = source.dispatcher.endpoints.names
        rows = source.read(client.send([source.payload(image[0])], endpoint))
    np.testing.assert_allclose(rows, signs(image), atol=1e-6)


def test_places_are_part_of_the_ledgers_key(hosted):
    with FakeCustomVision(hosted) as fake:
        options = {
            source_of(fake, **changes).request_options
            for changes in ({}, {"iteration": "2"}, {"project_id": "2"})
        }
    assert len(options) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images_per_request": 2}, "one image per request. Received: images_per_request=2"),
        ({"endpoint": "signs.example"}, "must begin with http"),
        ({"endpoint": "https://me:secret@signs.example"}, "must not hold a password"),
    ],
)
def test_wrong_arguments(hosted, changes, message):
    with FakeCustomVision(hosted) as fake, pytest.raises(ValueError, match=message):
        source_of(fake, **changes)


def test_a_missing_extra_names_its_command(hosted, monkeypatch):
    with FakeCustomVision(hosted) as fake:
        monkeypatch.setitem(sys.modules, "urllib3", None)
        with pytest.raises(ImportError, match=r"`urllib3`: pip install 'keras-reprogram\[http\]'"):
            source_of(fake)
