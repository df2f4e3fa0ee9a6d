"""TF Serving: our fakes against its own stubs and documents, then our sources against the fakes."""

import base64
import pickle
import sys
import threading

import grpc
import httpx
import numpy as np
import pytest
import trustme
from gates import Gate
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from waiting import PATIENCE, ctrl_c

from keras_reprogram import LiteRTSource, QueryLedger, embedded_path
from keras_reprogram.source.remote import (
    SourceRefusedError,
    SourceUnavailableError,
    dispatch,
    tf_serving_grpc,
)
from keras_reprogram.source.remote.tf_serving import TFServingSource
from keras_reprogram.source.remote.tf_serving_grpc import TFServingGRPCClient, TFServingGRPCSource
from keras_reprogram.testing import MALFORMED_ANSWERS, TRANSPORT_FAULTS, HostedModel
from keras_reprogram.testing.fake_tf_serving import FakeTFServing, encoded_pixels
from keras_reprogram.testing.fake_tf_serving_grpc import FakeTFServingGRPC

SHAPE = (32, 32, 3)
LABELS = tuple(f"label {number}" for number in range(43))
KEY = "planted-key-2257"
SIGNS = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))
WORLDS = {
    "rest": (FakeTFServing, TFServingSource),
    "grpc": (FakeTFServingGRPC, TFServingGRPCSource),
}
BYTES = {"signature_name": "image_bytes", "input_format": "encoded"}


@pytest.fixture(params=WORLDS)
def world(request):
    return WORLDS[request.param]


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype(np.float32)


def expected(images):
    return np.asarray(SIGNS(images))


def fake_of(kind, faults=(), **options):
    return kind(HostedModel.of(SIGNS), "signs", faults=faults, **options)


def source_of(kind, service, model_name="signs", **options):
    facts = {"value_range": (0, 255), "identity": "signs, version 1"} | options
    address = facts.pop("address", None) or service.address
    return kind(address, model_name, SHAPE, LABELS, **facts)


# The fakes, asked without our sources.


