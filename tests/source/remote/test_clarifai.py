"""ClarifaiSource and FakeClarifai: the vendor's client, answers, faults, money, secrets."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from clarifai_grpc.channel.clarifai_channel import ClarifaiChannel
from clarifai_grpc.grpc.api import resources_pb2, service_pb2, service_pb2_grpc
from clarifai_grpc.grpc.api.status.status_code_pb2 import StatusCode
from gates import Gate
from google.protobuf.json_format import MessageToDict, ParseDict

from keras_reprogram import LiteRTSource, QueryLedger, embedded_path
from keras_reprogram.source.remote import SourceRefusedError, SourceUnavailableError
from keras_reprogram.source.remote import clarifai as module
from keras_reprogram.source.remote.clarifai import ClarifaiClient, ClarifaiSource
from keras_reprogram.source.remote.grpc_transport import channel_to
from keras_reprogram.testing import Faults, HostedModel
from keras_reprogram.testing.fake_clarifai import FakeClarifai

KEY = "pat-0123456789"
# An answer as the service gave it in 2017, shortened.
NSFW_ANSWER = {
    "status": {"code": 10000, "description": "Ok"},
    "outputs": [
        {
            "id": "eeab0c3397d94cb8a5f29073e3e044e7",
            "status": {"code": 10000, "description": "Ok"},
            "created_at": "2017-10-18T15:30:28.277015034Z",
            "model": {"id": "e9576d86d2004ed1a38ba0cf39ecb4b1", "app_id": "main"},
            "input": {"id": "ed911f66dc0b4ebb", "data": {"image": {"base64": "true"}}},
            "data": {
                "concepts": [
                    {"app_id": "main", "id": "ai_KxzHKtPl", "name": "nsfw", "value": 0.8090479},
                    {"app_id": "main", "id": "ai_RT20lm2Q", "name": "sfw", "value": 0.19095212},
                ]
            },
        }
    ],
}


@pytest.fixture(autouse=True)
def _short_throttling(monkeypatch):
    monkeypatch.setattr(module, "_THROTTLED_WAIT", 0.05)


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("CLARIFAI_PAT", KEY)


@pytest.fixture(scope="module")
def signs():
    return LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))


@pytest.fixture
def hosted(signs):
    return HostedModel.of(signs)


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.float32)


def source_of(fake, **options):
    facts = {
        "value_range": (0, 255),
        "address": fake.address,
        "class_names": fake.hosted.class_names,
    }
    facts |= options
    return ClarifaiSource("general-image-recognition", (32, 32, 3), **facts)


def ask_as_vendor(fake, payloads, key=KEY, **config):
    """The vendor's own channel, stub and messages."""
    host, port = fake.address.split(":")
    channel = ClarifaiChannel.get_insecure_grpc_channel(base=host, port=int(port))
    data = [resources_pb2.Data(image=resources_pb2.Image(base64=image)) for image in payloads]
    request = service_pb2.PostModelOutputsRequest(
        user_app_id=resources_pb2.UserAppIDSet(user_id="clarifai", app_id="main"),
        model_id="general-image-recognition",
        inputs=[resources_pb2.Input(data=one) for one in data],
        model=resources_pb2.Model(
            output_info=resources_pb2.OutputInfo(output_config=resources_pb2.OutputConfig(**config))
        ),
    )
    with channel:
        stub = service_pb2_grpc.V2Stub(channel)
        return stub.PostModelOutputs(request, metadata=(("authorization", f"Key {key}"),))


def test_the_fake_answers_the_vendors_client(hosted, signs):
    images = images_of(2)
    with FakeClarifai(hosted, key=KEY) as fake:
        payloads = [source_of(fake).payload(image) for image in images]
        answer = ask_as_vendor(fake, payloads)
        assert answer.status.code == StatusCode.SUCCESS
        for output, row in zip(answer.outputs, np.asarray(signs(images)), strict=True):
            best = np.argsort(-row)[:20]
            assert [one.name for one in output.data.concepts] == [
                hosted.class_names[n] for n in best
            ]
            np.testing.assert_allclose([c.value for c in output.data.concepts], row[best])
        chosen = [
            resources_pb2.Concept(name=hosted.class_names[3]),
            resources_pb2.Concept(id="ai_7"),
        ]
        few = ask_as_vendor(fake, payloads[:1], select_concepts=chosen)
        assert {one.id for one in few.outputs[0].data.concepts} == {"ai_3", "ai_7"}
        assert len(ask_as_vendor(fake, payloads[:1], max_concepts=5).outputs[0].data.concepts) == 5
        high = ask_as_vendor(fake, payloads[:1], min_value=0.999999)
        assert all(one.value >= 0.999999 for one in high.outputs[0].data.concepts)
        assert fake.bill == 5


