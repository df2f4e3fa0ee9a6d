"""RekognitionSource against a fake of Rekognition, which Amazon's own client checks first."""

import functools
import io
import json
import pickle
import socket
import sys

import boto3
import botocore.exceptions
import botocore.session
import numpy as np
import pytest
import trustme
from gates import Gate
from PIL import Image

from keras_reprogram import LiteRTSource, QueryLedger, embedded_path
from keras_reprogram.source.remote import (
    SourceBusyError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.rekognition import RekognitionClient, RekognitionSource
from keras_reprogram.testing import TRANSPORT_FAULTS, HostedModel
from keras_reprogram.testing.fake_rekognition import FakeRekognition

KEY_ID, SECRET = "AKIDPLANTED8461", "planted-secret-8461"
ARN = "arn:aws:rekognition:eu-west-1:123456789012:project/signs/version/signs.1/1700000000000"
LISTS = {
    "labels": ("detect_labels", "DetectLabels", "Labels"),
    "moderation": ("detect_moderation_labels", "DetectModerationLabels", "ModerationLabels"),
    "custom_labels": ("detect_custom_labels", "DetectCustomLabels", "CustomLabels"),
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """An SDK that finds the planted credentials and nothing else."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module", autouse=True)
def _one_loader():
    """Every session would read megabytes of descriptions of services anew."""
    with pytest.MonkeyPatch.context() as patch:
        create_loader = functools.cache(botocore.session.create_loader)
        patch.setattr(botocore.session, "create_loader", create_loader)
        yield


@pytest.fixture(scope="module")
def signs():
    return LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))


@pytest.fixture
def hosted(signs):
    return HostedModel.of(signs)


def images_of(count, seed=0, side=96):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 12, 12, 3)).astype(np.uint8)
    large = [Image.fromarray(image).resize((side, side)) for image in coarse]
    return np.stack([np.asarray(image, np.float32) for image in large])


def expected_of(signs, images):
    small = [Image.fromarray(image.astype(np.uint8)).resize((32, 32), 2) for image in images]
    return np.asarray(signs(np.stack([np.asarray(image, np.float32) for image in small])))


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(stream, "png")
    return stream.getvalue()


def source_of(fake, **options):
    facts = {
        "source_shape": (96, 96, 3),
        "class_names": fake.hosted.class_names,
        "region": "eu-west-1",
        "endpoint_url": fake.address,
        "value_range": (0, 255),
        "identity": "signs, version 1",
    } | options
    return RekognitionSource(facts.pop("source_shape"), **facts)


def custom_source_of(fake, **options):
    return source_of(fake, operation="custom_labels", project_version_arn=ARN, **options)


def amazons_client(fake):
    return boto3.session.Session(region_name="eu-west-1").client(
        "rekognition", endpoint_url=fake.address
    )


def check_shape(shape, value):
    """That JSON is what botocore's description of the service says, to the last field."""
    if shape.type_name == "structure":
        assert set(value) <= set(shape.members)
        for name, field in value.items():
            check_shape(shape.members[name], field)
    elif shape.type_name == "list":
        for item in value:
            check_shape(shape.member, item)
    else:
        kinds = {"string": str, "float": float, "integer": int}
        assert isinstance(value, kinds[shape.type_name]), (shape.name, value)


# The fake, asked by Amazon's own client.


@pytest.mark.parametrize("operation", LISTS)
def test_amazons_client_understands_the_fake(hosted, signs, operation):
    method, name, listed = LISTS[operation]
    image = images_of(1)[0]
    parents = {hosted.class_names[1]: hosted.class_names[0]}
    with FakeRekognition(hosted, project_version_arn=ARN, key=KEY_ID, parents=parents) as fake:
        client, raw = amazons_client(fake), []
        client.meta.events.register(
            "after-call.rekognition.*", lambda http_response, **_: raw.append(http_response.content)
        )
        more = {"ProjectVersionArn": ARN} if operation == "custom_labels" else {}
        answer = getattr(client, method)(Image={"Bytes": png(image)}, MinConfidence=0.0, **more)
        check_shape(client.meta.service_model.operation_model(name).output_shape, json.loads(*raw))
    scores = {label["Name"]: label["Confidence"] for label in answer[listed]}
    np.testing.assert_allclose(
        [scores[label] for label in hosted.class_names],
        100 * expected_of(signs, image[None])[0],
        atol=1e-4,
    )
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    if operation == "moderation":
        child = next(one for one in answer[listed] if one["Name"] == hosted.class_names[1])
        assert (child["ParentName"], child["TaxonomyLevel"]) == (hosted.class_names[0], 2)


def test_the_fake_keeps_to_the_limits_asked_for(hosted):
    image = {"Bytes": png(images_of(1)[0])}
    with FakeRekognition(hosted, project_version_arn=ARN) as fake:
        client = amazons_client(fake)
        assert len(client.detect_labels(Image=image, MinConfidence=0, MaxLabels=7)["Labels"]) == 7
        custom = client.detect_custom_labels(
            Image=image, ProjectVersionArn=ARN, MinConfidence=0, MaxResults=3
        )
        assert len(custom["CustomLabels"]) == 3
        sure = client.detect_labels(Image=image, MinConfidence=20)["Labels"]
        assert all(label["Confidence"] >= 20 for label in sure)
        by_default = client.detect_labels(Image=image)["Labels"]
        assert [one["Name"] for one in by_default] == [
            one["Name"] for one in sure if one["Confidence"] >= 55
        ]


@pytest.mark.parametrize(
    ("facts", "image", "more", "code"),
    [
        ({"key": "AKIDOTHER"}, png(np.zeros((96, 96, 3))), {}, "UnrecognizedClientException"),
        ({}, png(np.zeros((79, 96, 3))), {}, "InvalidParameterException"),
        ({}, b"GIF89a", {}, "InvalidImageFormatException"),
        ({}, bytes(5 * 2**20 + 1), {}, "ImageTooLargeException"),
        ({}, png(np.zeros((96, 96, 3))), {"ProjectVersion": ARN}, "ResourceNotFoundException"),
        (
            {"project_version_arn": ARN, "running": False},
            png(np.zeros((96, 96, 3))),
            {"ProjectVersion": ARN},
            "ResourceNotReadyException",
        ),
    ],
)
def test_amazons_client_understands_refusals(hosted, facts, image, more, code):
    with FakeRekognition(hosted, **facts) as fake:
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            amazons_client(fake).detect_moderation_labels(Image={"Bytes": image}, **more)
        assert caught.value.response["Error"]["Code"] == code
        assert fake.bill == 0


# Our source.


@pytest.mark.parametrize("operation", LISTS)
def test_answers_are_those_of_the_model_behind_it(hosted, signs, operation):
    images = images_of(5)
    arn = None if operation == "labels" else ARN
    with FakeRekognition(hosted, project_version_arn=ARN, key=KEY_ID) as fake:
        source = source_of(fake, operation=operation, project_version_arn=arn)
        np.testing.assert_allclose(source(images), expected_of(signs, images), atol=1e-5)
        assert source.queries_used == fake.bill == 5


def test_partial_lists_and_undeclared_names(hosted, signs):
    image = images_of(1)
    expected = expected_of(signs, image)[0]
    best = int(expected.argmax())
    with FakeRekognition(hosted) as fake:
        few = source_of(fake, max_labels=1, missing=0.25)(image)[0]
        assert float(few[best]) == pytest.approx(expected[best], abs=1e-5)
        assert set(np.delete(np.asarray(few), best).tolist()) == {0.25}
        one = source_of(fake, class_names=hosted.class_names[best : best + 1])(image)
        np.testing.assert_allclose(one, [[expected[best]]], atol=1e-5)


# Shapes of answers in Amazon's documentation, values shortened.
RECORDED = {
    "labels": {
        "Labels": [
            {
                "Name": "Car",
                "Confidence": 98.87621307373047,
                "Instances": [
                    {
                        "BoundingBox": {"Width": 0.1, "Height": 0.2, "Left": 0.3, "Top": 0.4},
                        "Confidence": 98.87,
                    }
                ],
                "Parents": [{"Name": "Vehicle"}, {"Name": "Transportation"}],
                "Aliases": [{"Name": "Automobile"}],
                "Categories": [{"Name": "Vehicles and Automotive"}],
            },
            {"Name": "Vehicle", "Confidence": 98.87, "Instances": [], "Parents": []},
        ],
        "LabelModelVersion": "3.0",
    },
    "moderation": {
        "ModerationLabels": [
            {"Confidence": 99.24, "Name": "Weapons", "ParentName": "Violence", "TaxonomyLevel": 2},
            {"Confidence": 99.24, "Name": "Violence", "ParentName": "", "TaxonomyLevel": 1},
        ],
        "ModerationModelVersion": "7.0",
        "ContentTypes": [{"Confidence": 60.1, "Name": "Illustrated"}],
    },
    "custom_labels": {
        "CustomLabels": [
            {"Name": "stop", "Confidence": 83.9},
            {
                "Name": "yield",
                "Confidence": 12.5,
                "Geometry": {"BoundingBox": {"Width": 0.1, "Height": 0.2, "Left": 0.3, "Top": 0.4}},
            },
        ]
    },
}


@pytest.mark.parametrize(
    ("operation", "labels", "row"),
    [
        ("labels", ["Vehicle", "Tree", "Car"], [0.9887, 0.0, 0.98876213]),
        ("moderation", ["Violence", "Weapons", "Alcohol"], [0.9924, 0.9924, 0.0]),
        ("custom_labels", ["yield", "stop", "no entry"], [0.125, 0.839, 0.0]),
    ],
)
def test_documented_answers(hosted, operation, labels, row):
    model = boto3.session.Session(region_name="eu-west-1").client("rekognition").meta.service_model
    check_shape(model.operation_model(LISTS[operation][1]).output_shape, RECORDED[operation])
    with FakeRekognition(hosted) as fake:
        arn = ARN if operation == "custom_labels" else None
        source = source_of(fake, operation=operation, class_names=labels, project_version_arn=arn)
    assert source.read(json.dumps(RECORDED[operation]).encode())[0] == pytest.approx(row)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", TRANSPORT_FAULTS, ids=str)
def test_what_may_pass_is_repeated(tmp_path, hosted, signs, fault):
    images = images_of(3)
    with (
        FakeRekognition(hosted, faults=[fault, fault]) as fake,
        QueryLedger(tmp_path / "l") as ledger,
    ):
        source = source_of(fake, ledger=ledger, concurrency=1)
        np.testing.assert_allclose(source(images), expected_of(signs, images), atol=1e-5)
        counts = ledger.counts()
        throttled = fault == 429 or isinstance(fault, tuple)
        free, sent = (2, 0) if throttled else (0, 0) if fault == "drip" else (0, 2)
        assert counts == {"billed": 3, "free": free, "sent": sent}
        # The SDK repeats nothing by itself.
        assert fake.requests == sum(counts.values())
        assert ledger.spent >= fake.bill
        again = source_of(fake, ledger=ledger)
        again(images)
        assert again.queries_used == 0


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", ["truncated", "wrong labels", "nan"])
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, hosted, fault):
    with FakeRekognition(hosted, project_version_arn=ARN, faults=[fault] * 3) as fake:
        with QueryLedger(tmp_path / "l") as ledger:
            with pytest.raises(ValueError, match="Received") as caught:
                custom_source_of(fake, ledger=ledger)(images_of(1))
            assert ledger.spent == fake.bill == 2
            assert "CustomLabels" in str(caught.value)
        with QueryLedger(tmp_path / "m") as ledger:
            custom_source_of(fake, ledger=ledger)(images_of(1))
            assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}


