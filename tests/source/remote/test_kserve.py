"""The V2 protocol: our fake against Triton's own client, then our source against the fake."""

import pickle

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from gates import Gate
from tritonclient.utils import InferenceServerException

from keras_reprogram import LiteRTSource, QueryLedger, embedded_path
from keras_reprogram.source.remote import (
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.kserve import KServeSource
from keras_reprogram.testing import MALFORMED_ANSWERS, TRANSPORT_FAULTS, HostedModel
from keras_reprogram.testing.fake_kserve import FakeKServe
from keras_reprogram.testing.fake_tf_serving import encoded_pixels

SHAPE = (32, 32, 3)
LABELS = tuple(f"label {number}" for number in range(43))
KEY = "planted-key-3391"
SIGNS = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
NUMPY = {"FP32": np.float32, "UINT8": np.uint8}


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype(np.float32)


def expected(images):
    return np.asarray(SIGNS(images))


def fake_of(faults=(), **options):
    return FakeKServe(HostedModel.of(SIGNS), "signs", faults=faults, **options)


def source_of(service, model_name="signs", **options):
    facts = {"value_range": (0, 255), "identity": "signs, version 1", "input_name": "image"}
    facts |= options
    address = facts.pop("address", getattr(service, "address", None))
    return KServeSource(address, model_name, SHAPE, LABELS, **facts)


def client_of(service):
    return triton.InferenceServerClient(service.address.removeprefix("http://"))


# The fake, asked by Triton's client.


# The client sends bytes as JSON only if they are text.
@pytest.mark.parametrize(
    ("datatype", "binary"),
    [("FP32", False), ("FP32", True), ("UINT8", False), ("UINT8", True), ("BYTES", True)],
)
def test_the_client_of_triton_is_answered(datatype, binary):
    images = images_of(2)
    if datatype == "BYTES":
        sent = np.array(encoded_pixels(images, (0, 255)), np.object_)
    else:
        sent = images.astype(NUMPY[datatype])
    tensor = triton.InferInput("image", list(sent.shape), datatype)
    tensor.set_data_from_numpy(sent, binary_data=binary)
    wanted = triton.InferRequestedOutput("scores", binary_data=False)
    with fake_of(datatype=datatype) as service, client_of(service) as client:
        answer = client.infer("signs", [tensor], outputs=[wanted])
        np.testing.assert_allclose(answer.as_numpy("scores"), expected(images), atol=1e-6)
        assert service.bill == 2


def test_the_client_of_triton_reads_readiness_metadata_and_labels():
    many = {"versions": ("1", "2"), "output_names": ("classes", "scores")}
    with fake_of(**many) as service, client_of(service) as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("signs") and client.is_model_ready("signs", "2")
        assert not client.is_model_ready("sings")
        found = client.get_model_metadata("signs")
        assert found["versions"] == ["1", "2"]
        (tensor,) = found["inputs"]
        assert tensor == {"name": "image", "datatype": "FP32", "shape": [-1, *SHAPE]}
        sent = triton.InferInput("image", [1, *SHAPE], "FP32")
        sent.set_data_from_numpy(images_of(1))
        answer = client.infer("signs", [sent], model_version="1")
        assert answer.get_response()["model_version"] == "1"
        assert answer.as_numpy("classes").tolist() == [list(LABELS)]


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"model_name": "sings"}, "Request for unknown model: 'sings' is not found"),
        ({"model_version": "7"}, "Request for unknown model: 'signs' version 7 is not found"),
        ({"name": "x"}, "unexpected inference input 'x' for model 'signs'"),
        ({"shape": [1, 8, 8, 3]}, r"Expected \[-1, 32, 32, 3\], got \[1, 8, 8, 3\]"),
        ({"datatype": "UINT8"}, "data-type is 'UINT8', but model 'signs' expects 'FP32'"),
    ],
    ids=str,
)
def test_the_client_of_triton_is_refused_in_its_words(facts, text):
    facts = {"name": "image", "shape": [1, *SHAPE], "datatype": "FP32"} | facts
    tensor = triton.InferInput(facts["name"], facts["shape"], facts["datatype"])
    values = np.zeros(facts["shape"], NUMPY[facts["datatype"]])
    tensor.set_data_from_numpy(values, binary_data=False)
    with (
        fake_of() as service,
        client_of(service) as client,
        pytest.raises(InferenceServerException, match=text),
    ):
        client.infer(
            facts.get("model_name", "signs"), [tensor], model_version=facts.get("model_version", "")
        )