def test_rest_answers_as_the_documents_say():
    # Half plus two, of the documents: an image is one number here.
    half = HostedModel(lambda x: x.reshape(-1, 1) * 0.5 + 2, (1, 1, 1), ["y"])
    with FakeTFServing(half, "half_plus_two", versions=(123,)) as service:
        url = f"{service.address}/v1/models/half_plus_two"
        numbers = "[[[[1.0]]], [[[2.0]]], [[[5.0]]]]"
        answer = httpx.post(f"{url}:predict", content=f'{{"instances": {numbers}}}')
        assert answer.json() == {"predictions": [[2.5], [3.0], [4.5]]}
        answer = httpx.post(f"{url}/versions/123:predict", content=f'{{"inputs": {numbers}}}')
        assert answer.json() == {"outputs": [[2.5], [3.0], [4.5]]}
        named = '{"signature_name": "serving_default", "instances": [{"image": [[[1.0]]]}]}'
        assert httpx.post(f"{url}:predict", content=named).json() == {"predictions": [[2.5]]}
        assert httpx.get(url).json() == {
            "model_version_status": [
                {
                    "version": "123",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        }
        assert service.bill == 7


def test_rest_takes_images_in_base64_by_rows_and_columns():
    (image,) = encoded_pixels(images_of(1), (0, 255))
    b64 = {"b64": base64.b64encode(image).decode()}
    forms = (
        {"instances": [b64]},
        {"instances": [{"image_bytes": b64}]},
        {"inputs": [b64]},
        {"inputs": {"image_bytes": [b64]}},
    )
    with fake_of(FakeTFServing, output_names=("classes", "scores")) as service:
        url = f"{service.address}/v1/models/signs:predict"
        for form in forms:
            answer = httpx.post(url, json={"signature_name": "image_bytes"} | form).json()
            if "instances" in form:
                (row,) = answer["predictions"]
                scores, classes = row["scores"], row["classes"]
            else:
                (scores,), (classes,) = answer["outputs"]["scores"], answer["outputs"]["classes"]
            np.testing.assert_allclose(scores, expected(images_of(1))[0], atol=1e-6)
            assert classes == list(LABELS)
        assert dict(service.hosted.billed) == {image: 4}


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("signs:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("signs:predict", {"instances": []}, 400, "No values in 'instances' array"),
        ("signs:predict", {"instances": [{"b64": "AA=="}]}, 400, "not of expected type: float"),
        ("signs:predict", {"instances": [{"x": 1}]}, 400, "does not have named input: x"),
        ("signs:predict", {"inputs": {"x": 1}}, 400, "Missing named input: image in 'inputs'"),
        ("signs:predict", {"instances": [[[1.0]]]}, 400, "but got"),
        (
            "signs:predict",
            {"signature_name": "image_bytes", "instances": [{"b64": "AA=="}]},
            400,
            "Unknown image file format",
        ),
        (
            "signs:predict",
            {"signature_name": "x", "instances": [1]},
            400,
            'Serving signature name: "x" not found in signature def',
        ),
        ("signs:guess", {}, 400, "Malformed request: POST /v1/models/signs:guess"),
        ("sings:predict", {}, 404, "Servable not found for request: Latest(sings)"),
        ("signs/versions/7:predict", {}, 404, "not found for request: Specific(signs, 7)"),
        ("signs/labels/x:predict", {}, 400, "Unrecognized servable version label: x"),
    ],
)
def test_rest_refuses_in_the_words_of_tf_serving(path, body, status, text):
    with fake_of(FakeTFServing) as service:
        answer = httpx.post(f"{service.address}/v1/models/{path}", json=body)
        assert answer.status_code == status and set(answer.json()) == {"error"}
        assert text in answer.json()["error"]
        assert service.bill == 0


def test_grpc_answers_the_stubs_of_tf_serving():
    images = images_of(2)
    with (
        fake_of(FakeTFServingGRPC, versions=(1, 3), version_labels={"stable": 1}) as service,
        grpc.insecure_channel(service.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "signs"
        tensor = request.inputs["image"]
        tensor.dtype = 1
        for size in images.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.float_val.extend(images.ravel())
        answer = stub.Predict(request)
        scores = np.reshape(answer.outputs["scores"].float_val, (2, 43))
        np.testing.assert_allclose(scores, expected(images), atol=1e-6)
        assert answer.model_spec.version.value == 3 and service.bill == 2
        request.model_spec.version_label = "stable"
        assert stub.Predict(request).model_spec.version.value == 1

        asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name = "signs"
        found = get_model_metadata_pb2.SignatureDefMap()
        stub.GetModelMetadata(asked).metadata["signature_def"].Unpack(found)
        assert list(found.signature_def["image_bytes"].inputs) == ["image_bytes"]
        sizes = [
            d.size for d in found.signature_def["serving_default"].inputs["image"].tensor_shape.dim
        ]
        assert sizes == [-1, *SHAPE]

        models = model_service_pb2_grpc.ModelServiceStub(channel)
        asked = get_model_status_pb2.GetModelStatusRequest()
        asked.model_spec.name = "signs"
        states = models.GetModelStatus(asked).model_version_status
        assert [(one.version, one.state) for one in states] == [(1, 30), (3, 30)]

        request.inputs["other"].dtype = 1
        with pytest.raises(grpc.RpcError, match=r"2!=1 len\({image,other}\)") as caught:
            stub.Predict(request)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


# Our sources against the fakes.


@pytest.mark.parametrize("options", [{}, BYTES], ids=["pixels", "encoded"])
def test_answers_are_those_of_the_model_behind_it(world, options):
    fake, kind = world
    images = images_of(7)
    with fake_of(fake) as service:
        source = source_of(kind, service, images_per_request=3, **options)
        np.testing.assert_allclose(source(images), expected(images), atol=1e-6)
        assert source.queries_used == service.bill == 7
        # The bill and the ledger know an image by the same bytes.
        assert set(service.hosted.billed) == {source.payload(image) for image in images}


def test_pixels_arrive_in_their_range(world):
    fake, kind = world
    seen = []

    def model(pixels):
        seen.append(pixels)
        return np.full((len(pixels), 2), 0.5)

    images = np.random.default_rng(0).uniform(-1, 1, (3, 4, 5, 1)).astype(np.float32)
    with fake(HostedModel(model, (4, 5, 1), "ab", value_range=(-1, 1)), "m") as service:
        facts = {"value_range": (-1, 1), "identity": "m", "images_per_request": 3}
        kind(service.address, "m", (4, 5, 1), "ab", **facts)(images)
    np.testing.assert_allclose(seen[0], images, atol=1 / 255 + 1e-6)


def test_versions_labels_names_and_outputs(world):
    fake, kind = world
    many = {
        "versions": (1, 3),
        "version_labels": {"stable": 1},
        "output_names": ("classes", "scores"),
    }
    with fake_of(fake, **many) as service:
        for choice in ({"version": 3}, {"version_label": "stable"}, {"input_name": "image"}):
            source = source_of(kind, service, output_name="scores", **choice)
            np.testing.assert_allclose(source(images_of(1)), expected(images_of(1)), atol=1e-6)
        keys = {source_of(kind, service, version=v).request_options for v in (None, 1, 3)}
        assert len(keys) == 3
        with pytest.raises(
            ValueError, match="output of the model: classes, scores. Received: None"
        ):
            source_of(kind, service)(images_of(1))


def test_metadata_is_asked_for_once_and_is_no_query():
    with fake_of(FakeTFServingGRPC) as service:
        source = source_of(TFServingGRPCSource, service)
        source(images_of(5))
        assert service.metadata_requests == 1
        source_of(TFServingGRPCSource, service, input_name="image")(images_of(2))
        assert (service.metadata_requests, service.requests, service.bill) == (1, 7, 7)


def test_nothing_is_claimed_or_sent_if_ctrl_c_comes_while_metadata_are_asked_for(
    tmp_path, monkeypatch
):
    found, stopped = [], threading.Event()

    class TellingStop(dispatch.Stop):
        def set(self):
            super().set()
            stopped.set()

    monkeypatch.setattr(dispatch, "Stop", TellingStop)

    with (
        fake_of(FakeTFServingGRPC) as service,
        QueryLedger(tmp_path / "l") as ledger,
        ctrl_c() as press,
    ):
        source = source_of(TFServingGRPCSource, service, ledger=ledger)
        ask = TFServingGRPCClient.ask_metadata

        def slow(client, endpoint):
            found.append(ledger.counts())
            press()
            assert stopped.wait(PATIENCE)
            return ask(client, endpoint)

        monkeypatch.setattr(TFServingGRPCClient, "ask_metadata", slow)
        with pytest.raises(KeyboardInterrupt):
            source(images_of(8))
        nothing = {"sent": 0, "billed": 0, "free": 0}
        assert found == [nothing] and ledger.counts() == nothing
        assert service.requests == service.bill == 0


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", TRANSPORT_FAULTS, ids=str)
def test_what_may_pass_is_repeated(tmp_path, world, fault):
    fake, kind = world
    images = images_of(3)
    with fake_of(fake, [fault, fault]) as service, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(kind, service, ledger=ledger, concurrency=1, **BYTES)
        np.testing.assert_allclose(source(images), expected(images), atol=1e-6)
        assert ledger.spent >= service.bill
        assert service.requests == (3 if fault == "drip" else 5)
        assert ledger.counts()["free"] == (2 if fault in TRANSPORT_FAULTS[:2] else 0)
        again = source_of(kind, service, ledger=ledger, **BYTES)
        again(images)
        assert again.queries_used == 0


# gRPC frames its messages: a truncated one is a broken connection.
@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("world", "fault"),
    [(WORLDS["rest"], fault) for fault in MALFORMED_ANSWERS]
    + [(WORLDS["grpc"], fault) for fault in MALFORMED_ANSWERS if fault != "truncated"],
    ids=lambda value: value if isinstance(value, str) else value[1].__name__,
)
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, world, fault):
    fake, kind = world
    with fake_of(fake, [fault]) as service, QueryLedger(tmp_path / "l") as ledger:
        np.testing.assert_allclose(
            source_of(kind, service, ledger=ledger)(images_of(1)), expected(images_of(1)), atol=1e-6
        )
        assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}
    with fake_of(fake, [fault] * 3) as service, QueryLedger(tmp_path / "m") as ledger:
        shown = "predictions" if fake is FakeTFServing else "DT_FLOAT"
        with pytest.raises(ValueError, match=f"(?s)Received: .*{shown}"):
            source_of(kind, service, ledger=ledger)(images_of(1))
        assert ledger.spent == service.bill == 2
        assert len(service.faults.left) == 1