def test_answers_that_the_sdk_cannot_read_are_billed(tmp_path, hosted, monkeypatch):
    with FakeRekognition(hosted) as fake, QueryLedger(tmp_path / "l") as ledger:
        monkeypatch.setattr(fake, "_content", lambda *_: {"Labels": 3})
        with pytest.raises(ValueError, match="Received: .*unreadable .TypeError"):
            source_of(fake, ledger=ledger)(images_of(1))
        assert ledger.counts() == {"sent": 0, "billed": 2, "free": 0}
        assert fake.bill == 2


def test_silence_ends_after_the_timeout(tmp_path, hosted):
    with FakeRekognition(hosted) as fake, QueryLedger(tmp_path / "l") as ledger:
        gate = Gate(fake)
        source = source_of(fake, ledger=ledger, timeout=1.0, retries=0)
        with pytest.raises(SourceUnavailableError, match="broke off: Read timeout"):
            source(images_of(1))
        gate.open()
        assert ledger.counts() == {"sent": 1, "billed": 0, "free": 0}


def test_nobody_there(hosted):
    with FakeRekognition(hosted) as fake:
        source = source_of(fake, retries=0)
    with pytest.raises(SourceBusyError, match=r"127.0.0.1:\d+ cannot be reached"):
        source(images_of(1))