def test_requests_that_are_no_requests():
    with fake_of() as service:
        url = f"{service.address}/v2/models/signs/infer"
        assert httpx.post(url, content="{").json()["error"].startswith("failed to parse")
        assert "expected 1 inputs but got 0" in httpx.post(url, json={}).json()["error"]
        tensor = {"name": "image", "datatype": "FP32", "shape": [1, *SHAPE], "data": [1.0]}
        answer = httpx.post(url, json={"inputs": [tensor]})
        assert answer.status_code == 400 and "has 1 values" in answer.json()["error"]
        assert service.bill == 0


# Our source against the fake.


@pytest.mark.parametrize("datatype", ["FP32", "UINT8", "BYTES"])
def test_answers_are_those_of_the_model_behind_it(datatype):
    images = images_of(5)
    with fake_of(datatype=datatype) as service:
        source = source_of(service, datatype=datatype, images_per_request=2)
        np.testing.assert_allclose(source(images), expected(images), atol=1e-6)
        assert source.queries_used == service.bill == 5
        # The bill and the ledger know an image by the same bytes.
        assert set(service.hosted.billed) == {source.payload(image) for image in images}


def test_versions_and_outputs():
    with fake_of(versions=("1", "2"), output_names=("classes", "scores")) as service:
        for version in (None, 2):
            source = source_of(service, model_version=version, output_name="scores")
            np.testing.assert_allclose(source(images_of(1)), expected(images_of(1)), atol=1e-6)
        keys = {source_of(service, model_version=v).request_options for v in (None, 1, 2)}
        assert len(keys) == 3
        with pytest.raises(
            ValueError, match="output of the model: classes, scores. Received: None"
        ):
            source_of(service)(images_of(1))
        with pytest.raises(ValueError, match="could not convert string to float"):
            source_of(service, output_name="classes")(images_of(1))


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", TRANSPORT_FAULTS, ids=str)
def test_what_may_pass_is_repeated(tmp_path, fault):
    images = images_of(3)
    with fake_of([fault, fault]) as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(service, ledger=ledger, concurrency=1)
        np.testing.assert_allclose(source(images), expected(images), atol=1e-6)
        assert ledger.spent >= service.bill
        assert service.requests == (3 if fault == "drip" else 5)
        assert ledger.counts()["free"] == (2 if fault in TRANSPORT_FAULTS[:2] else 0)
        again = source_of(service, ledger=ledger)
        again(images)
        assert again.queries_used == 0


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", MALFORMED_ANSWERS)
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, fault):
    with fake_of([fault]) as service, QueryLedger(tmp_path / "l") as ledger:
        answers = source_of(service, ledger=ledger)(images_of(1))
        np.testing.assert_allclose(answers, expected(images_of(1)), atol=1e-6)
        assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}
    with fake_of([fault] * 3) as service, QueryLedger(tmp_path / "m") as ledger:
        with pytest.raises(ValueError, match='Received: .*"model_name": "signs"'):
            source_of(service, ledger=ledger)(images_of(1))
        assert ledger.spent == service.bill == 2
        assert len(service.faults.left) == 1


def test_a_shape_that_does_not_fit_the_data(monkeypatch):
    class Careless(FakeKServe):
        def respond(self, *request):
            answer = super().respond(*request)
            answer.content["outputs"][0]["shape"] = [2, 43]
            return answer

    with (
        Careless(HostedModel.of(SIGNS), "signs") as service,
        pytest.raises(ValueError, match="cannot reshape array of size 43"),
    ):
        source_of(service)(images_of(1))


