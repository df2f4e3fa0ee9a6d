"""SageMakerSource against a fake of SageMaker, which Amazon's own client checks first."""

import base64
import functools
import json
import logging
import re

import boto3
import botocore.config
import botocore.session
import numpy as np
import pytest
from service_checks import (
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
from keras_reprogram.source.remote import SourceUnavailableError
from keras_reprogram.source.remote.sagemaker import SageMakerSource
from keras_reprogram.testing import TRANSPORT_FAULTS
from keras_reprogram.testing.fake_sagemaker import CONTAINERS, FakeSageMaker

KEY_ID, SECRET = "AKIDPLANTED8461", "planted-secret-8461"


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


def fake_of(**options):
    return FakeSageMaker(
        hosted_signs(LABELS), **{"endpoint_name": "signs", "key": KEY_ID} | options
    )


def source_of(fake, **changes):
    facts = {
        "endpoint_name": fake.endpoint_name,
        "class_names": LABELS,
        "region": "eu-west-1",
        "endpoint_url": fake.address,
    }
    return SageMakerSource(source_shape=SHAPE, value_range=(0, 255), **facts | changes)


def instances(images):
    return {"instances": [{"b64": base64.b64encode(image).decode()} for image in images]}


# What a container wants to be asked, and which kind its answer is.
ASKED = {
    "built-in": {"content_type": "application/x-image"},
    "jumpstart": {"accept": "application/json;verbose"},
    "hugging-face": {"score_kind": "independent"},
    "tensorflow-serving": {"build_request": instances, "images_per_request": 3},
}


# The fake, asked by Amazon's own client.


def amazons_client(fake):
    config = botocore.config.Config(retries={"total_max_attempts": 1})
    return boto3.session.Session(region_name="eu-west-1").client(
        "sagemaker-runtime", endpoint_url=fake.address, config=config
    )


def test_amazons_client_understands_the_fake():
    image = images_of(1)
    with fake_of(faults=[None, None, None, 503], variants=("blue", "green")) as fake:
        client = amazons_client(fake)
        ask = functools.partial(client.invoke_endpoint, EndpointName="signs", Body=png(image[0]))
        answer = ask(ContentType="application/x-image", TargetVariant="green")
        assert answer["InvokedProductionVariant"] == "green"
        assert answer["ContentType"] == "application/json"
        np.testing.assert_allclose(json.loads(answer["Body"].read()), signs(image)[0], atol=1e-6)
        with pytest.raises(client.exceptions.ModelError) as caught:
            ask(ContentType="text/csv")
        assert caught.value.response["OriginalStatusCode"] == 400
        assert "text/csv" in caught.value.response["OriginalMessage"]
        with pytest.raises(client.exceptions.ValidationError, match="Variant red"):
            ask(ContentType="image/png", TargetVariant="red")
        with pytest.raises(client.exceptions.ServiceUnavailable):
            ask(ContentType="image/png")
        assert fake.bill == 1


# Our source.


@pytest.mark.parametrize("container", CONTAINERS)
def test_answers_are_those_of_the_model_behind_it(container):
    images = images_of(5)
    expected = signs(images)
    if container == "hugging-face":
        expected = np.where(expected >= np.sort(expected, axis=1)[:, -5:-4], expected, 0.0)
    with fake_of(container=container) as fake:
        source = source_of(fake, **ASKED[container])
        np.testing.assert_allclose(source(images), expected, atol=1e-6)
        assert source.queries_used == fake.bill == 5
        assert fake.requests == (2 if container == "tensorflow-serving" else 5)


def test_other_containers_are_read_by_ones_own_function():
    image = images_of(1)
    with fake_of(container="jumpstart") as fake:
        np.testing.assert_allclose(source_of(fake)(image), signs(image), atol=1e-6)
        own = source_of(fake, read_answer=lambda content: [content["probabilities"][::-1]])
        np.testing.assert_allclose(own(image), signs(image)[:, ::-1], atol=1e-6)


# The shapes of answers of Amazon's containers and algorithms.
@pytest.mark.parametrize(
    "content",
    [
        [0.25, 0.75],
        {"predictions": [{"score": [0.25, 0.75], "predicted_label": 1}]},
        {"probabilities": [0.25, 0.75]},
        {"probabilities": [0.75, 0.25], "labels": ["yield", "stop"], "predicted_label": "yield"},
        [{"label": "yield", "score": 0.75}, {"label": "stop", "score": 0.25}],
        [[0.25, 0.75]],
    ],
)
def test_documented_answers(content):
    source = SageMakerSource("signs", SHAPE, ["stop", "yield"], value_range=(0, 255))
    assert source.read(json.dumps(content).encode()) == [[0.25, 0.75]]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", TRANSPORT_FAULTS, ids=str)
def test_what_may_pass_is_repeated(tmp_path, fault):
    check_what_may_pass(tmp_path, fake_of, source_of, fault)


def test_a_model_that_is_not_ready_is_free(tmp_path, monkeypatch):
    from keras_reprogram.testing import Answer

    loading = Answer(429, {"Message": "loading"}, {"x-amzn-ErrorType": "ModelNotReadyException"})
    with fake_of(faults=[429]) as fake, QueryLedger(tmp_path / "l") as ledger:
        monkeypatch.setattr(fake, "refusal", lambda status: loading)
        source_of(fake, ledger=ledger)(images_of(1))
        assert ledger.counts() == {"sent": 0, "billed": 1, "free": 1}


def test_a_container_that_failed_may_be_billed(tmp_path):
    with fake_of(faults=[424]) as fake, QueryLedger(tmp_path / "l") as ledger:
        with pytest.raises(SourceUnavailableError, match="ModelError 503: 'the worker died"):
            source_of(fake, ledger=ledger, retries=0)(images_of(1))
        assert ledger.counts() == {"sent": 1, "billed": 0, "free": 0}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("fault", ["truncated", "wrong labels", "nan"])
def test_malformed_answers_are_billed_asked_once_more_and_shown(tmp_path, fault):
    make = functools.partial(fake_of, container="jumpstart")
    ask = functools.partial(source_of, accept="application/json;verbose")
    check_malformed(tmp_path, make, ask, fault, "probabilities")


def test_wrong_keys_are_nowhere(tmp_path, monkeypatch, caplog, capfd):
    with fake_of() as fake:
        source = source_of(fake)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
        # The SDK's own log has the key's id below this level, and never the secret.
        keys = (SECRET, "AKIDOTHER")
        said = check_key_is_nowhere(tmp_path, source, keys, caplog, capfd, logging.INFO)
    assert "UnrecognizedClientException" in said and "aws sts get-caller-identity" in said


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"endpoint_name": "other"}, "ValidationError: .*Check `endpoint_name`"),
        ({"target_variant": "red"}, "ValidationError: Variant red"),
        ({"content_type": "text/csv"}, "ModelError 400: .*text/csv.*Check `content_type`"),
        ({"region": None}, "NoRegionError.*Pass `region`"),
        ({"build_request": lambda images: {"x": {1}}}, "TypeError.*nothing was sent"),
    ],
)
def test_refusals(tmp_path, changes, hint):
    with fake_of() as fake:
        said = refusal(source_of(fake, **changes), tmp_path)
        assert re.search(f"Received: {hint}", said), said
        assert fake.bill == 0


def test_a_copy_in_another_process_asks_for_itself():
    with fake_of() as fake:
        check_copy_asks_for_itself(source_of(fake))


def test_settings_are_part_of_the_ledgers_key():
    changes = ({}, {"target_model": "a"}, {"target_variant": "a"}, {"accept": "text/csv"})
    make = functools.partial(
        SageMakerSource, "signs", SHAPE, LABELS, value_range=(0, 255), identity="one"
    )
    sources = [make(**change) for change in (*changes, {"inference_component_name": "a"})]
    assert len({source.request_options for source in sources}) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images_per_request": 2}, "one image per request. Received: images_per_request=2"),
        ({"endpoint_url": "sagemaker.example"}, "must begin with http"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        SageMakerSource("signs", SHAPE, LABELS, value_range=(0, 255), **changes)


def test_only_known_containers_are_hosted():
    with pytest.raises(ValueError, match="`container` must be one of"):
        fake_of(container="other")