def refusal(source, tmp_path, images=None):
    """What a source is refused with, once and for nothing."""
    with QueryLedger(tmp_path / "refused") as ledger:
        source.ledger = ledger
        with pytest.raises(SourceRefusedError) as caught:
            source(images_of(1) if images is None else images)
        assert (ledger.spent, source.queries_used) == (0, 1)
    return str(caught.value)


def test_wrong_keys_are_refused_and_nowhere_else(tmp_path, hosted, monkeypatch, caplog, capfd):
    with FakeRekognition(hosted, key=KEY_ID) as fake:
        source = source_of(fake)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
        said = refusal(source, tmp_path)
    assert "UnrecognizedClientException" in said and "aws sts get-caller-identity" in said
    out, err = capfd.readouterr()
    everywhere = (
        said + out + err + caplog.text + repr(vars(source)) + pickle.dumps(source.client).hex()
    )
    for secret in (SECRET, SECRET.encode().hex(), "AKIDOTHER", b"AKIDOTHER".hex()):
        assert secret not in everywhere


def test_a_signature_in_an_error_is_not_shown(tmp_path, hosted, monkeypatch):
    message = "The signature does not match.\n\nThe Canonical String was\nx-amz-security-token:T0K"
    content = {"__type": "InvalidSignatureException", "Message": message}
    with FakeRekognition(hosted, faults=[403]) as fake:
        monkeypatch.setattr(fake, "refusal", lambda status: content)
        said = refusal(source_of(fake), tmp_path)
    assert "does not match" in said and "clock" in said and "T0K" not in said