@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_a_key_is_sent_and_nowhere_else(tmp_path, monkeypatch, datatype):
    with fake_of(key=KEY, datatype=datatype) as service, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(SourceRefusedError, match="Received: 401"):
            source_of(service, ledger=ledger, datatype=datatype)(images_of(1))
        source = source_of(service, ledger=ledger, datatype=datatype, key_variable="SIGNS_KEY")
        with pytest.raises(SourceRefusedError, match="no SIGNS_KEY. Set it: export SIGNS_KEY="):
            source(images_of(1))
        monkeypatch.setenv("SIGNS_KEY", KEY + "x")
        with pytest.raises(SourceRefusedError, match="Check the key") as caught:
            source(images_of(1))
        assert KEY not in str(caught.value) and ledger.spent == service.bill == 0
        monkeypatch.setenv("SIGNS_KEY", KEY)
        source(images_of(2))
        assert ledger.spent == service.bill == 2
        assert KEY not in repr(vars(source))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"model_name": "sings"}, r"unknown model: \W*sings\W.*Check the URL, the model's name"),
        ({"model_version": 7}, r"signs\W* version 7 is not found"),
        ({"input_name": "x"}, r"unexpected inference input \W*x\W.*Check .*`input_name`"),
        ({"output_name": "x"}, r"unexpected inference output \W*x\W"),
        ({"datatype": "UINT8"}, r"expects \W*FP32"),
    ],
    ids=str,
)
def test_what_is_final_is_not_repeated(tmp_path, facts, message):
    with fake_of() as service, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(SourceRefusedError, match=message):
            source_of(service, ledger=ledger, **facts)(images_of(1))
        assert service.requests == 1 and ledger.spent == service.bill == 0


def test_too_large():
    with (
        fake_of([413]) as service,
        pytest.raises(SourceRefusedError, match="Received: 413 .*images are too large"),
    ):
        source_of(service)(images_of(1))


def test_replicas_share_the_work_and_one_may_fail(tmp_path):
    images = images_of(12)
    with fake_of() as first, fake_of([503] * 3) as second:
        addresses = [first.address, second.address]
        with QueryLedger(tmp_path / "l") as ledger:
            source = source_of(first, address=addresses, ledger=ledger, concurrency=2)
            np.testing.assert_allclose(source(images), expected(images), atol=1e-6)
            assert ledger.spent >= first.bill + second.bill == 12
        # How many of its faults the first pass met is a matter of time; one more and it rests.
        second.faults.left.clear()
        Gate(first, second, opens_at=4)
        source_of(first, address=addresses, concurrency=2)(images)
        assert first.bill > 0 and second.bill > 0


def test_nobody_there():
    with pytest.raises(SourceUnavailableError, match="127.0.0.1:9/v2.* cannot be reached"):
        source_of(None, address="http://127.0.0.1:9", retries=0)(images_of(1))


def test_a_copy_for_an_executor_requests():
    with fake_of() as service:
        source = source_of(service)
        client = pickle.loads(pickle.dumps(source.client))
        (endpoint,) = source.dispatcher.endpoints.names
        answer = client.send([source.payload(images_of(1)[0])], endpoint)
        np.testing.assert_allclose(source.read(answer), expected(images_of(1)), atol=1e-6)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"datatype": "FP16"}, "`datatype` must be one of"),
        ({"model_name": ""}, "must be names. Received: ''"),
        ({"address": "127.0.0.1:9"}, "must begin with http"),
        ({"address": "http://me:secret@127.0.0.1:9"}, "must not hold a password"),
    ],
    ids=str,
)
def test_wrong_arguments(facts, message):
    with pytest.raises(ValueError, match=message):
        source_of(None, **{"address": "http://127.0.0.1:9"} | facts)