def test_the_fake_refuses_what_the_vendor_refuses(hosted):
    with FakeClarifai(hosted, key=KEY) as fake:
        image = source_of(fake).payload(images_of(1)[0])
        unknown = [resources_pb2.Concept(name="unicorn")]
        codes = {
            "key": ask_as_vendor(fake, [image], key="wrong").status.code,
            "many": ask_as_vendor(fake, [image] * 129).status.code,
            "image": ask_as_vendor(fake, [b"no image"]).status.code,
            "concept": ask_as_vendor(fake, [image], select_concepts=unknown).status.code,
        }
        assert fake.bill == 1  # the unknown concept is found out after the work
    assert codes == {
        "key": StatusCode.CONN_KEY_INVALID,
        "many": StatusCode.INPUT_OVER_LIMIT,
        "image": StatusCode.FAILURE,
        "concept": StatusCode.MODEL_INVALID_ARGUMENT,
    }


@pytest.mark.parametrize("concepts_by", ["name", "id"])
def test_answers_are_those_of_the_model_behind_it(hosted, signs, concepts_by):
    images = images_of(7)
    ids = [f"ai_{number}" for number in range(43)]
    labels = hosted.class_names if concepts_by == "name" else ids
    with FakeClarifai(hosted, key=KEY) as fake:
        source = source_of(fake, images_per_request=3, concepts_by=concepts_by, class_names=labels)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        assert source.queries_used == fake.bill == 7
        assert fake.requests == 3


def test_some_labels_only(hosted, signs):
    images = images_of(2)
    with FakeClarifai(hosted) as fake:
        source = source_of(fake, class_names=hosted.class_names[5:8])
        np.testing.assert_allclose(source(images), np.asarray(signs(images))[:, 5:8], atol=1e-6)


def test_a_recorded_answer_is_understood():
    message = ParseDict(NSFW_ANSWER, service_pb2.MultiOutputResponse())
    plain = MessageToDict(message, preserving_proto_field_name=True, use_integers_for_enums=True)
    source = ClarifaiSource("nsfw", (8, 8, 3), ["sfw", "nsfw", "drug"], value_range=(0, 1))
    assert source.read(NSFW_ANSWER) == source.read(plain) == [[0.19095212, 0.8090479, 0.0]]
    spread = ClarifaiSource(
        "nsfw", (8, 8, 3), ["ai_KxzHKtPl", "x"], concepts_by="id", value_range=(0, 1),
        missing="spread", ignore_undeclared=True,
    )  # fmt: skip
    np.testing.assert_allclose(spread.read(plain), [[0.8090479, 0.1909521]], atol=1e-6)


def test_the_request_says_what_it_must():
    source = ClarifaiSource(
        "mine", (8, 8, 3), ["a", "b"], user_id="me", app_id="mine too", model_version_id="v7",
        use_predict_cache=True, value_range=(0, 1),
    )  # fmt: skip
    message = source.client.message([b"one", b"two"])
    assert (message.user_app_id.user_id, message.user_app_id.app_id) == ("me", "mine too")
    assert (message.model_id, message.version_id, message.use_predict_cache) == ("mine", "v7", True)
    assert [one.data.image.base64 for one in message.inputs] == [b"one", b"two"]
    config = message.model.output_info.output_config
    assert config.max_concepts == 2
    assert [concept.name for concept in config.select_concepts] == ["a", "b"]
    others = ClarifaiSource("mine", (8, 8, 3), ["a", "b"], value_range=(0, 1))
    assert source.request_options != others.request_options


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("grpc_statuses", [False, True])
@pytest.mark.parametrize("fault", [429, (429, {"Retry-After": "0"}), 500, 503, "reset", "drip"])
def test_what_may_pass_is_repeated(tmp_path, hosted, signs, fault, grpc_statuses):
    images = images_of(3)
    with (
        FakeClarifai(hosted, faults=[fault, fault], grpc_statuses=grpc_statuses) as fake,
        QueryLedger(tmp_path / "l") as ledger,
    ):
        source = source_of(fake, ledger=ledger, concurrency=1)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        counts = ledger.counts()
        throttled = fault == 429 or isinstance(fault, tuple)
        lost = 0 if throttled or fault == "drip" else 2
        assert counts == {"sent": lost, "billed": 3, "free": 2 if throttled else 0}
        assert fake.bill <= ledger.spent
        again = source_of(fake, ledger=ledger)
        again(images)
        assert again.queries_used == 0