def test_no_key_and_no_region(tmp_path, hosted, monkeypatch):
    with FakeRekognition(hosted) as fake:
        assert "Pass `region`" in refusal(source_of(fake, region=None), tmp_path)
        assert "Check the arguments" in refusal(source_of(fake, region="not a region"), tmp_path)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        assert "aws configure" in refusal(source_of(fake), tmp_path)
        assert fake.requests == 0


def test_models_that_do_not_answer(tmp_path, hosted):
    with FakeRekognition(hosted) as fake:
        assert "Check `project_version_arn`" in refusal(custom_source_of(fake), tmp_path)
    with FakeRekognition(hosted, project_version_arn=ARN, running=False) as fake:
        assert "start-project-version" in refusal(custom_source_of(fake), tmp_path)
    with FakeRekognition(hosted, faults=[403]) as fake:
        assert "Allow the identity" in refusal(source_of(fake), tmp_path)


def test_images_that_are_too_large(tmp_path, hosted):
    noise = np.random.default_rng(0).integers(0, 256, (1, 1400, 1400, 3)).astype(np.float32)
    with FakeRekognition(hosted) as fake:
        source = source_of(fake, source_shape=(1400, 1400, 3))
        assert "5 MB" in refusal(source, tmp_path, noise)


@pytest.mark.parametrize(
    ("errno", "kind", "hint"),
    [
        (socket.EAI_NONAME, SourceRefusedError, "Check `region`"),
        (socket.EAI_AGAIN, SourceBusyError, "cannot be reached"),
    ],
)
def test_a_region_that_has_no_rekognition(hosted, monkeypatch, errno, kind, hint):
    def fail(host, *_):
        assert host == "rekognition.eu-nowhere-1.amazonaws.com"
        raise socket.gaierror(errno, "to order")

    with FakeRekognition(hosted) as fake:
        source = source_of(fake, endpoint_url=None, region="eu-nowhere-1", retries=0)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(kind, match=hint):
        source(images_of(1))