def test_a_key_is_sent_and_nowhere_else(tmp_path, monkeypatch, world):
    fake, kind = world
    with fake_of(fake, key=KEY) as service, QueryLedger(tmp_path / "l") as ledger:
        bare = source_of(kind, service, ledger=ledger)
        with pytest.raises(SourceRefusedError, match="Received: .*401|UNAUTHENTICATED"):
            bare(images_of(1))
        source = source_of(kind, service, ledger=ledger, key_variable="SIGNS_KEY")
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
        ({"model_name": "sings"}, r"Servable not found for request: Latest\(sings\).*model's name"),
        ({"version": 7}, r"Specific\(signs, 7\).*Check the model's name and version"),
        ({"version_label": "new"}, "Unrecognized servable version label: new"),
        ({"signature_name": "x"}, "signature"),
        ({"input_name": "x"}, "(?s)x.*Check"),
        ({"input_format": "encoded", "input_name": "image"}, "float"),
    ],
    ids=str,
)
def test_what_is_final_is_not_repeated(tmp_path, world, facts, message):
    fake, kind = world
    with fake_of(fake) as service, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(SourceRefusedError, match=message):
            source_of(kind, service, ledger=ledger, **facts)(images_of(1))
        assert service.requests <= 1 and ledger.spent == service.bill == 0