def test_nothing_is_repeated_behind_the_ledger(hosted):
    with FakeClarifai(hosted, faults=["reset"] * 9) as fake:
        with pytest.raises(SourceUnavailableError, match="Socket closed"):
            source_of(fake, retries=0)(images_of(1))
        assert fake.requests == fake.bill == 1
        with pytest.raises(grpc.RpcError):
            ask_as_vendor(fake, [source_of(fake).payload(images_of(1)[0])])
        assert fake.requests == 6  # the vendor's own channel asks five times


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", ["wrong labels", "nan"])
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, hosted, fault):
    with FakeClarifai(hosted, faults=[fault]) as fake, QueryLedger(tmp_path / "l") as ledger:
        source_of(fake, ledger=ledger)(images_of(1))
        assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}
    with FakeClarifai(hosted, faults=[fault] * 3) as fake, QueryLedger(tmp_path / "m") as ledger:
        bill = fake.bill
        with pytest.raises(ValueError, match=r"Received.*'outputs': \[\{'status'"):
            source_of(fake, ledger=ledger)(images_of(1, seed=1))
        assert ledger.spent == fake.bill - bill == 2
        assert len(fake.faults.left) == 1


def test_a_mixed_success_is_asked_again_and_counted(tmp_path, hosted, signs):
    images = images_of(4)
    mixed = int(StatusCode.MIXED_STATUS)
    with FakeClarifai(hosted, faults=[mixed]) as fake, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(fake, ledger=ledger, images_per_request=4)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        assert fake.bill == 7
        assert ledger.counts() == {"sent": 4, "billed": 4, "free": 0}


def test_a_label_that_the_model_lacks_is_named_early(tmp_path, hosted, signs):
    with FakeClarifai(hosted) as fake, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(fake, ledger=ledger, class_names=[*hosted.class_names[:3], "unicorn"])
        with pytest.raises(ValueError, match="must know all labels. Received: a mixed success"):
            source(images_of(1))
        assert ledger.spent == fake.bill == 2


def test_an_image_that_fails_among_others_is_shown_and_counted(tmp_path, hosted, monkeypatch):
    def answers(*_, **__):
        failed = {"status": {"code": int(StatusCode.MP_IMAGE_DECODE_ERROR)}}
        good = NSFW_ANSWER["outputs"][0]
        answer = {"status": {"code": int(StatusCode.MIXED_STATUS)}, "outputs": [good, failed]}
        return ParseDict(answer, service_pb2.MultiOutputResponse())

    with FakeClarifai(hosted) as fake, QueryLedger(tmp_path / "l") as ledger:
        source = source_of(fake, ledger=ledger, class_names=["nsfw", "sfw"], images_per_request=2)
        monkeypatch.setattr(ClarifaiClient, "method", lambda *_: answers)
        with pytest.raises(ValueError, match="47104 MP_IMAGE_DECODE_ERROR"):
            source(images_of(2))
        assert ledger.counts() == {"sent": 0, "billed": 4, "free": 0}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("CONN_KEY_INVALID", "11008 CONN_KEY_INVALID.*Check the key in the environment"),
        ("CONN_INVALID_REQUEST", "11102 .*Check the key in the environment"),
        ("CONN_EXCEED_HOURLY_LIMIT", "11003 .*limit is used up"),
        ("CONN_EXCEED_MONTHLY_LIMIT", "11004 .*limit is used up"),
        ("MODEL_DOES_NOT_EXIST", "21200 .*Check `model_id`"),
        ("INPUT_OVER_LIMIT", "30105 .*fewer per request"),
        ("MP_DOWNLOAD_MAX_SIZE_EXCEEDED_ERROR", "47103 .*too large, send fewer"),
        ("RPC_MAX_MESSAGE_SIZE_EXCEEDED", "40033 .*too large: send fewer"),
    ],
)
def test_what_is_final_is_not_repeated(tmp_path, hosted, status, message):
    faults = [int(StatusCode.Value(status))] * 2
    with FakeClarifai(hosted, faults=faults) as fake, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(SourceRefusedError, match=f"(?s)Clarifai refused. Received: {message}"):
            source_of(fake, ledger=ledger)(images_of(1))
        assert (fake.requests, fake.bill, ledger.spent) == (1, 0, 0)


def test_every_status_that_is_named_exists():
    names = StatusCode.keys()
    assert set(module.BUSY_STATUSES) | set(module._UNKNOWN_FATE) <= set(names)
    for start in module.REFUSED_STATUSES:
        assert any(name.startswith(start) for name in names), start


@pytest.mark.parametrize("code", [10020, 10030, 98004, 99001, 123456])
def test_unknown_fates_count_as_spent(tmp_path, hosted, code):
    with FakeClarifai(hosted, faults=[code] * 2) as fake, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(SourceUnavailableError, match=f"{code} "):
            source_of(fake, ledger=ledger, retries=1)(images_of(1))
        assert ledger.spent == 2