def test_untrusted_certificates_are_final(tmp_path, hosted):
    issued = trustme.CA().issue_cert("127.0.0.1")
    files = (str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(files[0])
    issued.private_key_pem.write_to_path(files[1])
    with FakeRekognition(hosted, certificate=files) as fake:
        assert "cannot be trusted" in refusal(source_of(fake), tmp_path)
        assert fake.requests == 0


def test_a_copy_in_another_process_asks_for_itself(hosted, signs):
    image = images_of(1)
    with FakeRekognition(hosted, project_version_arn=ARN, key=KEY_ID) as fake:
        source = custom_source_of(fake, min_confidence=1, max_labels=9)
        client = pickle.loads(pickle.dumps(source.client))
        answer = client.send([source.payload(image[0])], fake.address)
        rows = source.read(answer)
    expected = expected_of(signs, image)
    tenth = np.sort(expected[0])[-10]
    kept = np.where((expected < 0.01) | (expected <= tenth), 0.0, expected)
    np.testing.assert_allclose(rows, kept, atol=1e-5)
    assert client.settings == {"MinConfidence": 1.0, "MaxResults": 9, "ProjectVersionArn": ARN}


def test_threads_share_one_client(hosted, monkeypatch):
    made, make = [], RekognitionClient.made
    monkeypatch.setattr(
        RekognitionClient, "made", lambda self, place: made.append(1) or make(self, place)
    )
    with FakeRekognition(hosted) as fake:
        Gate(fake, opens_at=6)
        source_of(fake, concurrency=6)(images_of(12))
        assert len(made) == 1
        assert fake.most_together == 6


def test_settings_are_part_of_the_ledgers_key(hosted):
    with FakeRekognition(hosted) as fake:
        sources = [
            source_of(fake),
            source_of(fake, min_confidence=5),
            source_of(fake, max_labels=3),
            source_of(fake, operation="moderation"),
            source_of(fake, operation="moderation", project_version_arn=ARN),
            custom_source_of(fake),
        ]
    assert len({source.request_options for source in sources}) == len(sources)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_shape": (32, 96, 3)}, "80 to 10,000 pixels per side. Received: .*32, 96, 3"),
        ({"operation": "faces"}, "`operation` must be one of .* Received: faces"),
        ({"operation": "custom_labels"}, "`project_version_arn` .* which need it"),
        ({"project_version_arn": ARN}, "`project_version_arn` belongs to custom labels"),
        ({"operation": "moderation", "max_labels": 3}, "`max_labels` .* None for moderation"),
        ({"max_labels": 0}, "`max_labels` must be at least 1"),
        ({"min_confidence": 101}, "`min_confidence` must be from 0 to 100 percent"),
        ({"images_per_request": 2}, "one image per request. Received: images_per_request=2"),
        ({"endpoint_url": "rekognition.example"}, "must begin with http"),
    ],
)
def test_wrong_arguments(hosted, changes, message):
    with FakeRekognition(hosted) as fake, pytest.raises(ValueError, match=message):
        source_of(fake, **changes)


@pytest.mark.parametrize("package", ["boto3", "tenacity"])
def test_a_missing_extra_names_its_command(hosted, monkeypatch, package):
    with FakeRekognition(hosted) as fake:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=rf"`{package}`: pip install 'keras-reprogram\["):
            source_of(fake)(images_of(1))