def test_too_large(tmp_path):
    with fake_of(FakeTFServing, [413]) as service:
        with pytest.raises(SourceRefusedError, match="Received: 413 .*images are too large"):
            source_of(TFServingSource, service)(images_of(1))
        assert service.requests == 1
    with (
        fake_of(FakeTFServingGRPC, largest_request=40_000) as service,
        QueryLedger(tmp_path / "l") as ledger,
    ):
        source_of(TFServingGRPCSource, service, ledger=ledger, images_per_request=3)(images_of(3))
        source = source_of(TFServingGRPCSource, service, ledger=ledger, images_per_request=4)
        with pytest.raises(SourceRefusedError, match="larger than max .*images are too large"):
            source(images_of(4, seed=1))
        assert ledger.spent == service.bill == 3


def test_large_answers_are_taken():
    # 110 x 10,000 scores: more than the 4 MB that a gRPC client takes by default.
    labels = [f"label {number}" for number in range(10_000)]
    hosted = HostedModel(lambda x: np.eye(len(x), len(labels)), (1, 1, 1), labels)
    facts = {"value_range": (0, 255), "identity": "m", "images_per_request": 110}
    with FakeTFServingGRPC(hosted) as service:
        source = TFServingGRPCSource(service.address, "model", (1, 1, 1), labels, **facts)
        scores = np.asarray(source(np.zeros((110, 1, 1, 1))))
    assert scores.argmax(axis=1).tolist() == list(range(110))


