"""VertexAISource against a fake of Vertex AI, which Google's own client checks first."""

import base64
import json
import re
import sys

import numpy as np
import pytest
from service_checks import (
    KEY,
    SHAPE,
    check_copy_asks_for_itself,
    check_key_is_nowhere,
    check_malformed,
    check_what_may_pass,
    hosted_signs,
    images_of,
    png,
    refusal,
    signs,
)
from sign_service import LABELS

from keras_reprogram import QueryLedger
from keras_reprogram.source.remote import SourceBusyError
from keras_reprogram.source.remote.vertex_ai import VertexAISource, exported_automl_request
from keras_reprogram.testing import MALFORMED_ANSWERS, TRANSPORT_FAULTS, Answer, HTTPFake
from keras_reprogram.testing.fake_vertex_ai import FakeVertexAI


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """No credentials of Google's but the planted token."""
    monkeypatch.setenv("VERTEX_TOKEN", KEY)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def fake_of(**options):
    return FakeVertexAI(hosted_signs(LABELS), **{"key": KEY} | options)


def source_of(fake, **changes):
    place = (fake.project, fake.location, fake.endpoint_id)
    facts = {"class_names": LABELS, "key_variable": "VERTEX_TOKEN", "address": fake.address}
    place = tuple(changes.pop(name, value) for name, value in zip(PLACE, place, strict=True))
    return VertexAISource(*place, SHAPE, value_range=(0, 255), **facts | changes)


PLACE = ("project", "location", "endpoint_id")


def instances(images):
    return {"instances": [{"b64": base64.b64encode(image).decode()} for image in images]}


# The fake, asked by Google's own client.


@pytest.mark.slow
def test_googles_client_understands_the_fake():
    # Not among the development packages: it wants an older tenacity, and takes long to install.
    pytest.importorskip("google.cloud.aiplatform_v1", reason="pip install google-cloud-aiplatform")
    from google.api_core.exceptions import BadRequest, NotFound
    from google.auth.exceptions import RefreshError
    from google.cloud.aiplatform_v1 import PredictionServiceClient
    from google.cloud.aiplatform_v1.services.prediction_service.transports import (
        PredictionServiceRestTransport,
    )
    from google.oauth2.credentials import Credentials

    def client_of(fake, token=KEY):
        credentials = Credentials(token)
        transport = PredictionServiceRestTransport(
            host=fake.address, credentials=credentials, url_scheme="http"
        )
        return PredictionServiceClient(transport=transport)

    image = images_of(1)
    expected = dict(zip(LABELS, signs(image)[0], strict=True))
    instance = {"content": base64.b64encode(png(image[0])).decode()}
    place = "projects/project/locations/europe-west4/endpoints/"
    with fake_of() as fake:
        client, endpoint = client_of(fake), f"{place}{fake.endpoint_id}"
        answer = client.predict(endpoint=endpoint, instances=[instance])
        (ten,) = (dict(one) for one in answer.predictions)
        assert len(ten["displayNames"]) == 10 and answer.deployed_model_id
        wanted = {"confidenceThreshold": 0.0, "maxPredictions": 43}
        answer = client.predict(endpoint=endpoint, instances=[instance], parameters=wanted)
        found = dict(answer.predictions[0])
        assert set(found) == {"ids", "displayNames", "confidences"}
        scores = dict(zip(found["displayNames"], found["confidences"], strict=True))
        assert scores == {name: pytest.approx(score, abs=1e-6) for name, score in expected.items()}
        with pytest.raises(BadRequest):
            client.predict(endpoint=endpoint, instances=[{"content": "bm8gaW1hZ2U="}])
        with pytest.raises(NotFound):
            client.predict(endpoint=f"{place}1", instances=[instance])
        # Of a 401 it understands that it needs a new token.
        with pytest.raises(RefreshError):
            client_of(fake, "other").predict(endpoint=endpoint, instances=[instance])
        assert fake.bill == 2


# Our source.


@pytest.mark.parametrize(
    ("container", "changes"),
    [
        ("automl", {}),
        ("automl", {"images_per_request": 3}),
        ("exported", {"build_request": exported_automl_request, "images_per_request": 3}),
        ("rows", {"build_request": instances, "images_per_request": 3}),
        ("rows", {"build_request": instances, "raw": True}),
    ],
    # Names of functions, as `str` gives them, differ between processes.
    ids=["AutoML", "AutoML, three a request", "exported", "rows", "raw"],
)
def test_answers_are_those_of_the_model_behind_it(container, changes):
    images = images_of(5)
    with fake_of(container=container) as fake:
        source = source_of(fake, **changes)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        assert source.queries_used == fake.bill == 5
        assert fake.requests == (2 if "images_per_request" in changes else 5)


# The shape of an answer of AutoML's image classification (`ClassificationPredictionResult`).
RECORDED = {
    "predictions": [
        {
            "ids": ["4193234862143405", "7193234862143405"],
            "displayNames": ["sunflowers", "roses"],
            "confidences": [0.9780923, 0.0219077],
        }
    ],
    "deployedModelId": "3588251799200464896",
    "modelVersionId": "1",
}