def test_a_key_is_sent_and_nowhere_else(tmp_path, monkeypatch, caplog, capfd, hosted):
    caplog.set_level(0)
    with (
        FakeClarifai(hosted, key=KEY) as fake,
        QueryLedger(tmp_path / "l", keep_payloads=True) as ledger,
    ):
        source = source_of(fake, ledger=ledger)
        monkeypatch.delenv("CLARIFAI_PAT")
        with pytest.raises(SourceRefusedError, match="no CLARIFAI_PAT. Set it: export"):
            source(images_of(1))
        assert ledger.spent == fake.requests == 0
        monkeypatch.setenv("CLARIFAI_PAT", KEY)
        source(images_of(2))
        monkeypatch.setenv("CLARIFAI_PAT", KEY + "x")
        with pytest.raises(SourceRefusedError, match="CONN_KEY_INVALID.*Check the key") as caught:
            source(images_of(1, seed=3))
        assert KEY not in str(caught.value) and KEY not in repr(vars(source))
    out, err = capfd.readouterr()
    assert KEY not in out + err + caplog.text
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_service_that_repeats_the_key_is_not_quoted(monkeypatch, hosted):
    with FakeClarifai(hosted, faults=[401], grpc_statuses=True) as fake:
        monkeypatch.setenv("CLARIFAI_PAT", "to order")
        with pytest.raises(SourceRefusedError, match=r"UNAUTHENTICATED: status 401, \*\*\*"):
            source_of(fake)(images_of(1))


def test_wrong_model_and_wrong_addresses(hosted):
    with FakeClarifai(hosted, model_id="another") as fake:
        with pytest.raises(SourceRefusedError, match="MODEL_DOES_NOT_EXIST.*Check `model_id`"):
            source_of(fake)(images_of(1))
        fake.close()
        with pytest.raises(SourceUnavailableError, match=f"{fake.address} cannot be reached"):
            source_of(fake, retries=0)(images_of(1))


def test_another_kind_of_service(hosted):
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    source = ClarifaiSource(
        "m", (32, 32, 3), ["a"], value_range=(0, 255), address=f"127.0.0.1:{port}"
    )
    with pytest.raises(SourceRefusedError, match="UNIMPLEMENTED.*another kind of service"):
        source(images_of(1))
    server.stop(None)


def test_channels_use_tls_unless_they_end_here(monkeypatch):
    opened = []
    monkeypatch.setattr(grpc, "insecure_channel", lambda address, **_: opened.append("plain"))
    monkeypatch.setattr(grpc, "secure_channel", lambda address, *_, **__: opened.append("TLS"))
    for address in ("127.0.0.1:1", "localhost:1", "api.clarifai.com", "127.0.0.1.evil.example:1"):
        channel_to(address, "clarifai")
    assert opened == ["plain", "plain", "TLS", "TLS"]


def test_a_copy_for_another_process_asks_by_itself(hosted, signs):
    images = images_of(2)
    with FakeClarifai(hosted, key=KEY) as fake:
        source = source_of(fake, images_per_request=2)
        client, payloads = pickle.loads(
            pickle.dumps((source.client, [source.payload(i) for i in images]))
        )
        assert KEY.encode() not in pickle.dumps(source.client)
        said = pickle.loads(pickle.dumps(client.send(payloads, fake.address)))
        np.testing.assert_allclose(source.read(said), signs(images), atol=1e-6)


def test_many_at_a_time_and_a_share_of_faults(tmp_path, hosted, signs):
    images = images_of(24)
    faults = Faults(share=0.3, seed=1)
    with (
        FakeClarifai(hosted, faults=faults) as fake,
        QueryLedger(tmp_path / "l") as ledger,
    ):
        Gate(fake, opens_at=4)
        source = source_of(fake, ledger=ledger, images_per_request=2, concurrency=4, retries=20)
        np.testing.assert_allclose(source(images), signs(images), atol=1e-6)
        assert fake.most_together == 4
        assert fake.bill <= ledger.spent


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images_per_request": 129}, "at most 128 images per request. Received: .*=129"),
        ({"concepts_by": "colour"}, "`concepts_by` must be 'name' or 'id'. Received: 'colour'"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        ClarifaiSource("m", (8, 8, 3), ["a"], value_range=(0, 1), **changes)


@pytest.mark.parametrize("package", ["clarifai_grpc.grpc.api", "tenacity"])
def test_a_missing_extra_names_its_command(package, monkeypatch, hosted):
    extra = {
        "clarifai_grpc.grpc.api": r"`clarifai-grpc`: pip install 'keras-reprogram\[clarifai\]'"
    }
    with FakeClarifai(hosted) as fake:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=extra.get(package, "`tenacity`: pip install")):
            source_of(fake)(images_of(1))