def test_answers_that_are_too_large_are_spent(tmp_path, monkeypatch):
    monkeypatch.setattr(tf_serving_grpc, "LARGEST_ANSWER", 100)
    with fake_of(FakeTFServingGRPC) as service, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(RuntimeError, match="at most 100 bytes. Received: .*fewer `images_per"):
            source_of(TFServingGRPCSource, service, ledger=ledger, input_name="image")(images_of(1))
        assert ledger.spent == service.bill == 1


def test_replicas_share_the_work_and_one_may_fail(tmp_path, world):
    fake, kind = world
    images = images_of(12)
    with fake_of(fake) as first, fake_of(fake, [503] * 3) as second:
        addresses = [first.address, second.address]
        with QueryLedger(tmp_path / "l") as ledger:
            source = source_of(kind, first, address=addresses, ledger=ledger, concurrency=2)
            np.testing.assert_allclose(source(images), expected(images), atol=1e-6)
            assert ledger.spent >= first.bill + second.bill == 12
        # How many of its faults the first pass met is a matter of time; one more and it rests.
        second.faults.left.clear()
        Gate(first, second, opens_at=4)
        healthy = source_of(kind, first, address=addresses, concurrency=2)
        healthy(images)
        assert first.bill > 0 and second.bill > 0


def test_nobody_there(world):
    _, kind = world
    address = "http://127.0.0.1:9" if kind is TFServingSource else "127.0.0.1:9"
    with pytest.raises(SourceUnavailableError, match="127.0.0.1:9.* cannot be reached"):
        source_of(kind, None, address=address, retries=0)(images_of(1))


def test_metadata_that_fails_is_not_billed(tmp_path):
    with QueryLedger(tmp_path / "l") as ledger:
        service = fake_of(FakeTFServingGRPC)
        service.served.statuses = service.served.version = lambda *_: 1 / 0
        with service, pytest.raises(SourceUnavailableError, match="UNKNOWN"):
            source_of(TFServingGRPCSource, service, ledger=ledger, retries=0)(images_of(1))
        assert ledger.spent == 0


def test_tls(tmp_path):
    authority = trustme.CA()
    chain, key, roots = (str(tmp_path / name) for name in ("chain.pem", "key.pem", "roots.pem"))
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(chain, append=True)
    authority.cert_pem.write_to_path(roots)
    with fake_of(FakeTFServingGRPC, certificate=(chain, key)) as service:
        secure = {"secure": True, "retries": 0, "concurrency": 1}
        source = source_of(TFServingGRPCSource, service, certificates=roots, **secure)
        np.testing.assert_allclose(source(images_of(2)), expected(images_of(2)), atol=1e-6)
        with pytest.raises(SourceRefusedError, match="cannot be trusted"):
            source_of(TFServingGRPCSource, service, **secure)(images_of(1))


def test_a_copy_for_an_executor_requests_and_its_answer_travels(world):
    fake, kind = world
    with fake_of(fake) as service:
        source = source_of(kind, service)
        client = pickle.loads(pickle.dumps(source.client))
        payload = source.payload(images_of(1)[0])
        endpoint = source.dispatcher.endpoints.names[0]
        answer = pickle.loads(pickle.dumps(client.send([payload], endpoint)))
        np.testing.assert_allclose(source.read(answer), expected(images_of(1)), atol=1e-6)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"model_name": "models/signs"}, "must be a name without / and :"),
        ({"version": -1}, "must be a number of at least 0"),
        ({"version": 1, "version_label": "stable"}, "Pass one of them, or none"),
        ({"input_format": "jpeg"}, "`input_format` must be one of"),
        ({"address": "signs.example/x"}, "must be host:port|must begin with http"),
    ],
    ids=str,
)
def test_wrong_arguments(world, facts, message):
    with pytest.raises(ValueError, match=message):
        source_of(world[1], None, **{"address": "http://127.0.0.1:9"} | facts)


@pytest.mark.parametrize("package", ["grpc", "tensorflow_serving.apis"])
def test_a_missing_extra_names_its_command(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'keras-reprogram\[serving\]'"):
        source_of(TFServingGRPCSource, None, address="127.0.0.1:9")