def test_documented_answers():
    source = VertexAISource(
        "p", "l", "1", SHAPE, ["roses", "sunflowers"], key_variable="T", value_range=(0, 255)
    )
    assert source.read(json.dumps(RECORDED).encode()) == [[0.0219077, 0.9780923]]
    own = VertexAISource(
        "p", "l", "1", SHAPE, ["roses", "sunflowers"], key_variable="T", value_range=(0, 255),
        read_answer=lambda content: [content["predictions"][0]["confidences"]],
    )  # fmt: skip
    assert own.read(json.dumps(RECORDED).encode()) == [[0.9780923, 0.0219077]]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", TRANSPORT_FAULTS, ids=str)
def test_what_may_pass_is_repeated(tmp_path, fault):
    check_what_may_pass(tmp_path, fake_of, source_of, fault)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", MALFORMED_ANSWERS)
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, fault):
    check_malformed(tmp_path, fake_of, source_of, fault, '"predictions"')


def test_a_wrong_token_is_nowhere(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("VERTEX_TOKEN", "ya29.wrong8462")
    with fake_of() as fake:
        keys = (KEY, "ya29.wrong8462")
        said = check_key_is_nowhere(tmp_path, source_of(fake), keys, caplog, capfd)
    assert "401" in said and "gcloud auth application-default login" in said


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"endpoint_id": "1"}, "404 .*NOT_FOUND.* Check `project`"),
        ({"project": "other"}, "404 .*NOT_FOUND.* Check `project`"),
        ({"build_request": instances}, "400 .*INVALID_ARGUMENT.*`build_request`"),
        ({"key_variable": "NO_SUCH_KEY"}, "no NO_SUCH_KEY. Set it: export NO_SUCH_KEY="),
        ({"key_variable": None}, "DefaultCredentialsError: .*gcloud auth"),
    ],
)
def test_refusals(tmp_path, changes, hint):
    with fake_of() as fake:
        said = refusal(source_of(fake, **changes), tmp_path)
        assert re.search(f"Received: {hint}", said, re.DOTALL), said
        assert fake.bill == 0


class TokenService(HTTPFake):
    """Gives the planted token to a service account, or refuses."""

    def respond(self, method, path, headers, body, fault):
        if b"assertion=" not in body:
            return Answer(400, {"error": "invalid_request"})
        return Answer(200, {"access_token": KEY, "expires_in": 3600, "token_type": "Bearer"})


def service_account(path, tokens):
    """A file of a service account as Google gives them out, with a key of our own."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    content = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "signs@project.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{tokens.address}/token",
    }
    path.write_text(json.dumps(content))
    return pem


def test_googles_credentials_make_tokens_once(tmp_path, monkeypatch):
    images = images_of(3)
    path = tmp_path / "account.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with TokenService(hosted_signs(LABELS)) as tokens, fake_of() as fake:
        pem = service_account(path, tokens)
        source = source_of(fake, key_variable=None)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        assert (tokens.requests, fake.requests) == (1, 3)
        check_copy_asks_for_itself(source)
        assert KEY not in repr(vars(source)) and pem not in repr(vars(source))


@pytest.mark.parametrize(
    ("status", "kind"),
    # Google's own library waits before it gives up.
    [(400, "refused"), pytest.param(503, "busy", marks=pytest.mark.slow)],
)
def test_no_token(tmp_path, monkeypatch, status, kind):
    path = tmp_path / "account.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    faults = [status] * 10
    with TokenService(hosted_signs(LABELS), faults=faults) as tokens, fake_of() as fake:
        service_account(path, tokens)
        source = source_of(fake, key_variable=None, retries=0)
        if kind == "refused":
            assert "RefreshError" in refusal(source, tmp_path)
        else:
            with QueryLedger(tmp_path / "l") as ledger:
                source.ledger = ledger
                with pytest.raises(SourceBusyError, match="got no token"):
                    source(images_of(1))
                assert ledger.spent == 0
        assert fake.requests == 0


def test_a_copy_in_another_process_asks_for_itself():
    with fake_of() as fake:
        check_copy_asks_for_itself(source_of(fake))


def test_ways_of_asking_are_part_of_the_ledgers_key():
    with fake_of() as fake:
        changes = ({}, {"build_request": instances}, {"class_names": LABELS[:2]})
        sources = [source_of(fake, identity="one", **change) for change in changes]
    assert len({source.request_options for source in sources}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"endpoint_id": "projects/p/locations/l/endpoints/1"}, "must be the names alone"),
        ({"location": ""}, "must be the names alone"),
        ({"raw": True}, "`raw` needs a `build_request`"),
        ({"address": "aiplatform.googleapis.com"}, "must begin with http"),
    ],
)
def test_wrong_arguments(changes, message):
    with fake_of() as fake, pytest.raises(ValueError, match=message):
        source_of(fake, **changes)


def test_a_missing_extra_names_its_command(monkeypatch):
    with fake_of() as fake:
        monkeypatch.setitem(sys.modules, "google.auth", None)
        with pytest.raises(ImportError, match=r"pip install 'keras-reprogram\[google\]'"):
            source_of(fake, key_variable=None)


def test_only_known_containers_are_hosted():
    with pytest.raises(ValueError, match="`container` must be one of"):
        fake_of(container="other")
